// A SwiGLU MLP with bf16 weights in one call: two products with little between them.
#include <omp.h>

#include "calls.h"
#include "lanes.h"

using namespace kimi;

namespace {

// gate = silu(gate) * up over `count` floats.
void activate(float* gate, const float* up, int count) {
  const __m256 one = _mm256_set1_ps(1.0f);
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 value = _mm256_loadu_ps(gate + i);
    const __m256 sigmoid = _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), value))));
    _mm256_storeu_ps(gate + i, _mm256_mul_ps(_mm256_mul_ps(value, sigmoid), _mm256_loadu_ps(up + i)));
  }
  if (i == count) return;
  alignas(32) float last[2][8] = {};
  std::copy_n(gate + i, count - i, last[0]);
  std::copy_n(up + i, count - i, last[1]);
  activate(last[0], last[1], 8);
  std::copy_n(last[0], count - i, gate + i);
}

}  // namespace

// y [rows, hidden] = down (silu(gate x) * (up x)) for x [rows, hidden] float32, whose rows lie x_row
// floats apart; gate_up [2 * inter, hidden] and down [hidden, inter] bf16, contiguous.
extern "C" __attribute__((visibility("default"))) void kimi_bf16_mlp(
    const float* x, int64_t x_row, const uint16_t* gate_up, const uint16_t* down, float* y, int rows, int hidden,
    int inter, int num_threads) {
  const int64_t both = 2 * int64_t(inter);
  const Floats middle(rows * both);
  float* const gate = middle.get();
  kimi_bf16_linear(x, 0, x_row, gate_up, gate, 0, both, 1, rows, hidden, 2 * inter, num_threads);
  const bool is_small = rows * both < 1 << 16;  // cheaper than waking a thread
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1 && !is_small)
  for (int row = 0; row < rows; row++) activate(gate + row * both, gate + row * both + inter, inter);
  kimi_bf16_linear(gate, 0, both, down, y, 0, hidden, 1, rows, inter, hidden, num_threads);
}
