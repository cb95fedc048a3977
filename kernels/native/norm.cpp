// RMSNorm of float32 rows, with the residual that is added before and kept.
#include <omp.h>

#include <cmath>

#include "lanes.h"

using namespace kimi;

// For every row: r = x (+ residual, kept in residual_out), y = r / sqrt(mean(r^2) + eps) * weight.
// residual may be null. Rows of x lie x_row floats apart, all others one after the other.
extern "C" __attribute__((visibility("default"))) void kimi_rms_norm(
    const float* x, int64_t x_row, const float* residual, const float* weight, float* residual_out,
    float* y, int rows, int size, float eps, int num_threads) {
  if (int64_t(rows) * size < 1 << 16) num_threads = 1;  // cheaper than waking a thread
  const int whole = size / kLanes * kLanes;
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1)
  for (int row = 0; row < rows; row++) {
    const float* source = x + row * x_row;
    float* target = y + int64_t(row) * size;
    if (residual != nullptr) {
      float* kept = residual_out + int64_t(row) * size;
      const float* other = residual + int64_t(row) * size;
      for (int i = 0; i < size; i++) kept[i] = source[i] + other[i];
      source = kept;
    }
    Lanes squares = zero_lanes();
    for (int i = 0; i < whole; i += kLanes) {
      const Lanes value = load_lanes(source + i);
      squares = multiply_add(value, value, squares);
    }
    float total = sum_lanes(squares);
    for (int i = whole; i < size; i++) total += source[i] * source[i];
    const float scale = 1.0f / std::sqrt(total / float(size) + eps);
    for (int i = 0; i < size; i++) target[i] = source[i] * scale * weight[i];
  }
}
