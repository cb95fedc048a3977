// Kernels of this folder that others are made of; each is described where it is defined.
#pragma once
#include <cstdint>

// One layer's absorbed MLA.
struct MlaWeights {
  const float *q_norm, *kv_norm;          // [q_rank], [rank]
  const uint16_t *q_b, *w_kc, *w_vc, *o;  // [heads * (nope + rope), q_rank], [heads, rank, nope],
                                          // [heads, value, rank], [hidden, heads * value]
  int q_rank, rank, nope, rope, value, heads, hidden;
  float eps, scaling;
};

// What a step asks of the attention of every layer.
struct MlaStep {
  const int64_t *positions, *new_slots;  // [num_tokens]: rows of cos_sin and of the cache
  const float* cos_sin;                  // [max_position, rope]: cosines, then sines of all pairs
  const void* slots;                     // this and the rest: as of kimi_mla_absorbed
  const int64_t *requests, *seq_lens, *query_lens;
  int64_t max_position, slots_stride;
  int num_tokens, batch, is_int64;
};

extern "C" {
void kimi_bf16_linear(const float* x, int64_t x_batch, int64_t x_row, const uint16_t* w, float* y, int64_t y_batch,
                      int64_t y_row, int batch, int rows, int inputs, int outputs, int num_threads);
void kimi_rms_norm(const float* x, int64_t x_row, const float* residual, const float* weight, float* residual_out,
                   float* y, int rows, int size, float eps, int num_threads);
int kimi_mla_absorbed(const float* query, const void* cache, int is_bf16, int64_t num_slots, const void* slots,
                      int is_int64, int64_t slots_stride, const int64_t* requests, const int64_t* seq_lens,
                      const int64_t* query_lens, int batch, int heads, int width, int rank, float scaling, float* out,
                      int num_threads);
int kimi_mla_layer(const MlaWeights* weights, const MlaStep* step, const float* latents, void* cache, int is_bf16,
                   int64_t num_slots, float* y, int num_threads);
void kimi_bf16_mlp(const float* x, int64_t x_row, const uint16_t* gate_up, const uint16_t* down, float* y, int rows,
                   int hidden, int inter, int num_threads);
void kimi_route_sigmoid(const float* logits, const float* bias, int num_tokens, int num_experts, int top_k,
                        int renormalize, float* weights, int32_t* ids, int num_threads);
int kimi_moe_int4(const float* x, const int32_t* ids, const float* weights, int num_tokens, int top_k,
                  int num_experts, int hidden, int inter, const uint8_t* const* gate_codes,
                  const uint8_t* const* gate_scales, const uint8_t* const* up_codes, const uint8_t* const* up_scales,
                  const uint8_t* const* down_codes, const uint8_t* const* down_scales, float* y, int num_threads);
}
