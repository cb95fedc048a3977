// One tile of latent cache rows with the queries of one block: scores, softmax, weighted sum.
//
// For scores the rows are read where they lie: a bf16 row gives pairs, whose even and odd inputs are
// two vectors, and the queries are reordered to match; a float32 row gives two vectors in plain
// order. For the weighted sum a few columns of all rows are copied as float32, into L1. All
// sums of a block stay in registers; one more would be stored and loaded at every step.
#pragma once
#include <cmath>

#include "lanes.h"

namespace kimi {

constexpr float kMasked = -1e30f;
#ifdef __AVX512F__
constexpr int kQueries = 6, kKeys = 4;  // of one block of scores: 24 sums in 32 registers
constexpr int kSumQueries = 4;          // of one block of the weighted sum, with 4 vectors of columns
#else
constexpr int kQueries = 4, kKeys = 3;  // 12 sums in 16 registers
constexpr int kSumQueries = 3;
#endif
constexpr int kPair = 2 * kLanes;  // columns that are loaded and ordered together

inline Lanes first_of_pair(const uint16_t* row) { return low_halves(load_pairs(row)); }
inline Lanes second_of_pair(const uint16_t* row) { return high_halves(load_pairs(row)); }
inline Lanes first_of_pair(const float* row) { return load_lanes(row); }
inline Lanes second_of_pair(const float* row) { return load_lanes(row + kLanes); }

// Where column i of a pair lies in that order.
inline int place(const uint16_t*, int i) { return i / 2 + i % 2 * kLanes; }
inline int place(const float*, int i) { return i; }

// Scores of Q queries, `width` floats each, against kKeys rows; four scores of each are written.
template <int Q, class Cell>
inline void score(const float* query, const Cell* const* rows, int width, float* scores, int stride) {
  constexpr int K = kKeys;
  Lanes acc[Q][K];
  for (int q = 0; q < Q; q++)
    for (int k = 0; k < K; k++) acc[q][k] = zero_lanes();
  for (int at = 0; at < width; at += kPair) {
    Lanes part[K];
    for (int k = 0; k < K; k++) part[k] = first_of_pair(rows[k] + at);
    for (int q = 0; q < Q; q++) {
      const Lanes value = load_lanes(query + q * width + at);
      for (int k = 0; k < K; k++) acc[q][k] = multiply_add(part[k], value, acc[q][k]);
    }
    for (int k = 0; k < K; k++) part[k] = second_of_pair(rows[k] + at);
    for (int q = 0; q < Q; q++) {
      const Lanes value = load_lanes(query + q * width + at + kLanes);
      for (int k = 0; k < K; k++) acc[q][k] = multiply_add(part[k], value, acc[q][k]);
    }
  }
  for (int q = 0; q < Q; q++)
    _mm_storeu_ps(scores + q * stride,
                  sum4(fold(acc[q][0]), fold(acc[q][1]), fold(acc[q][2]), fold(acc[q][K - 1])));
}

// columns[i] = P pairs of columns of cache row i as float32, in plain order.
template <int P>
inline void copy_columns(const uint16_t* const* rows, int count, int column, float* columns) {
  for (int i = 0; i < count; i++)
    for (int v = 0; v < 2 * P; v++, columns += kLanes)
      store_lanes(columns, load_bf16_lanes(rows[i] + column + v * kLanes));
}

template <int P>
inline void copy_columns(const float* const* rows, int count, int column, float* columns) {
  for (int i = 0; i < count; i++, columns += P * kPair) std::copy_n(rows[i] + column, P * kPair, columns);
}

// output[q] += sum over `count` cache rows of weights[q][i] columns[i].
template <int Q, int P>
inline void add_values(const float* weights, int stride, const float* columns, int count, float* output,
                       int rank) {
  Lanes acc[Q][2 * P];
  for (int q = 0; q < Q; q++)
    for (int v = 0; v < 2 * P; v++) acc[q][v] = load_lanes(output + q * rank + v * kLanes);
  for (int i = 0; i < count; i++, columns += P * kPair) {
    Lanes weight[Q];
    for (int q = 0; q < Q; q++) weight[q] = all_lanes(weights[q * stride + i]);
    for (int v = 0; v < 2 * P; v++) {
      const Lanes value = load_lanes(columns + v * kLanes);
      for (int q = 0; q < Q; q++) acc[q][v] = multiply_add(weight[q], value, acc[q][v]);
    }
  }
  for (int q = 0; q < Q; q++)
    for (int v = 0; v < 2 * P; v++) store_lanes(output + q * rank + v * kLanes, acc[q][v]);
}

// Turn `count` scores (a multiple of 8) of one query into weights exp(score - largest), masked ones
// into 0, and rescale what was summed before.
inline void soften(float* scores, int count, float& largest, float& total, float* output, int rank) {
  __m256 top = _mm256_set1_ps(largest);
  for (int i = 0; i < count; i += 8) top = _mm256_max_ps(top, _mm256_loadu_ps(scores + i));
  alignas(32) float tops[8];
  _mm256_store_ps(tops, top);
  const float now = *std::max_element(tops, tops + 8);
  __m256 sums = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 8) {
    const __m256 s = _mm256_loadu_ps(scores + i);
    __m256 weight = exp8(_mm256_sub_ps(s, _mm256_set1_ps(now)));
    weight = _mm256_and_ps(weight, _mm256_cmp_ps(s, _mm256_set1_ps(kMasked / 2), _CMP_GT_OQ));
    _mm256_storeu_ps(scores + i, weight);
    sums = _mm256_add_ps(sums, weight);
  }
  const float old = std::exp(largest - now);
  total = total * old + sum(sums);
  largest = now;
  if (old == 1.0f) return;
  for (int k = 0; k < rank; k += kLanes)
    store_lanes(output + k, multiply(load_lanes(output + k), all_lanes(old)));
}

}  // namespace kimi
