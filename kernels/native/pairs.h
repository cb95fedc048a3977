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
inline Lanes to_lanes(Words v) { return _mm512_cvtepi32_ps(v); }
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
inline Lanes to_lanes(Words v) { return _mm256_cvtepi32_ps(v); }

#endif

}  // namespace kimi
