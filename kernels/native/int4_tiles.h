// Products of INT4 rows with many activation rows: the prefill form, bound by arithmetic.
//
// A tile of rows is expanded to float32 once (it stays in L1) and multiplied with every
// activation row: 4 weight rows x 3 activation rows at a time, vectors along the inputs.
#pragma once
#include <algorithm>

#include "int4_rows.h"

namespace kimi {

constexpr int kTileRows = 8;
constexpr int kTileInputs = 512;  // 8 x 512 floats are 16 KB, half of an L1

// Expand `count` inputs (a multiple of 32) of one row, from input `start`.
inline void expand(const Int4Rows& row, int start, int count, float* out) {
  const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  const __m256i mask = _mm256_set1_epi32(15), excess = _mm256_set1_epi32(8);
  const uint8_t* codes = row.codes + start / 2;
  for (int i = 0; i < count; i += 8) {
    int32_t word;
    std::memcpy(&word, codes + i / 2, 4);
    __m256i code = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(word), shifts), mask);
    __m256 scale = _mm256_set1_ps(from_bf16(row.scale((start + i) / kGroup)));
    _mm256_store_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, excess)), scale));
  }
}

// out[t][r] += tile rows r..r+3 times `T` activation rows, over `count` inputs.
template <int T>
inline void add_products(const float* tile, const float* const* x, int start, int count, float* out,
                         int stride) {
  __m256 acc[T][4];
  for (int t = 0; t < T; t++)
    for (int r = 0; r < 4; r++) acc[t][r] = _mm256_setzero_ps();
  for (int k = 0; k < count; k += 8) {
    __m256 w[4];
    for (int r = 0; r < 4; r++) w[r] = _mm256_load_ps(tile + r * kTileInputs + k);
    for (int t = 0; t < T; t++) {
      __m256 value = _mm256_loadu_ps(x[t] + start + k);
      for (int r = 0; r < 4; r++) acc[t][r] = _mm256_fmadd_ps(w[r], value, acc[t][r]);
    }
  }
  for (int t = 0; t < T; t++) {
    float* target = out + size_t(t) * stride;
    __m128 total = sum4(acc[t][0], acc[t][1], acc[t][2], acc[t][3]);
    _mm_storeu_ps(target, _mm_add_ps(_mm_loadu_ps(target), total));
  }
}

// out[t * num_rows + r] = row r times activation row x[t]; num_rows a multiple of 8.
inline void multiply_many(const Int4Rows& rows, int num_rows, const float* const* x, int num_x,
                          float* out) {
  alignas(32) float tile[kTileRows * kTileInputs];
  std::fill(out, out + size_t(num_x) * num_rows, 0.0f);
  for (int first = 0; first < num_rows; first += kTileRows) {
    for (int start = 0; start < rows.inputs; start += kTileInputs) {
      int count = std::min(kTileInputs, rows.inputs - start);
      for (int r = 0; r < kTileRows; r++)
        expand(rows.from(first + r), start, count, tile + r * kTileInputs);
      for (int r = 0; r < kTileRows; r += 4) {
        const float* quarter = tile + r * kTileInputs;
        float* target = out + first + r;
        int t = 0;
        for (; t + 3 <= num_x; t += 3)
          add_products<3>(quarter, x + t, start, count, target + size_t(t) * num_rows, num_rows);
        for (; t < num_x; t++)
          add_products<1>(quarter, x + t, start, count, target + size_t(t) * num_rows, num_rows);
      }
    }
  }
}

}  // namespace kimi
