// INT4 rows, activation rows as 16-bit integers, and dot products of the two for a few activation
// rows: the decode form, bound by reading weights.
//
// Activations get one scale for each group of 32, as the weights have: a share of a row that is cut
// at groups (tensor parallelism) is quantised as the whole row is. Products of a group are exact.
//
// 32 bytes of a row are a chunk of 64 codes. As 16-bit lanes, lane i holds the codes of inputs
// 4i..4i+3, so four shifts give vectors that meet an activation row permuted once: vector j, lane
// i = x[4i + j]. The low 128 bits are one group, the high 128 bits the next.
// Codes are excess-8: -8 times the sum of a group's inputs is added to it.
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>

#include "pairs.h"

namespace kimi {

constexpr int kChunk = 64;             // inputs of one step; a row may end with half of one
constexpr int kGroup = 32;             // inputs that share one scale
constexpr int kPrefetch = 2048;        // bytes ahead
constexpr int kCorrections = 32;       // in words of a chunk: after 4 vectors of inputs,
constexpr int kScales = 40;            // -8 sum(x) of each half, then its scale four times
constexpr int kChunkWords = 48;
constexpr float kLargest = 32767.0f;   // of a 16-bit integer

inline int num_chunks(int inputs) { return (inputs + kChunk - 1) / kChunk; }

// Activation rows in the kernel's order, each padded with zeros to whole chunks.
class QuantisedRows {
 public:
  QuantisedRows(int num_rows, int inputs)
      : stride_(size_t(num_chunks(inputs)) * kChunkWords), words_(new int32_t[num_rows * stride_ + 16]) {
    if (inputs % kChunk)
      for (int row = 0; row < num_rows; row++)
        std::fill_n(chunk(row, num_chunks(inputs) - 1), kChunkWords, 0);
  }

  // Quantise the 32 inputs of one group. Anything not finite makes the group's scale not a number.
  void set_group(int row, int group, const float* x) {
    __m256 largest = _mm256_setzero_ps(), zero = _mm256_setzero_ps();
    for (int i = 0; i < kGroup; i += 8) {
      const __m256 value = _mm256_loadu_ps(x + i);
      largest = _mm256_max_ps(largest, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value));
      zero = _mm256_fmadd_ps(value, _mm256_setzero_ps(), zero);
    }
    const float most = max(largest), step = most > 1e-33f ? kLargest / most : 0.0f;
    alignas(32) int32_t q[kGroup];
    int32_t sum = 0;
    for (int i = 0; i < kGroup; i += 8)
      _mm256_store_si256(
          reinterpret_cast<__m256i*>(q + i),
          _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(step))));
    const int half = group % 2 * 4;
    int32_t* out = chunk(row, group / 2);
    int16_t* lanes = reinterpret_cast<int16_t*>(out + half);
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 4; j++) lanes[j * 16 + i] = int16_t(q[4 * i + j]), sum += q[4 * i + j];
    const int32_t corrections[4] = {-8 * sum, 0, 0, 0};
    std::memcpy(out + kCorrections + half, corrections, 16);
    _mm_storeu_ps(reinterpret_cast<float*>(out + kScales + half),
                  _mm_set1_ps(most / kLargest + kimi::sum(zero)));
  }

  const int32_t* row(int row) const { return const_cast<QuantisedRows*>(this)->chunk(row, 0); }

 private:
  int32_t* chunk(int row, int index) {
    const uintptr_t start = (reinterpret_cast<uintptr_t>(words_.get()) + 63) & ~uintptr_t(63);
    return reinterpret_cast<int32_t*>(start) + row * stride_ + size_t(index) * kChunkWords;
  }

  size_t stride_;
  std::unique_ptr<int32_t[]> words_;
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

// acc[t] += one chunk of a row times T activation rows, whose chunk begins at x[t] + at.
template <int T>
inline void add_chunk(__m256i codes, __m256 scale, const int32_t* const* x, size_t at, __m256* acc) {
  const __m256i mask = _mm256_set1_epi16(15);
  const __m256i code[4] = {_mm256_and_si256(codes, mask),
                           _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask),
                           _mm256_and_si256(_mm256_srli_epi16(codes, 8), mask),
                           _mm256_srli_epi16(codes, 12)};
  for (int t = 0; t < T; t++) {
    const __m256i* values = reinterpret_cast<const __m256i*>(x[t] + at);
    __m256i dot = _mm256_load_si256(values + kCorrections / 8);
    for (int j = 0; j < 4; j++) dot = add_dot(dot, code[j], _mm256_load_si256(values + j));
    const __m256 scales = _mm256_load_ps(reinterpret_cast<const float*>(values + kScales / 8));
    acc[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, scales), acc[t]);
  }
}

// out[t * num_rows + r * step] = row r * step times activation row xs[t], for R rows at a time.
template <int R, int T>
inline void dot_rows(const Int4Rows& rows, int step, const QuantisedRows& x, const int* xs, float* out,
                     int num_rows) {
  const int32_t* values[T];
  __m256 acc[R][T];
  Int4Rows row[R];
  for (int t = 0; t < T; t++) values[t] = x.row(xs[t]);
  for (int r = 0; r < R; r++) {
    row[r] = rows.from(r * step);
    for (int t = 0; t < T; t++) acc[r][t] = _mm256_setzero_ps();
  }
  const int whole = rows.inputs / kChunk;
  for (int c = 0; c < whole; c++) {
    for (int r = 0; r < R; r++) {
      const uint8_t* source = row[r].codes + size_t(c) * 32;
      _mm_prefetch(reinterpret_cast<const char*>(source + kPrefetch), _MM_HINT_T0);
      uint32_t pair;
      std::memcpy(&pair, row[r].scales + size_t(c) * 4, 4);
      add_chunk<T>(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)), spread(pair),
                   values, size_t(c) * kChunkWords, acc[r]);
    }
  }
  for (int r = 0; r < R; r++) {
    if (rows.inputs % kChunk) {  // one group is left; the other half counts as zeros
      const __m128i* source = reinterpret_cast<const __m128i*>(row[r].codes + size_t(whole) * 32);
      add_chunk<T>(_mm256_zextsi128_si256(_mm_loadu_si128(source)), spread(row[r].scale(whole * 2)),
                   values, size_t(whole) * kChunkWords, acc[r]);
    }
    for (int t = 0; t < T; t++) out[size_t(t) * num_rows + r * step] = sum(acc[r][t]);
  }
}

// out[t * num_rows + r] for num_rows (even) rows and T activation rows. One of these reads two weight
// rows at a time, half of all rows apart: memory serves two streams faster. More of them need the
// registers.
template <int T>
inline void multiply_rows(const Int4Rows& rows, int num_rows, const QuantisedRows& x, const int* xs,
                          float* out) {
  constexpr int R = T == 1 ? 2 : 1;
  const int step = num_rows / R;
  for (int r = 0; r < step; r++) dot_rows<R, T>(rows.from(r), step, x, xs, out + r, num_rows);
}

// The same for any number of activation rows, those named by xs.
inline void multiply_few(const Int4Rows& rows, int num_rows, const QuantisedRows& x, const int* xs,
                         int num_x, float* out) {
  for (; num_x >= 4; num_x -= 4, xs += 4, out += 4 * size_t(num_rows))
    multiply_rows<4>(rows, num_rows, x, xs, out);
  if (num_x == 3) multiply_rows<3>(rows, num_rows, x, xs, out);
  if (num_x == 2) multiply_rows<2>(rows, num_rows, x, xs, out);
  if (num_x == 1) multiply_rows<1>(rows, num_rows, x, xs, out);
}

}  // namespace kimi
