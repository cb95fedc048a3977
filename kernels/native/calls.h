// Kernels of this folder that others are made of; each is described where it is defined.
#pragma once
#include <cstdint>

extern "C" {
void kimi_bf16_linear(const float* x, int64_t x_batch, int64_t x_row, const uint16_t* w, float* y, int64_t y_batch,
                      int64_t y_row, int batch, int rows, int inputs, int outputs, int num_threads);
void kimi_rms_norm(const float* x, int64_t x_row, const float* residual, const float* weight, float* residual_out,
                   float* y, int rows, int size, float eps, int num_threads);
int kimi_mla_absorbed(const float* query, const void* cache, int is_bf16, int64_t num_slots, const void* slots,
                      int is_int64, int64_t slots_stride, const int64_t* requests, const int64_t* seq_lens,
                      const int64_t* query_lens, int batch, int heads, int width, int rank, float scaling, float* out,
                      int num_threads);
}
