// Vectors of 32-bit integers, and of pairs of 16-bit ones, as wide as `Lanes`.
#pragma once
#include "lanes.h"

namespace kimi {

// acc + a0 * b0 + a1 * b1 in each 32-bit lane.
inline __m256i add_dot(__m256i acc, __m256i a, __m256i b) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
  return _mm256_dpwssd_epi32(acc, a, b);
#else
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
  asm("" : "+x"(acc));  // g++ would form all products of a loop first, and spill them
  return acc;
#endif
}

#ifdef __AVX512F__

using Words = __m512i;

inline Words all_words(int32_t value) { return _mm512_set1_epi32(value); }
inline Words load_words(const int32_t* source) { return _mm512_loadu_si512(source); }
inline void store_words(int32_t* target, Words v) { _mm512_storeu_si512(target, v); }
inline Lanes to_lanes(Words v) { return _mm512_cvtepi32_ps(v); }
inline Words low_four_bits(Words pairs) { return _mm512_and_si512(pairs, _mm512_set1_epi16(15)); }
template <int Bits>
inline Words shift_pairs(Words pairs) {
  return _mm512_srli_epi16(pairs, Bits);
}
// 16 bytes of every fourth row, of four.
inline Words load_fourths(const uint8_t* row, size_t stride) {
  const auto load = [&](int r) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 4 * r * stride));
  };
  const __m512i two = _mm512_inserti32x4(_mm512_castsi128_si512(load(0)), load(1), 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(two, load(2), 2), load(3), 3);
}
inline Words low_words(Words a, Words b) { return _mm512_unpacklo_epi32(a, b); }
inline Words high_words(Words a, Words b) { return _mm512_unpackhi_epi32(a, b); }
inline Words low_twos(Words a, Words b) { return _mm512_unpacklo_epi64(a, b); }
inline Words high_twos(Words a, Words b) { return _mm512_unpackhi_epi64(a, b); }
inline Words add_dot(Words acc, Words a, Words b) {
#ifdef __AVX512VNNI__
  return _mm512_dpwssd_epi32(acc, a, b);
#else
  return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
#endif
}

#else

using Words = __m256i;

inline Words all_words(int32_t value) { return _mm256_set1_epi32(value); }
inline Words load_words(const int32_t* source) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
}
inline void store_words(int32_t* target, Words v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), v);
}
inline Lanes to_lanes(Words v) { return _mm256_cvtepi32_ps(v); }
inline Words low_four_bits(Words pairs) { return _mm256_and_si256(pairs, _mm256_set1_epi16(15)); }
template <int Bits>
inline Words shift_pairs(Words pairs) {
  return _mm256_srli_epi16(pairs, Bits);
}
// 16 bytes of every fourth row, of two.
inline Words load_fourths(const uint8_t* row, size_t stride) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(row + 4 * stride),
                             reinterpret_cast<const __m128i*>(row));
}
inline Words low_words(Words a, Words b) { return _mm256_unpacklo_epi32(a, b); }
inline Words high_words(Words a, Words b) { return _mm256_unpackhi_epi32(a, b); }
inline Words low_twos(Words a, Words b) { return _mm256_unpacklo_epi64(a, b); }
inline Words high_twos(Words a, Words b) { return _mm256_unpackhi_epi64(a, b); }

#endif

// Lane r of out[m] = word m of the 16 bytes that begin row r, of as many rows as lanes.
inline void transpose_words(const uint8_t* row, size_t stride, Words* out) {
  Words four[4];
  for (int r = 0; r < 4; r++) four[r] = load_fourths(row + r * stride, stride);
  const Words low[2] = {low_words(four[0], four[1]), low_words(four[2], four[3])};
  const Words high[2] = {high_words(four[0], four[1]), high_words(four[2], four[3])};
  out[0] = low_twos(low[0], low[1]), out[1] = high_twos(low[0], low[1]);
  out[2] = low_twos(high[0], high[1]), out[3] = high_twos(high[0], high[1]);
}

}  // namespace kimi
