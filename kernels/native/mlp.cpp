// A SwiGLU MLP with bf16 weights in one call: two products with little between them.
#include <omp.h>

#include "calls.h"
#include "lanes.h"

using namespace kimi;

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
  for (int row = 0; row < rows; row++) gate_with_silu(gate + row * both, gate + row * both + inter, inter);
  kimi_bf16_linear(gate, 0, both, down, y, 0, hidden, 1, rows, inter, hidden, num_threads);
}
