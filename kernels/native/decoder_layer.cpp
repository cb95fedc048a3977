// A decoder layer in one call, on one rank: two norms with the residual stream, MLA, and the dense MLP
// or the router, its experts and the shared expert.
#include <vector>

#include "calls.h"
#include "lanes.h"

using namespace kimi;

struct MoeWeights {
  const uint16_t* router;  // [num_experts, hidden]
  const float* bias;       // [num_experts]
  const uint8_t* const* experts[6];  // as of kimi_moe_int4
  int num_experts, top_k, inter, renormalize;
  float scaling;
};

struct DecoderWeights {
  const float *attention_norm, *mlp_norm;       // [hidden]
  const uint16_t *qkv_a, *gate_up, *down;       // [q_rank + rank + rope, hidden]; as of kimi_bf16_mlp
  const MlaWeights* mla;
  const MoeWeights* moe;  // null: a dense layer; else the MLP is the shared expert
  int inter;
  float eps;
};

namespace {

// y += the weighted sum of each row's experts, where y holds the shared expert's rows.
void add_experts(const MoeWeights& w, const float* x, float* y, int rows, int hidden, int num_threads) {
  const Floats logits(int64_t(rows) * w.num_experts), weights(int64_t(rows) * w.top_k);
  const Floats sums(int64_t(rows) * hidden);
  std::vector<int32_t> ids(size_t(rows) * w.top_k);
  kimi_bf16_linear(x, 0, hidden, w.router, logits.get(), 0, w.num_experts, 1, rows, hidden, w.num_experts,
                   num_threads);
  kimi_route_sigmoid(logits.get(), w.bias, rows, w.num_experts, w.top_k, w.renormalize, weights.get(), ids.data(),
                     num_threads);
  for (size_t i = 0; i < ids.size(); i++) weights.get()[i] *= w.scaling;
  kimi_moe_int4(x, ids.data(), weights.get(), rows, w.top_k, w.num_experts, hidden, w.inter, w.experts[0],
                w.experts[1], w.experts[2], w.experts[3], w.experts[4], w.experts[5], sums.get(), num_threads);
  for (int64_t i = 0; i < int64_t(rows) * hidden; i++) y[i] += sums.get()[i];
}

}  // namespace

// x [num_tokens, hidden]: what the layer before gave, overwritten by what this one gives; residual
// [num_tokens, hidden]: the stream without x, to which x and the attention's output are added.
// Cache and result as of kimi_mla_layer.
extern "C" __attribute__((visibility("default"))) int kimi_decoder_layer(
    const DecoderWeights* weights, const MlaStep* step, void* cache, int is_bf16, int64_t num_slots, float* x,
    float* residual, int num_threads) {
  const DecoderWeights& w = *weights;
  const int rows = step->num_tokens, hidden = w.mla->hidden, latent = w.mla->q_rank + w.mla->rank + w.mla->rope;
  const Floats normed(int64_t(rows) * hidden), latents(int64_t(rows) * latent);
  kimi_rms_norm(x, hidden, residual, w.attention_norm, residual, normed.get(), rows, hidden, w.eps, num_threads);
  kimi_bf16_linear(normed.get(), 0, hidden, w.qkv_a, latents.get(), 0, latent, 1, rows, hidden, latent, num_threads);
  const int status = kimi_mla_layer(w.mla, step, latents.get(), cache, is_bf16, num_slots, x, num_threads);
  if (status) return status;
  kimi_rms_norm(x, hidden, residual, w.mlp_norm, residual, normed.get(), rows, hidden, w.eps, num_threads);
  kimi_bf16_mlp(normed.get(), hidden, w.gate_up, w.down, x, rows, hidden, w.inter, num_threads);
  if (w.moe) add_experts(*w.moe, normed.get(), x, rows, hidden, num_threads);
  return 0;
}
