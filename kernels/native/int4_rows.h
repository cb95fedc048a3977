// Dot products of INT4 rows with a few activation rows: the decode form, bound by reading weights.
//
// 32 bytes of a row are 64 codes. As 32-bit lanes, lane i holds the codes of inputs 8i..8i+7, so
// eight shifts give vectors that meet an activation row permuted once: vector j, lane i = x[8i + j].
// Codes are excess-8: the -8 of each lane's group is subtracted as 8 times the sum of its inputs.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.h"

namespace kimi {

constexpr int kChunk = 64;        // inputs of one step; a row may end with half of one
constexpr int kGroup = 32;        // inputs that share one scale
constexpr int kPrefetch = 2048;   // bytes ahead
constexpr int kVectors = 9;       // of a chunk: eight of inputs, one of their sums times -8

inline int num_chunks(int inputs) { return (inputs + kChunk - 1) / kChunk; }

// Activation rows in the kernel's order, each padded with zeros to whole chunks.
class PermutedRows {
 public:
  PermutedRows(int num_rows, int inputs)
      : inputs_(inputs), stride_(size_t(num_chunks(inputs)) * kVectors * 8), values_(num_rows * stride_ + 8) {}

  void set(int row, const float* x) {
    float* out = const_cast<float*>(this->row(row));
    for (int c = 0; c < num_chunks(inputs_); c++, out += kVectors * 8) {
      float sums[8] = {0};
      for (int i = 0; i < kChunk; i++) {
        const int index = c * kChunk + i;
        const float value = index < inputs_ ? x[index] : 0.0f;
        out[(i % 8) * 8 + i / 8] = value;
        sums[i / 8] += value;
      }
      for (int lane = 0; lane < 8; lane++) out[64 + lane] = -8.0f * sums[lane];
    }
  }

  const float* row(int row) const {
    const uintptr_t start = (reinterpret_cast<uintptr_t>(values_.data()) + 31) & ~uintptr_t(31);
    return reinterpret_cast<const float*>(start) + row * stride_;
  }

 private:
  int inputs_;
  size_t stride_;
  std::vector<float> values_;
};

// Rows of packed codes and their bf16 scales, one after the other in memory.
struct Int4Rows {
  const uint8_t* codes;
  const uint8_t* scales;  // of any alignment
  int inputs;

  Int4Rows from(size_t row) const {
    return {codes + row * (inputs / 2), scales + row * (inputs / kGroup) * 2, inputs};
  }

  uint16_t scale(int group) const {
    uint16_t bits;
    std::memcpy(&bits, scales + size_t(group) * 2, 2);
    return bits;
  }
};

// Two bf16 scales, each over four of eight floats.
inline __m256 spread(uint32_t pair) {
  const __m256i order = _mm256_setr_epi8(-1, -1, 0, 1, -1, -1, 0, 1, -1, -1, 0, 1, -1, -1, 0, 1, -1,
                                         -1, 2, 3, -1, -1, 2, 3, -1, -1, 2, 3, -1, -1, 2, 3);
  return _mm256_castsi256_ps(_mm256_shuffle_epi8(_mm256_set1_epi32(int(pair)), order));
}

template <int T>
inline void add_chunk(__m256i codes, __m256 scale, const float* const* x, size_t at, __m256* acc) {
  const __m256i mask = _mm256_set1_epi32(15);
  __m256 dot[T];
  for (int t = 0; t < T; t++) dot[t] = _mm256_load_ps(x[t] + at + 64);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
    const __m256 code = _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(codes, 4 * j), mask));
    for (int t = 0; t < T; t++)
      dot[t] = _mm256_fmadd_ps(code, _mm256_load_ps(x[t] + at + 8 * j), dot[t]);
  }
  for (int t = 0; t < T; t++) acc[t] = _mm256_fmadd_ps(dot[t], scale, acc[t]);
}

// out[t] = one row times activation row xs[t]. One row at a time: a single sequential stream with a
// far prefetch reads faster than two or four streams do.
template <int T>
inline void dot_row(const Int4Rows& row, const PermutedRows& x, const int* xs, float* out) {
  const float* values[T];
  __m256 acc[T];
  for (int t = 0; t < T; t++) values[t] = x.row(xs[t]), acc[t] = _mm256_setzero_ps();
  const int whole = row.inputs / kChunk;
  for (int c = 0; c < whole; c++) {
    const uint8_t* source = row.codes + size_t(c) * 32;
    _mm_prefetch(reinterpret_cast<const char*>(source + kPrefetch), _MM_HINT_T0);
    uint32_t pair;
    std::memcpy(&pair, row.scales + size_t(c) * 4, 4);
    add_chunk<T>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)), spread(pair), values,
                 size_t(c) * kVectors * 8, acc);
  }
  if (row.inputs % kChunk) {  // one group is left; the other half counts as zeros
    const __m128i* source = reinterpret_cast<const __m128i*>(row.codes + size_t(whole) * 32);
    add_chunk<T>(_mm256_zextsi128_si256(_mm_loadu_si128(source)),
                 spread(row.scale(whole * 2)), values,
                 size_t(whole) * kVectors * 8, acc);
  }
  for (int t = 0; t < T; t++) out[t] = sum(acc[t]);
}

// out[r * num_x + t] for num_rows rows and the num_x activation rows named by xs.
inline void multiply_few(const Int4Rows& rows, int num_rows, const PermutedRows& x, const int* xs,
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
