// Absorbed MLA over the paged latent cache: softmax(scaling * q k^T) k[:, :kv_lora_rank].
//
// Sixteen cache rows at a time are expanded to float32 once, stay in L1 and serve all heads and all
// queries; the softmax is kept online. The cache is split over threads, whose parts are merged.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.h"

namespace {

using namespace kimi;

constexpr int kTile = 16;
constexpr int kBlockRows = 64;  // of one pass over the cache: their outputs (128 KB) stay in L2
constexpr float kMasked = -1e30f;

struct Cache {
  const void* rows;
  bool is_bf16;
  int width;

  void load(int64_t slot, float* out) const {
    if (!is_bf16) {
      std::memcpy(out, static_cast<const float*>(rows) + slot * width, size_t(width) * 4);
      return;
    }
    const uint16_t* source = static_cast<const uint16_t*>(rows) + slot * width;
    for (int i = 0; i < width; i += 8) _mm256_store_ps(out + i, from_bf16x8(source + i));
  }
};

struct Slots {
  const void* values;
  bool is_int64;

  int64_t at(int i) const {
    return is_int64 ? static_cast<const int64_t*>(values)[i] : static_cast<const int32_t*>(values)[i];
  }
};

// Running softmax of `num` rows (a row is one head of one query) over the cache rows seen so far.
struct Partial {
  std::vector<float> largest, total, output;

  Partial(int num, int rank) : largest(num, kMasked), total(num, 0.0f), output(size_t(num) * rank, 0.0f) {}
};

// scores[h][i] of two rows of q against the tile's rows.
void score(const float* q0, const float* q1, const float* tile, int width, float scaling, float* s0,
           float* s1) {
  for (int i = 0; i < kTile; i += 4) {
    __m256 a[4], b[4];
    for (int z = 0; z < 4; z++) a[z] = b[z] = _mm256_setzero_ps();
    for (int k = 0; k < width; k += 8) {
      const __m256 x0 = _mm256_loadu_ps(q0 + k), x1 = _mm256_loadu_ps(q1 + k);
      for (int z = 0; z < 4; z++) {
        const __m256 y = _mm256_load_ps(tile + (i + z) * width + k);
        a[z] = _mm256_fmadd_ps(x0, y, a[z]);
        b[z] = _mm256_fmadd_ps(x1, y, b[z]);
      }
    }
    const __m128 scale = _mm_set1_ps(scaling);
    _mm_store_ps(s0 + i, _mm_mul_ps(sum4(a[0], a[1], a[2], a[3]), scale));
    _mm_store_ps(s1 + i, _mm_mul_ps(sum4(b[0], b[1], b[2], b[3]), scale));
  }
}

// Turn scores into weights exp(score - largest) and rescale what was summed before.
void soften(float* scores, Partial& part, int row, int rank) {
  float largest = part.largest[row];
  for (int i = 0; i < kTile; i++) largest = std::max(largest, scores[i]);
  __m256 total = _mm256_setzero_ps();
  for (int i = 0; i < kTile; i += 8) {
    const __m256 s = _mm256_load_ps(scores + i);
    __m256 p = exp8(_mm256_sub_ps(s, _mm256_set1_ps(largest)));
    p = _mm256_and_ps(p, _mm256_cmp_ps(s, _mm256_set1_ps(kMasked / 2), _CMP_GT_OQ));
    _mm256_store_ps(scores + i, p);
    total = _mm256_add_ps(total, p);
  }
  const float old = std::exp(part.largest[row] - largest);
  part.total[row] = part.total[row] * old + sum(total);
  part.largest[row] = largest;
  if (old == 1.0f) return;
  float* output = part.output.data() + size_t(row) * rank;
  for (int k = 0; k < rank; k += 8)
    _mm256_storeu_ps(output + k, _mm256_mul_ps(_mm256_loadu_ps(output + k), _mm256_set1_ps(old)));
}

void add_values(const float* p0, const float* p1, const float* tile, int width, int rank, float* o0,
                float* o1) {
  for (int k = 0; k < rank; k += 32) {
    __m256 a[4], b[4];
    for (int z = 0; z < 4; z++) {
      a[z] = _mm256_loadu_ps(o0 + k + 8 * z);
      b[z] = _mm256_loadu_ps(o1 + k + 8 * z);
    }
    for (int i = 0; i < kTile; i++) {
      const __m256 w0 = _mm256_broadcast_ss(p0 + i), w1 = _mm256_broadcast_ss(p1 + i);
      for (int z = 0; z < 4; z++) {
        const __m256 y = _mm256_load_ps(tile + i * width + k + 8 * z);
        a[z] = _mm256_fmadd_ps(w0, y, a[z]);
        b[z] = _mm256_fmadd_ps(w1, y, b[z]);
      }
    }
    for (int z = 0; z < 4; z++) {
      _mm256_storeu_ps(o0 + k + 8 * z, a[z]);
      _mm256_storeu_ps(o1 + k + 8 * z, b[z]);
    }
  }
}

struct Query {
  const float* q;
  int num_tokens, num_heads, width, rank;
  float scaling;
};

// A thread's tile of cache rows, aligned.
class Tile {
 public:
  explicit Tile(int width) : width_(width), storage_(size_t(kTile) * width + 8, 0.0f) {}

  // Load rows first..first+count-1 of the sequence; what is left of the tile are zeros.
  const float* load(const Cache& cache, const Slots& slots, int first, int count) {
    float* rows = data();
    for (int i = 0; i < count; i++) cache.load(slots.at(first + i), rows + size_t(i) * width_);
    std::fill(rows + size_t(count) * width_, rows + size_t(kTile) * width_, 0.0f);
    return rows;
  }

 private:
  float* data() {
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(storage_.data()) + 31) & ~uintptr_t(31));
  }

  int width_;
  std::vector<float> storage_;
};

// Fold `count` <= kTile cache rows from `first` on into the rows of `part`: queries
// first_token..first_token+num_tokens-1, each seeing the cache up to its own position.
void fold(const Query& query, int seq_len, int first_token, int num_tokens, int first, int count,
          const float* tile, Partial& part) {
  alignas(32) float s0[kTile], s1[kTile];
  const int first_position = seq_len - query.num_tokens + first_token;
  for (int token = std::max(0, first - first_position); token < num_tokens; token++) {
    const int visible = std::min(count, first_position + token + 1 - first);
    for (int head = 0; head < query.num_heads; head += 2) {
      const int row = token * query.num_heads + head;
      const float* q0 = query.q + (size_t(first_token) * query.num_heads + row) * query.width;
      score(q0, q0 + query.width, tile, query.width, query.scaling, s0, s1);
      for (int i = visible; i < kTile; i++) s0[i] = s1[i] = kMasked;
      soften(s0, part, row, query.rank);
      soften(s1, part, row + 1, query.rank);
      float* output = part.output.data() + size_t(row) * query.rank;
      add_values(s0, s1, tile, query.width, query.rank, output, output + query.rank);
    }
  }
}

void merge(const Partial* parts, int num_parts, int row, int rank, float* out) {
  float largest = kMasked, total = 0;
  for (int p = 0; p < num_parts; p++) largest = std::max(largest, parts[p].largest[row]);
  std::fill_n(out, rank, 0.0f);
  for (int p = 0; p < num_parts; p++) {
    const float weight = std::exp(parts[p].largest[row] - largest);
    total += weight * parts[p].total[row];
    const float* output = parts[p].output.data() + size_t(row) * rank;
    for (int k = 0; k < rank; k++) out[k] += weight * output[k];
  }
  for (int k = 0; k < rank; k++) out[k] /= total;
}

// Few queries: the cache is split over the threads.
void split_cache(const Query& query, const Cache& cache, const Slots& slots, int seq_len, float* out,
                 int num_threads) {
  const int num_rows = query.num_tokens * query.num_heads;
  std::vector<Partial> parts(num_threads, Partial(0, 0));
#pragma omp parallel num_threads(num_threads)
  {
    Partial& part = parts[omp_get_thread_num()];
    part = Partial(num_rows, query.rank);
    Tile tile(query.width);
#pragma omp for schedule(dynamic, 4)
    for (int first = 0; first < seq_len; first += kTile) {
      const int count = std::min(kTile, seq_len - first);
      fold(query, seq_len, 0, query.num_tokens, first, count, tile.load(cache, slots, first, count), part);
    }
#pragma omp for schedule(static)
    for (int row = 0; row < num_rows; row++)
      merge(parts.data(), omp_get_num_threads(), row, query.rank, out + size_t(row) * query.rank);
  }
}

// Many queries: blocks of them are split over the threads, each block reads the cache it sees.
void split_queries(const Query& query, const Cache& cache, const Slots& slots, int seq_len,
                   int block_tokens, float* out, int num_threads) {
  const int num_blocks = (query.num_tokens + block_tokens - 1) / block_tokens;
#pragma omp parallel num_threads(num_threads)
  {
    Tile tile(query.width);
#pragma omp for schedule(dynamic, 1)
    for (int block = num_blocks - 1; block >= 0; block--) {  // the longest first
      const int first_token = block * block_tokens;
      const int num_tokens = std::min(block_tokens, query.num_tokens - first_token);
      const int visible = seq_len - query.num_tokens + first_token + num_tokens;
      const int num_rows = num_tokens * query.num_heads;
      Partial part(num_rows, query.rank);
      for (int first = 0; first < visible; first += kTile) {
        const int count = std::min(kTile, visible - first);
        fold(query, seq_len, first_token, num_tokens, first, count,
             tile.load(cache, slots, first, count), part);
      }
      float* target = out + size_t(first_token) * query.num_heads * query.rank;
      for (int row = 0; row < num_rows; row++) merge(&part, 1, row, query.rank, target + size_t(row) * query.rank);
    }
  }
}

}  // namespace

// q [num_tokens, num_heads, width] float32: the sequence's last tokens, causal. cache [*, width]
// bf16 or float32; slots [seq_len] int32 or int64: the sequence's rows of the cache, in order.
// out [num_tokens, num_heads, rank] float32. num_heads is even, width a multiple of 8, rank of 32.
extern "C" __attribute__((visibility("default"))) void kimi_mla_absorbed(
    const float* q, const void* cache, int is_bf16, const void* slots, int is_int64, int seq_len,
    int num_tokens, int num_heads, int width, int rank, float scaling, float* out, int num_threads) {
  const Query query{q, num_tokens, num_heads, width, rank, scaling};
  const Cache rows{cache, is_bf16 != 0, width};
  const Slots order{slots, is_int64 != 0};
  const int block_tokens = std::max(1, kBlockRows / num_heads);
  if (num_tokens >= block_tokens * num_threads)
    split_queries(query, rows, order, seq_len, block_tokens, out, num_threads);
  else
    split_cache(query, rows, order, seq_len, out, num_threads);
}
