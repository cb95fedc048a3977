// One vector of floats, as wide as the instructions this file is compiled for: 8 (AVX2) or 16
// (AVX-512). Kernels written with it need no second form.
#pragma once
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // g++ 12 warns of its own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <algorithm>
#include <memory>

#include "simd.h"

namespace kimi {

#ifdef __AVX512F__

using Lanes = __m512;
using RawLanes = __m512i;  // as many pairs of bf16
constexpr int kLanes = 16;

inline Lanes zero_lanes() { return _mm512_setzero_ps(); }
inline Lanes all_lanes(float value) { return _mm512_set1_ps(value); }
inline Lanes load_lanes(const float* source) { return _mm512_loadu_ps(source); }
inline void store_lanes(float* target, Lanes v) { _mm512_storeu_ps(target, v); }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a, b, c); }
inline Lanes multiply(Lanes a, Lanes b) { return _mm512_mul_ps(a, b); }
inline Lanes add(Lanes a, Lanes b) { return _mm512_add_ps(a, b); }
inline __m256 fold(Lanes v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
inline float sum_lanes(Lanes v) { return sum(fold(v)); }
inline RawLanes load_pairs(const uint16_t* source) { return _mm512_loadu_si512(source); }
inline Lanes low_halves(RawLanes pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
inline Lanes high_halves(RawLanes pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(int(0xffff0000u))));
}
inline Lanes load_bf16_lanes(const uint16_t* source) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

#else

using Lanes = __m256;
using RawLanes = __m256i;
constexpr int kLanes = 8;

inline Lanes zero_lanes() { return _mm256_setzero_ps(); }
inline Lanes all_lanes(float value) { return _mm256_set1_ps(value); }
inline Lanes load_lanes(const float* source) { return _mm256_loadu_ps(source); }
inline void store_lanes(float* target, Lanes v) { _mm256_storeu_ps(target, v); }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a, b, c); }
inline Lanes multiply(Lanes a, Lanes b) { return _mm256_mul_ps(a, b); }
inline Lanes add(Lanes a, Lanes b) { return _mm256_add_ps(a, b); }
inline __m256 fold(Lanes v) { return v; }
inline float sum_lanes(Lanes v) { return sum(v); }
inline RawLanes load_pairs(const uint16_t* source) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
}
inline Lanes low_halves(RawLanes pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
// Two shifts, not a mask: that would take a register, and the products have none to spare.
inline Lanes high_halves(RawLanes pairs) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(pairs, 16), 16));
}
inline Lanes load_bf16_lanes(const uint16_t* source) { return from_bf16x8(source); }

#endif

// Floats, not set, that begin with a cache line: vectors in them never lie across two.
class Floats {
 public:
  explicit Floats(int64_t count) : memory_(new char[size_t(count) * 4 + 64]) {}
  float* get() const {
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory_.get()) + 63) & ~uintptr_t(63));
  }

 private:
  std::unique_ptr<char[]> memory_;
};

}  // namespace kimi
