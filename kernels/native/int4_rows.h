// Dot products of INT4 rows with a few activation rows: the decode form, bound by reading weights.
//
// 32 bytes of a row are 64 codes. As 16-bit lanes, lane i holds the codes of inputs 4i..4i+3, so
// four masks and shifts give vectors that `madd` multiplies by an activation row permuted once:
// vector j, lane i = x[4i + j]. Activations are int16 with one scale a row (relative error 8e-5).
// Codes are excess-8; the -8 is an int32 correction of each 64 inputs, made with the activations.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.h"

namespace kimi {

constexpr int kChunk = 64;  // inputs of one step; a row may end with half of one
constexpr int kGroup = 32;  // inputs that share one scale
constexpr int kPrefetch = 2048;  // bytes ahead

inline int num_chunks(int inputs) { return (inputs + kChunk - 1) / kChunk; }

// Activation rows as int16, each padded with zeros to whole chunks.
class QuantizedRows {
 public:
  QuantizedRows(int num_rows, int inputs)
      : inputs_(inputs),
        chunks_(num_chunks(inputs)),
        values_(size_t(num_rows) * chunks_ * kChunk + 32),
        corrections_(size_t(num_rows) * chunks_ * 8 + 16),
        scales_(num_rows) {}

  void set(int row, const float* x) {
    float largest = 0;
    for (int i = 0; i < inputs_; i++) largest = std::max(largest, std::fabs(x[i]));
    scales_[row] = largest / 32000.0f;
    float inverse = largest > 0 ? 32000.0f / largest : 0.0f;
    int16_t* values = this->values(row);
    int32_t* corrections = this->corrections(row);
    for (int c = 0; c < chunks_; c++) {
      std::fill(corrections + c * 8, corrections + c * 8 + 8, 0);
      for (int i = 0; i < kChunk; i++) {
        int index = c * kChunk + i;
        int value = index < inputs_ ? int(std::lrintf(x[index] * inverse)) : 0;
        values[c * kChunk + (i % 4) * 16 + i / 4] = int16_t(value);
        corrections[c * 8 + i / 8] -= 8 * value;
      }
    }
  }

  int16_t* values(int row) { return aligned(values_.data()) + size_t(row) * chunks_ * kChunk; }
  int32_t* corrections(int row) { return aligned(corrections_.data()) + size_t(row) * chunks_ * 8; }
  float scale(int row) const { return scales_[row]; }

 private:
  template <typename T>
  static T* aligned(T* pointer) {
    return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(pointer) + 31) & ~uintptr_t(31));
  }

  int inputs_;
  int chunks_;
  std::vector<int16_t> values_;
  std::vector<int32_t> corrections_;
  std::vector<float> scales_;
};

// Rows of packed codes and their bf16 scales, one after the other in memory.
struct Int4Rows {
  const uint8_t* codes;
  const uint16_t* scales;
  int inputs;

  Int4Rows from(size_t row) const {
    return {codes + row * (inputs / 2), scales + row * (inputs / kGroup), inputs};
  }
};

// Two bf16 scales, each over four of eight floats.
inline __m256 spread(uint32_t pair) {
  const __m256i order = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 0, 1, -1, -1, 0, 1, -1, -1, 0, 1, -1,
                                         -1, 2, 3, -1, -1, 2, 3, -1, -1, 2, 3, -1, -1, 2, 3);
  return _mm256_castsi256_ps(_mm256_shuffle_epi8(_mm256_set1_epi32(int(pair)), order));
}

template <int T>
inline void add_chunk(__m256i codes, __m256 scale, const int16_t* const* values,
                      const int32_t* const* corrections, int c, __m256* acc) {
  const __m256i mask = _mm256_set1_epi16(15);
  __m256i n0 = _mm256_and_si256(codes, mask);
  __m256i n1 = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
  __m256i n2 = _mm256_and_si256(_mm256_srli_epi16(codes, 8), mask);
  __m256i n3 = _mm256_srli_epi16(codes, 12);
  for (int t = 0; t < T; t++) {
    const __m256i* x = reinterpret_cast<const __m256i*>(values[t] + size_t(c) * kChunk);
    __m256i low = _mm256_add_epi32(_mm256_madd_epi16(n0, x[0]), _mm256_madd_epi16(n1, x[1]));
    __m256i high = _mm256_add_epi32(_mm256_madd_epi16(n2, x[2]), _mm256_madd_epi16(n3, x[3]));
    __m256i correction = *reinterpret_cast<const __m256i*>(corrections[t] + size_t(c) * 8);
    __m256i dot = _mm256_add_epi32(_mm256_add_epi32(low, correction), high);
    acc[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, acc[t]);
  }
}

// out[t] = one row times activation row xs[t]. One row at a time: a single sequential stream with a
// far prefetch reads at 80 % of the memory's limit, two or four streams at 55 %.
template <int T>
inline void dot_row(const Int4Rows& row, QuantizedRows& x, const int* xs, float* out) {
  const int16_t* values[T];
  const int32_t* corrections[T];
  __m256 acc[T];
  for (int t = 0; t < T; t++) {
    values[t] = x.values(xs[t]);
    corrections[t] = x.corrections(xs[t]);
    acc[t] = _mm256_setzero_ps();
  }
  const int whole = row.inputs / kChunk;
  for (int c = 0; c < whole; c++) {
    const uint8_t* source = row.codes + size_t(c) * 32;
    _mm_prefetch(reinterpret_cast<const char*>(source + kPrefetch), _MM_HINT_T0);
    uint32_t pair;
    std::memcpy(&pair, row.scales + size_t(c) * 2, 4);
    add_chunk<T>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)), spread(pair), values,
                 corrections, c, acc);
  }
  if (row.inputs % kChunk) {  // one group is left; the other half counts as zeros
    const __m128i* source = reinterpret_cast<const __m128i*>(row.codes + size_t(whole) * 32);
    add_chunk<T>(_mm256_zextsi128_si256(_mm_loadu_si128(source)),
                 spread(row.scales[size_t(whole) * 2]), values, corrections, whole, acc);
  }
  for (int t = 0; t < T; t++) out[t] = sum(acc[t]) * x.scale(xs[t]);
}

// out[r * num_x + t] for num_rows rows and the num_x activation rows named by xs.
inline void multiply_few(const Int4Rows& rows, int num_rows, QuantizedRows& x, const int* xs,
                         int num_x, float* out) {
  for (int r = 0; r < num_rows; r++, out += num_x) {
    const Int4Rows row = rows.from(r);
    int t = 0;
    for (; t + 4 <= num_x; t += 4) dot_row<4>(row, x, xs + t, out + t);
    if (num_x - t == 3) dot_row<3>(row, x, xs + t, out + t);
    if (num_x - t == 2) dot_row<2>(row, x, xs + t, out + t);
    if (num_x - t == 1) dot_row<1>(row, x, xs + t, out + t);
  }
}

}  // namespace kimi
