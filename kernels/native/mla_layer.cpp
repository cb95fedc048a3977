// Absorbed MLA of one layer in one call: from the latents that the layer's first product gives to
// what its last product gives. Small operations between large ones, without a call for each.
#include <omp.h>

#include <vector>

#include "calls.h"
#include "lanes.h"

using namespace kimi;

namespace {

uint16_t to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return uint16_t(bits >> 16 | 0x40);        // stays no number
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
}

// Turn pairs of neighbours by angles, given as cosines and then sines of all pairs.
void rotate(const float* x, const float* cos_sin, int width, float* out) {
  const int pairs = width / 2;
  for (int i = 0; i < pairs; i++) {
    const float a = x[2 * i], b = x[2 * i + 1], cos = cos_sin[i], sin = cos_sin[pairs + i];
    out[2 * i] = a * cos - b * sin;
    out[2 * i + 1] = a * sin + b * cos;
  }
}

}  // namespace

// latents [num_tokens, q_rank + rank + rope] float32, contiguous; cache [num_slots, rank + rope], bf16 or
// float32. Tokens after those of all sequences are padding: they write their slots and give zeros.
// y [num_tokens, hidden]. Returns 0, 1 where a slot is outside the cache, or 2 where a position is
// outside cos_sin.
extern "C" __attribute__((visibility("default"))) int kimi_mla_layer(
    const MlaWeights* weights, const MlaStep* step, const float* latents, void* cache, int is_bf16,
    int64_t num_slots, float* y, int num_threads) {
  const MlaWeights& w = *weights;
  const int num_tokens = step->num_tokens, batch = step->batch;
  const int64_t* query_lens = step->query_lens;
  const int width = w.rank + w.rope, head = w.nope + w.rope;
  const int64_t latent = w.q_rank + width, heads = w.heads;
  for (int t = 0; t < num_tokens; t++)
    if (step->new_slots[t] < 0 || step->new_slots[t] >= num_slots) return 1;
  for (int t = 0; t < num_tokens; t++)
    if (step->positions[t] < 0 || step->positions[t] >= step->max_position) return 2;
  const Floats lora(int64_t(num_tokens) * w.q_rank), full(num_tokens * heads * head);
  const Floats query(num_tokens * heads * width), attended(num_tokens * heads * w.rank);
  const Floats values(num_tokens * heads * w.value), keys(int64_t(num_tokens) * w.rank);
  kimi_rms_norm(latents, latent, nullptr, w.q_norm, nullptr, lora.get(), num_tokens, w.q_rank, w.eps, num_threads);
  kimi_rms_norm(latents + w.q_rank, latent, nullptr, w.kv_norm, nullptr, keys.get(), num_tokens, w.rank, w.eps,
                num_threads);
  kimi_bf16_linear(lora.get(), 0, w.q_rank, w.q_b, full.get(), 0, heads * head, 1, num_tokens, w.q_rank,
                   w.heads * head, num_threads);
#pragma omp parallel for num_threads(num_threads) if (num_threads > 1 && num_tokens >= 32)
  for (int t = 0; t < num_tokens; t++) {
    const float* angles = step->cos_sin + step->positions[t] * w.rope;
    for (int h = 0; h < w.heads; h++)
      rotate(full.get() + (t * heads + h) * head + w.nope, angles, w.rope,
             query.get() + (t * heads + h) * width + w.rank);
    std::vector<float> key(width);
    std::copy_n(keys.get() + int64_t(t) * w.rank, w.rank, key.data());
    rotate(latents + t * latent + w.q_rank + w.rank, angles, w.rope, key.data() + w.rank);
    const int64_t at = step->new_slots[t] * width;
    if (is_bf16) {
      for (int i = 0; i < width; i++) static_cast<uint16_t*>(cache)[at + i] = to_bf16(key[i]);
    } else {
      std::copy_n(key.data(), width, static_cast<float*>(cache) + at);
    }
  }
  kimi_bf16_linear(full.get(), head, heads * head, w.w_kc, query.get(), width, heads * width, w.heads, num_tokens,
                   w.nope, w.rank, num_threads);
  int64_t covered = batch;
  if (query_lens) covered = 0;
  for (int s = 0; query_lens && s < batch; s++) covered += query_lens[s];
  std::fill(attended.get() + covered * heads * w.rank, attended.get() + num_tokens * heads * w.rank, 0.0f);
  const int status = kimi_mla_absorbed(query.get(), cache, is_bf16, num_slots, step->slots, step->is_int64,
                                       step->slots_stride, step->requests, step->seq_lens, query_lens, batch, w.heads,
                                       width, w.rank, w.scaling, attended.get(), num_threads);
  if (status) return status;
  kimi_bf16_linear(attended.get(), w.rank, heads * w.rank, w.w_vc, values.get(), w.value, heads * w.value, w.heads,
                   num_tokens, w.rank, w.value, num_threads);
  kimi_bf16_linear(values.get(), 0, heads * w.value, w.o, y, 0, w.hidden, 1, num_tokens, w.heads * w.value, w.hidden,
                   num_threads);
  return 0;
}
