// y = x w^T with bf16 weights as they lie in the checkpoint, float32 activations and sums.
//
// A bf16 pair is two floats in the high halves of 32 bits: a vector of pairs gives its even inputs
// by a shift and its odd inputs by a mask. The activations are reordered to match (even inputs of a
// chunk, then odd ones), a few rows at a time, into a buffer that stays in L1 while a block of
// weight rows in L2 passes by. One form serves one row (bound by reading) and many (by arithmetic).
#include <omp.h>

#include "lanes.h"

namespace {

using namespace kimi;

constexpr int kChunk = 2 * kLanes;   // inputs of one vector of pairs
constexpr int kDepth = 1024;         // inputs of one pass over several rows
constexpr int kBlockBytes = 1 << 18;  // of weights that several rows share: they stay in L2
constexpr int kPrefetch = 1024;      // bytes ahead of a single row
constexpr int kLongRow = 2048;       // inputs above which several rows of w share the loads of x from L2
#ifdef __AVX512F__
constexpr int kRows = 6, kOutputs = 4;  // 24 sums in 32 registers
#else
constexpr int kRows = 4, kOutputs = 3;  // 12 sums in 16 registers
#endif

struct Problem {
  const float* x;
  const uint16_t* w;
  float* y;
  int rows, inputs, outputs;
  int64_t x_row, y_row;  // strides in floats
};

// Reorder `count` inputs of one row; what is missing to a whole chunk counts as zeros.
void reorder(const float* x, int count, float* out) {
  int k = 0;
  for (; k + kChunk <= count; k += kChunk)
    for (int i = 0; i < kLanes; i++) {
      out[k + i] = x[k + 2 * i];
      out[k + kLanes + i] = x[k + 2 * i + 1];
    }
  if (k == count) return;
  std::fill_n(out + k, kChunk, 0.0f);
  for (int i = 0; k + i < count; i++) out[k + i / 2 + i % 2 * kLanes] = x[k + i];
}

RawLanes load_tail(const uint16_t* source, int count) {
  alignas(64) uint16_t pairs[kChunk] = {};
  std::memcpy(pairs, source, size_t(count) * 2);
  return load_pairs(pairs);
}

// y[t][o] (+)= T reordered rows of x times O rows of w, over `count` inputs. kFetch: the next O rows
// of w, which are not in the cache yet, are fetched meanwhile.
template <int T, int O, bool kFetch>
void multiply_block(const float* x, int x_stride, const uint16_t* w, int64_t w_stride, int count, float* y,
              int64_t y_stride, bool first) {
  Lanes acc[T][O];
  for (int t = 0; t < T; t++)
    for (int o = 0; o < O; o++) acc[t][o] = zero_lanes();
  const auto step = [&](int k, const RawLanes* pairs) {
    Lanes part[O];
    for (int o = 0; o < O; o++) part[o] = low_halves(pairs[o]);
    for (int t = 0; t < T; t++) {
      const Lanes value = load_lanes(x + size_t(t) * x_stride + k);
      for (int o = 0; o < O; o++) acc[t][o] = multiply_add(part[o], value, acc[t][o]);
    }
    for (int o = 0; o < O; o++) part[o] = high_halves(pairs[o]);
    for (int t = 0; t < T; t++) {
      const Lanes value = load_lanes(x + size_t(t) * x_stride + k + kLanes);
      for (int o = 0; o < O; o++) acc[t][o] = multiply_add(part[o], value, acc[t][o]);
    }
  };
  int k = 0;
  for (; k + kChunk <= count; k += kChunk) {
    RawLanes pairs[O];
    for (int o = 0; o < O; o++) {
      pairs[o] = load_pairs(w + o * w_stride + k);
      if (kFetch) _mm_prefetch(reinterpret_cast<const char*>(w + (o + O) * w_stride + k), _MM_HINT_T0);
    }
    step(k, pairs);
  }
  if (k < count) {
    RawLanes pairs[O];
    for (int o = 0; o < O; o++) pairs[o] = load_tail(w + o * w_stride + k, count - k);
    step(k, pairs);
  }
  for (int t = 0; t < T; t++)
    for (int o = 0; o < O; o++) {
      float& target = y[t * y_stride + o];
      target = first ? sum_lanes(acc[t][o]) : target + sum_lanes(acc[t][o]);
    }
}

// One row of x: a single stream of weights with a far prefetch, four chunks at a time.
float multiply_row(const float* x, const uint16_t* w, int count) {
  constexpr int kUnroll = 4;
  Lanes even[kUnroll], odd[kUnroll];
  for (int u = 0; u < kUnroll; u++) even[u] = odd[u] = zero_lanes();
  int k = 0;
  for (; k + kUnroll * kChunk <= count; k += kUnroll * kChunk) {
    for (int line = 0; line < kUnroll * kChunk * 2; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(w + k) + kPrefetch + line, _MM_HINT_T0);
    for (int u = 0; u < kUnroll; u++) {
      const int at = k + u * kChunk;
      const RawLanes pairs = load_pairs(w + at);
      even[u] = multiply_add(low_halves(pairs), load_lanes(x + at), even[u]);
      odd[u] = multiply_add(high_halves(pairs), load_lanes(x + at + kLanes), odd[u]);
    }
  }
  for (; k < count; k += kChunk) {
    const RawLanes pairs = count - k >= kChunk ? load_pairs(w + k) : load_tail(w + k, count - k);
    even[0] = multiply_add(low_halves(pairs), load_lanes(x + k), even[0]);
    odd[0] = multiply_add(high_halves(pairs), load_lanes(x + k + kLanes), odd[0]);
  }
  for (int u = 0; u < kUnroll; u++) even[u] = add(even[u], odd[u]);
  return sum_lanes(add(add(even[0], even[1]), add(even[2], even[3])));
}

template <int T, bool kFetch>
void multiply_outputs(const float* x, int x_stride, const uint16_t* w, int64_t w_stride, int outputs, int count,
                      float* y, int64_t y_stride, bool first) {
  int o = 0;
  for (; o + kOutputs <= outputs; o += kOutputs)
    multiply_block<T, kOutputs, kFetch>(x, x_stride, w + o * w_stride, w_stride, count, y + o, y_stride, first);
  for (; o < outputs; o++)
    multiply_block<T, 1, kFetch>(x, x_stride, w + o * w_stride, w_stride, count, y + o, y_stride, first);
}

template <bool kFetch, class Run>
void by_rows(int rows, const Run& run) {
  switch (rows) {
#ifdef __AVX512F__
    case 6: return run(multiply_outputs<6, kFetch>);
    case 5: return run(multiply_outputs<5, kFetch>);
#endif
    case 4: return run(multiply_outputs<4, kFetch>);
    case 3: return run(multiply_outputs<3, kFetch>);
    case 2: return run(multiply_outputs<2, kFetch>);
    default: return run(multiply_outputs<1, kFetch>);
  }
}

// Rows start..start+count-1 of the weights with every row of x.
void multiply_range(const Problem& p, int start, int count, float* buffer) {
  if (p.rows == 1) {
    reorder(p.x, p.inputs, buffer);
    const uint16_t* w = p.w + int64_t(start) * p.inputs;
    if (p.inputs > kLongRow)
      multiply_outputs<1, true>(buffer, 0, w, p.inputs, count, p.inputs, p.y + start, 0, true);
    else
      for (int o = 0; o < count; o++) p.y[start + o] = multiply_row(buffer, w + int64_t(o) * p.inputs, p.inputs);
    return;
  }
  const int block = std::max(kOutputs, kBlockBytes / 2 / std::min(kDepth, p.inputs) / kOutputs * kOutputs);
  for (int o = start; o < start + count; o += block) {
    const int outputs = std::min(block, start + count - o);
    for (int k = 0; k < p.inputs; k += kDepth) {
      const int depth = std::min(kDepth, p.inputs - k);
      const uint16_t* w = p.w + int64_t(o) * p.inputs + k;
      for (int t = 0; t < p.rows; t += kRows) {
        const int rows = std::min(kRows, p.rows - t);
        for (int i = 0; i < rows; i++)
          reorder(p.x + (t + i) * p.x_row + k, depth, buffer + size_t(i) * kDepth);
        float* y = p.y + t * p.y_row + o;
        const auto run = [&](auto multiply) {
          multiply(buffer, kDepth, w, p.inputs, outputs, depth, y, p.y_row, k == 0);
        };
        if (t == 0) {
          by_rows<true>(rows, run);
        } else {
          by_rows<false>(rows, run);
        }
      }
    }
  }
}

}  // namespace

// For every b of `batch`: y[b] [rows, outputs] = x[b] [rows, inputs] times the transpose of w[b]
// [outputs, inputs] bf16, which is contiguous. x and y are float32, their last dimension is
// contiguous, other strides are given in floats.
extern "C" __attribute__((visibility("default"))) void kimi_bf16_linear(
    const float* x, int64_t x_batch, int64_t x_row, const uint16_t* w, float* y, int64_t y_batch,
    int64_t y_row, int batch, int rows, int inputs, int outputs, int num_threads) {
  // Whole batches where there are enough of them, else every thread a few ranges of outputs.
  const int64_t work = int64_t(rows) * inputs * outputs * batch;
  if (work < 1 << 15) num_threads = 1;  // cheaper than waking a thread
  int parts = 1;
  if (batch < 4 * num_threads) parts = rows == 1 || batch > 1 ? num_threads : 4 * num_threads;
  if (num_threads == 1) parts = 1;
  const int range = ((outputs + parts - 1) / parts + kOutputs - 1) / kOutputs * kOutputs;
  parts = (outputs + range - 1) / range;
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  {
    const Floats buffer(rows == 1 ? int64_t(inputs) + kChunk : int64_t(kRows) * kDepth);
#pragma omp for schedule(dynamic, 1) nowait
    for (int task = 0; task < batch * parts; task++) {
      const int b = task / parts, start = task % parts * range;
      const Problem problem{x + b * x_batch, w + int64_t(b) * outputs * inputs, y + b * y_batch, rows, inputs,
                            outputs,         x_row, y_row};
      multiply_range(problem, start, std::min(range, outputs - start), buffer.get());
    }
  }
}
