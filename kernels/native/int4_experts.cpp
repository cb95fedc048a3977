// Routed SwiGLU experts on the checkpoint's packed INT4 tensors, as they lie in memory.
//
//   y[token] = sum over its experts e of weight * W2_e (silu(Gate_e x) * (Up_e x))
//
// Two passes with a barrier between: rows of gate and up of all experts, then rows of W2, each task
// owning its output columns over all experts, so that sums need no lock. Tasks are as long as
// balance allows: memory is read twice as fast in stretches of 256 KB as in those of 32 KB.
#include <omp.h>

#include <vector>

#include "int4_tiles.h"

namespace {

using namespace kimi;

constexpr size_t kManyTokens = 4;      // of one expert: from here on tiles beat rows
constexpr size_t kMostSums = 1 << 18;  // of one task and matrix: 1 MB; packing pays with long tasks

struct Expert {
  int id;
  std::vector<int> slots, tokens;  // slot = token * top_k + position, ascending
};

// Ids below 0 are skipped; all must be below num_experts.
std::vector<Expert> by_expert(const int32_t* ids, int num_slots, int top_k, int num_experts) {
  std::vector<int> place(num_experts, -1);
  std::vector<Expert> experts;
  for (int slot = 0; slot < num_slots; slot++) {
    const int id = ids[slot];
    if (id < 0) continue;
    if (place[id] < 0) place[id] = int(experts.size()), experts.push_back({id, {}, {}});
    experts[place[id]].slots.push_back(slot);
    experts[place[id]].tokens.push_back(slot / top_k);
  }
  return experts;
}

// Rows of a task, whole groups, where `num_rows` shall make `num_tasks` tasks.
int rows_per_task(int num_rows, int num_tasks, size_t most_tokens) {
  const size_t wanted = (num_rows + num_tasks - 1) / num_tasks;
  const size_t rows = std::min(wanted, kMostSums / std::max<size_t>(most_tokens, 1));
  return int(std::max<size_t>((rows + kGroup - 1) / kGroup, 1) * kGroup);
}

// Rows of x that one expert multiplies, in whichever order its form of the product reads.
class Multiplier {
 public:
  // xs must live as long as the products are made.
  void set(const QuantisedRows& x, const std::vector<int>& xs, int inputs) {
    x_ = &x, xs_ = &xs;
    if (is_many()) packed_.pack(x, xs.data(), int(xs.size()), inputs);
  }

  // out[t * num_rows + r] = row r times row xs[t] of x.
  void multiply(const Int4Rows& rows, int num_rows, float* out) const {
    if (is_many())
      multiply_many(rows, num_rows, packed_, out);
    else
      multiply_few(rows, num_rows, *x_, xs_->data(), int(xs_->size()), out);
  }

 private:
  bool is_many() const { return xs_->size() >= kManyTokens; }

  const QuantisedRows* x_;
  const std::vector<int>* xs_;
  PackedRows packed_;
};

}  // namespace

// Returns -1, or an id that is not below num_experts: then nothing was done.
// x [num_tokens, hidden] float32; ids, weights [num_tokens, top_k], ids below 0 are skipped; six arrays of num_experts addresses, of any alignment: codes of gate and up [inter,
// hidden / 8] words, of down [hidden, inter / 8], their scales bf16 [..., inputs / 32];
// y [num_tokens, hidden] float32, overwritten.
extern "C" __attribute__((visibility("default"))) int kimi_moe_int4(
    const float* x, const int32_t* ids, const float* weights, int num_tokens, int top_k,
    int num_experts, int hidden, int inter, const uint8_t* const* gate_codes,
    const uint8_t* const* gate_scales, const uint8_t* const* up_codes,
    const uint8_t* const* up_scales, const uint8_t* const* down_codes,
    const uint8_t* const* down_scales, float* y, int num_threads) {
  const int num_slots = num_tokens * top_k;
  for (int slot = 0; slot < num_slots; slot++)
    if (ids[slot] >= num_experts) return ids[slot];
  const std::vector<Expert> experts = by_expert(ids, num_slots, top_k, num_experts);
  const int num_active = int(experts.size());
  size_t most = 0;
  for (const Expert& expert : experts) most = std::max(most, expert.slots.size());
  QuantisedRows first(num_tokens, hidden), second(num_slots, inter);
  const int tasks = 8 * num_threads / std::max(num_active, 1) + 1;  // of an expert
  const int inter_step = rows_per_task(inter, tasks, most), pieces = (inter + inter_step - 1) / inter_step;
  const int hidden_step = rows_per_task(hidden, 4 * num_threads, most);

#pragma omp parallel num_threads(num_threads)
  {
    std::vector<float> gate(most * std::max(inter_step, hidden_step)), up(most * inter_step);
    Multiplier inputs;
#pragma omp for schedule(static)
    for (int t = 0; t < num_tokens; t++)
      for (int g = 0; g < hidden / kGroup; g++)
        first.set_group(t, g, x + size_t(t) * hidden + g * kGroup);
#pragma omp for schedule(dynamic, 1)
    for (int task = 0; task < num_active * pieces; task++) {
      const Expert& expert = experts[task / pieces];
      const int id = expert.id, start = task % pieces * inter_step;
      const int count = std::min(inter_step, inter - start);
      const Int4Rows gate_rows{gate_codes[id], gate_scales[id], hidden};
      const Int4Rows up_rows{up_codes[id], up_scales[id], hidden};
      inputs.set(first, expert.tokens, hidden);
      inputs.multiply(gate_rows.from(start), count, gate.data());
      inputs.multiply(up_rows.from(start), count, up.data());
      for (size_t t = 0; t < expert.slots.size(); t++)
        for (int r = 0; r < count; r += kGroup) {
          float* values = gate.data() + t * count + r;
          gate_with_silu(values, up.data() + t * count + r, kGroup);
          second.set_group(expert.slots[t], (start + r) / kGroup, values);
        }
    }
#pragma omp for schedule(dynamic, 1)
    for (int start = 0; start < hidden; start += hidden_step) {
      const int count = std::min(hidden_step, hidden - start);
      for (int t = 0; t < num_tokens; t++) std::fill_n(y + size_t(t) * hidden + start, count, 0.0f);
      for (const Expert& expert : experts) {
        const Int4Rows rows{down_codes[expert.id], down_scales[expert.id], inter};
        inputs.set(second, expert.slots, inter);
        inputs.multiply(rows.from(start), count, gate.data());
        for (size_t t = 0; t < expert.slots.size(); t++) {
          float* target = y + size_t(expert.tokens[t]) * hidden + start;
          const float weight = weights[expert.slots[t]];
          for (int r = 0; r < count; r++) target[r] += weight * gate[t * count + r];
        }
      }
    }
  }
  return -1;
}
