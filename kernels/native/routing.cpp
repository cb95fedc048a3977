// The choice of experts: sigmoid scores, the best of them with a bias, weights without it.
#include <omp.h>

#include <vector>

#include "lanes.h"

using namespace kimi;

// logits [num_tokens, num_experts], bias [num_experts]. Of every token the top_k <= num_experts
// experts whose sigmoid + bias is largest, the lower number of equals, best first; their sigmoids,
// divided by their sum where renormalize is set. weights, ids [num_tokens, top_k].
extern "C" __attribute__((visibility("default"))) void kimi_route_sigmoid(
    const float* logits, const float* bias, int num_tokens, int num_experts, int top_k, int renormalize,
    float* weights, int32_t* ids, int num_threads) {
  const bool is_small = int64_t(num_tokens) * num_experts < 1 << 14;  // cheaper than waking a thread
  const int padded = (num_experts + 7) / 8 * 8;
#pragma omp parallel num_threads(num_threads) if (num_threads > 1 && !is_small)
  {
    const Floats memory(2 * int64_t(padded));
    float *scores = memory.get(), *choice = scores + padded;
    std::vector<char> taken(num_experts);
    std::fill_n(scores, padded, 0.0f);
#pragma omp for schedule(static)
    for (int t = 0; t < num_tokens; t++) {
      std::copy_n(logits + int64_t(t) * num_experts, num_experts, scores);
      for (int e = 0; e < padded; e += 8) {
        const __m256 power = exp8(_mm256_sub_ps(_mm256_setzero_ps(), _mm256_loadu_ps(scores + e)));
        const __m256 one = _mm256_set1_ps(1.0f);
        _mm256_storeu_ps(scores + e, _mm256_div_ps(one, _mm256_add_ps(one, power)));
      }
      for (int e = 0; e < num_experts; e++) choice[e] = scores[e] + bias[e];
      std::fill(taken.begin(), taken.end(), 0);
      float total = 1e-20f;  // as in the release's code, against a division by nothing
      for (int k = 0; k < top_k; k++) {
        int best = -1;
        for (int e = 0; e < num_experts; e++)
          if (!taken[e] && (best < 0 || choice[e] > choice[best])) best = e;
        taken[best] = 1;
        ids[int64_t(t) * top_k + k] = best;
        weights[int64_t(t) * top_k + k] = scores[best];
        total += scores[best];
      }
      for (int k = 0; renormalize && k < top_k; k++) weights[int64_t(t) * top_k + k] /= total;
    }
  }
}
