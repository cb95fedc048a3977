// Routed SwiGLU experts on the checkpoint's packed INT4 tensors, as they lie in memory.
//
//   y[token] = sum over its experts e of weight * W2_e (silu(Gate_e x) * (Up_e x))
//
// Two passes with a barrier between: rows of gate and up of all experts (tasks of 32 rows), then
// rows of W2, each task owning its output columns over all experts, so that sums need no lock.
#include <omp.h>

#include "int4_tiles.h"

namespace {

using namespace kimi;

constexpr int kBlock = 32;      // rows of one task
constexpr int kManyTokens = 6;  // of one expert: from here on tiles beat rows

struct Expert {
  int id;
  std::vector<int> slots;  // token * top_k + position, ascending
};

std::vector<Expert> by_expert(const int32_t* ids, int num_slots, int num_experts) {
  std::vector<std::vector<int>> slots(num_experts);
  for (int slot = 0; slot < num_slots; slot++)
    if (ids[slot] >= 0 && ids[slot] < num_experts) slots[ids[slot]].push_back(slot);
  std::vector<Expert> experts;
  for (int e = 0; e < num_experts; e++)
    if (!slots[e].empty()) experts.push_back({e, std::move(slots[e])});
  return experts;
}

// Products of `num_rows` rows with rows `xs` of x, as out[r * num_x + t] or its transpose.
class Multiplier {
 public:
  Multiplier(const float* x, int inputs, int num_rows, bool has_few)
      : x_(x), inputs_(inputs), permuted_(has_few ? num_rows : 0, inputs) {}

  void permute(int row) { permuted_.set(row, x_ + size_t(row) * inputs_); }

  // Returns whether out is [num_rows][num_x] (true) or [num_x][num_rows].
  bool multiply(const Int4Rows& rows, int num_rows, const std::vector<int>& xs, float* out) {
    int num_x = int(xs.size());
    if (num_x < kManyTokens || num_rows % kTileRows) {
      multiply_few(rows, num_rows, permuted_, xs.data(), num_x, out);
      return true;
    }
    std::vector<const float*> pointers(num_x);
    for (int t = 0; t < num_x; t++) pointers[t] = x_ + size_t(xs[t]) * inputs_;
    multiply_many(rows, num_rows, pointers.data(), num_x, out);
    return false;
  }

 private:
  const float* x_;
  int inputs_;
  PermutedRows permuted_;
};

float silu(float value) { return value / (1.0f + std::exp(-value)); }

}  // namespace

// x [num_tokens, hidden] float32; ids, weights [num_tokens, top_k], ids outside 0..num_experts-1
// are skipped; six arrays of num_experts addresses, of any alignment: codes of gate and up [inter,
// hidden / 8] words, of down [hidden, inter / 8], their scales bf16 [..., inputs / 32];
// y [num_tokens, hidden] float32, overwritten.
extern "C" __attribute__((visibility("default"))) void kimi_moe_int4(
    const float* x, const int32_t* ids, const float* weights, int num_tokens, int top_k,
    int num_experts, int hidden, int inter, const uint8_t* const* gate_codes,
    const uint8_t* const* gate_scales, const uint8_t* const* up_codes,
    const uint8_t* const* up_scales, const uint8_t* const* down_codes,
    const uint8_t* const* down_scales, float* y, int num_threads) {
  const int num_slots = num_tokens * top_k;
  const std::vector<Expert> experts = by_expert(ids, num_slots, num_experts);
  const int num_active = int(experts.size());
  bool has_few = false;
  size_t most = 0;
  std::vector<std::vector<int>> tokens(num_active);
  for (int a = 0; a < num_active; a++) {
    has_few |= int(experts[a].slots.size()) < kManyTokens;
    most = std::max(most, experts[a].slots.size());
    for (int slot : experts[a].slots) tokens[a].push_back(slot / top_k);
  }
  has_few |= hidden % kTileRows || inter % kTileRows;
  std::vector<float> activated(size_t(num_slots) * inter);
  Multiplier first(x, hidden, num_tokens, has_few);
  Multiplier second(activated.data(), inter, num_slots, has_few);
  const int inter_blocks = (inter + kBlock - 1) / kBlock, hidden_blocks = (hidden + kBlock - 1) / kBlock;

#pragma omp parallel num_threads(num_threads)
  {
    std::vector<float> gate(most * kBlock), up(most * kBlock);
    if (has_few) {
#pragma omp for schedule(static)
      for (int t = 0; t < num_tokens; t++) first.permute(t);
    }
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < num_active * inter_blocks; task++) {
      const int a = task / inter_blocks, start = task % inter_blocks * kBlock;
      const int count = std::min(kBlock, inter - start);
      const Expert& expert = experts[a];
      const int id = expert.id;
      const Int4Rows gate_rows{gate_codes[id], gate_scales[id], hidden};
      const Int4Rows up_rows{up_codes[id], up_scales[id], hidden};
      const bool by_row = first.multiply(gate_rows.from(start), count, tokens[a], gate.data());
      first.multiply(up_rows.from(start), count, tokens[a], up.data());
      const int num_x = int(expert.slots.size());
      for (int t = 0; t < num_x; t++) {
        float* target = activated.data() + size_t(expert.slots[t]) * inter + start;
        for (int r = 0; r < count; r++) {
          const size_t at = by_row ? size_t(r) * num_x + t : size_t(t) * count + r;
          target[r] = silu(gate[at]) * up[at];
        }
      }
    }
    if (has_few) {
#pragma omp for schedule(dynamic, 1)
      for (int a = 0; a < num_active; a++)
        for (int slot : experts[a].slots) second.permute(slot);
    }
#pragma omp for schedule(dynamic, 1)
    for (int block = 0; block < hidden_blocks; block++) {
      const int start = block * kBlock, count = std::min(kBlock, hidden - start);
      for (int t = 0; t < num_tokens; t++)
        std::fill_n(y + size_t(t) * hidden + start, count, 0.0f);
      for (int a = 0; a < num_active; a++) {
        const Expert& expert = experts[a];
        const Int4Rows rows{down_codes[expert.id], down_scales[expert.id], inter};
        const bool by_row = second.multiply(rows.from(start), count, expert.slots, gate.data());
        const int num_x = int(expert.slots.size());
        for (int t = 0; t < num_x; t++) {
          float* target = y + size_t(tokens[a][t]) * hidden + start;
          const float weight = weights[expert.slots[t]];
          for (int r = 0; r < count; r++)
            target[r] += weight * gate[by_row ? size_t(r) * num_x + t : size_t(t) * count + r];
        }
      }
    }
  }
}
