// MLA in its two forms, causal, for all sequences of a step in one call.
//
// Absorbed: softmax(scaling * q k^T) k[:, :kv_lora_rank] over the paged latent cache, whose rows are
// keys and values of all heads at once: a block is some tokens with all their heads.
// Expanded: keys and values of every head in full, for long prompts: a block is tokens of one head.
#include "mla_blocks.h"

namespace {

using namespace kimi;

constexpr int kAbsorbedRows = 64, kExpandedRows = 128;  // of a block: its sums stay in L2

// The latent cache, found through rows of slots; a block's keys are named by its request's row.
template <class CellType>
struct LatentCache {
  using Cell = CellType;

  const Cell* rows;
  int64_t num_slots, width;
  const void* slots;
  bool is_int64;
  int64_t slots_stride;

  int64_t slot(int64_t i) const {
    return is_int64 ? static_cast<const int64_t*>(slots)[i] : static_cast<const int32_t*>(slots)[i];
  }

  bool find(int64_t request, int first, int count, const Cell** keys, const Cell** values) const {
    bool is_right = true;
    for (int i = 0; i < count; i++) {
      int64_t at = slot(request * slots_stride + first + i);
      if (at < 0 || at >= num_slots) at = 0, is_right = false;
      keys[i] = values[i] = rows + at * width;
    }
    return is_right;
  }
};

// Keys and values in full; a block's keys are named by its sequence's first key times the number of
// heads, plus the head.
struct FullKeys {
  using Cell = float;

  const float *keys, *values;
  int64_t heads, key_token, key_head, value_token, value_head;

  bool find(int64_t name, int first, int count, const float** found_keys, const float** found_values) const {
    const int64_t token = name / heads + first, head = name % heads;
    for (int i = 0; i < count; i++) {
      found_keys[i] = keys + (token + i) * key_token + head * key_head;
      found_values[i] = values + (token + i) * value_token + head * value_head;
    }
    return true;
  }
};

}  // namespace

// query [num_tokens, heads, width] float32: the last query_lens[s] tokens of every sequence s, one
// sequence after the other, causal; query_lens null: one token each. cache [num_slots, width] bf16
// or float32. slots [*, slots_stride] int32 or int64: row requests[s] begins with the seq_lens[s]
// rows of the cache that sequence s has, in order. out [num_tokens, heads, rank] float32.
// width and rank are multiples of 32. Returns 0, or 1 where a slot is outside the cache.
extern "C" __attribute__((visibility("default"))) int kimi_mla_absorbed(
    const float* query, const void* cache, int is_bf16, int64_t num_slots, const void* slots, int is_int64,
    int64_t slots_stride, const int64_t* requests, const int64_t* seq_lens, const int64_t* query_lens,
    int batch, int heads, int width, int rank, float scaling, float* out, int num_threads) {
  const Shape shape(width, rank, is_bf16 ? 2 : 4, scaling);
  const int block_tokens = std::max(1, kAbsorbedRows / heads);
  Plan plan;
  for (int s = 0; s < batch; s++) {
    const int num_tokens = query_lens ? int(query_lens[s]) : 1;
    for (int token = 0; token < num_tokens; token += block_tokens) {
      const int count = std::min(block_tokens, num_tokens - token);
      plan.blocks.push_back({query, out, width, rank, requests[s], int(seq_lens[s]) - num_tokens + token,
                             count * heads, heads});
      query += int64_t(count) * heads * width;
      out += int64_t(count) * heads * rank;
    }
  }
  plan.cut(shape.tile, num_threads);
  const auto run = [&](const auto* rows) {
    using Cell = std::remove_const_t<std::remove_pointer_t<decltype(rows)>>;
    const LatentCache<Cell> source{rows, num_slots, width, slots, is_int64 != 0, slots_stride};
    return attend(shape, source, plan, num_threads);
  };
  const bool is_right =
      is_bf16 ? run(static_cast<const uint16_t*>(cache)) : run(static_cast<const float*>(cache));
  return is_right ? 0 : 1;
}

// query [num_tokens, heads, width], keys [num_keys, heads, width], values [num_keys, heads, rank],
// float32, their strides (token, head) in floats, last dimensions contiguous: for every sequence s
// its last query_lens[s] tokens and all its seq_lens[s] keys, sequence after sequence, causal.
// out [num_tokens, heads, rank] float32. width and rank are multiples of 32.
extern "C" __attribute__((visibility("default"))) void kimi_mla_expanded(
    const float* query, int64_t query_token, int64_t query_head, const float* keys, int64_t key_token,
    int64_t key_head, const float* values, int64_t value_token, int64_t value_head, const int64_t* seq_lens,
    const int64_t* query_lens, int batch, int heads, int width, int rank, float scaling, float* out,
    int num_threads) {
  const Shape shape(width, rank, 4, scaling);
  const FullKeys source{keys, values, heads, key_token, key_head, value_token, value_head};
  Plan plan;
  int64_t first_query = 0, first_key = 0;
  for (int s = 0; s < batch; s++) {
    const int num_tokens = int(query_lens[s]);
    for (int head = 0; head < heads; head++)
      for (int token = 0; token < num_tokens; token += kExpandedRows) {
        const int64_t at = first_query + token;
        plan.blocks.push_back({query + at * query_token + head * query_head, out + (at * heads + head) * rank,
                               query_token, int64_t(heads) * rank, first_key * heads + head,
                               int(seq_lens[s]) - num_tokens + token,
                               std::min(kExpandedRows, num_tokens - token), 1});
      }
    first_query += num_tokens;
    first_key += seq_lens[s];
  }
  plan.cut(shape.tile, num_threads);
  attend(shape, source, plan, num_threads);
}
