// Small AVX2 helpers shared by the kernels of this folder. Everything is internal to one file.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace kimi {

inline float sum(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}

inline float max(__m256 v) {
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(half, _mm_shuffle_ps(half, half, 1)));
}

// Lane i of the result is the sum of argument i.
inline __m128 sum4(__m256 a, __m256 b, __m256 c, __m256 d) {
  __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

inline float from_bf16(uint16_t bits) {
  uint32_t word = uint32_t(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

inline __m256 from_bf16x8(const uint16_t* source) {
  __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// exp(x), relative error under 3e-7 for x in [-87, 88]; smaller x give exp(-87).
// Range reduction to 2^n * 2^f, |f| <= 1/2, and a polynomial of degree 6 for 2^f.
inline __m256 exp8(__m256 x) {
  x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));
  __m256 scaled = _mm256_mul_ps(x, _mm256_set1_ps(1.44269504089f));
  __m256 whole = _mm256_round_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // log(2) in two parts keeps the remainder exact to the last bit.
  __m256 rest = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0.693359375f), x);
  rest = _mm256_fnmadd_ps(whole, _mm256_set1_ps(-2.12194440e-4f), rest);
  __m256 p = _mm256_set1_ps(1.0f / 720);
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(1.0f / 120));
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(1.0f / 24));
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(1.0f / 6));
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, rest, _mm256_set1_ps(1.0f));
  __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

// gate = silu(gate) * up over `count` floats.
inline void gate_with_silu(float* gate, const float* up, int count) {
  const __m256 one = _mm256_set1_ps(1.0f);
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 value = _mm256_loadu_ps(gate + i);
    const __m256 sigmoid = _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), value))));
    _mm256_storeu_ps(gate + i, _mm256_mul_ps(_mm256_mul_ps(value, sigmoid), _mm256_loadu_ps(up + i)));
  }
  if (i == count) return;
  alignas(32) float last[2][8] = {};
  std::memcpy(last[0], gate + i, size_t(count - i) * 4);
  std::memcpy(last[1], up + i, size_t(count - i) * 4);
  gate_with_silu(last[0], last[1], 8);
  std::memcpy(gate + i, last[0], size_t(count - i) * 4);
}

}  // namespace kimi
