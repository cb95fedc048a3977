// Absorbed MLA over the paged latent cache: softmax(scaling * q k^T) k[:, :kv_lora_rank], for all
// sequences of a step in one call.
//
// A block is some tokens of one sequence with all their heads, about 64 rows, whose sums stay in L2.
// Each block's cache rows are cut into parts so that all threads have work of one size; a block of
// several parts is merged at the end. The next tile is fetched while this one is computed.
#include <omp.h>

#include <atomic>
#include <vector>

#include "mla_tiles.h"

namespace {

using namespace kimi;

constexpr int kBlockRows = 64;
constexpr int kTileBytes = 80 * 1024;  // of cache rows, in L2 beside the block's queries and sums
constexpr int kMaxTile = 64;
constexpr int kStride = kMaxTile + 8;  // of scores: threes of cache rows may go two beyond a tile
constexpr int kPartsPerThread = 4;

struct Numbers {
  const void* values;
  bool is_int64;

  int64_t at(int64_t i) const {
    return is_int64 ? static_cast<const int64_t*>(values)[i] : static_cast<const int32_t*>(values)[i];
  }
};

struct Step {
  const float* query;
  const void* cache;
  int64_t num_slots;
  Numbers slots;  // [*, slots_stride], a row per request
  int64_t slots_stride;
  int heads, width, rank, tile;
  float scaling;
};

// Tokens of one sequence; `query_row` counts rows (token, head) of the whole step.
struct Block {
  int64_t request, query_row;
  int first_position, num_tokens;

  int visible() const { return first_position + num_tokens; }
};

// Cache rows begin..end-1 of one block's sequence; `scratch` is its place among parts to merge.
struct Part {
  int block, begin, end;
  int64_t scratch;
};

struct Merge {
  int block, num_parts;
  int64_t scratch;
};

struct Plan {
  std::vector<Block> blocks;
  std::vector<Part> parts;
  std::vector<Merge> merges;
  int64_t num_scratch = 0;
};

Plan make_plan(const Step& step, const int64_t* requests, const int64_t* seq_lens, const int64_t* query_lens,
               int batch, int num_threads) {
  Plan plan;
  const int block_tokens = std::max(1, kBlockRows / step.heads);
  int64_t query_row = 0, work = 0;
  for (int s = 0; s < batch; s++) {
    const int num_tokens = query_lens ? int(query_lens[s]) : 1;
    for (int token = 0; token < num_tokens; token += block_tokens) {
      const int count = std::min(block_tokens, num_tokens - token);
      plan.blocks.push_back({requests[s], query_row + int64_t(token) * step.heads,
                             int(seq_lens[s]) - num_tokens + token, count});
      work += plan.blocks.back().visible();
    }
    query_row += int64_t(num_tokens) * step.heads;
  }
  int64_t size = work;
  if (num_threads > 1) size = std::max<int64_t>(work / (num_threads * kPartsPerThread), 2 * step.tile);
  for (int b = 0; b < int(plan.blocks.size()); b++) {
    const int visible = plan.blocks[b].visible();
    const int num_parts = int(std::max<int64_t>(1, (visible + size / 2) / size));
    const int tiles = (visible + step.tile - 1) / step.tile, share = (tiles + num_parts - 1) / num_parts;
    const int64_t scratch = plan.num_scratch;
    for (int begin = 0; begin < visible; begin += share * step.tile)
      plan.parts.push_back({b, begin, std::min(visible, begin + share * step.tile),
                            num_parts > 1 ? plan.num_scratch++ : -1});
    if (num_parts > 1) plan.merges.push_back({b, int(plan.num_scratch - scratch), scratch});
  }
  std::stable_sort(plan.parts.begin(), plan.parts.end(),
                   [](const Part& a, const Part& b) { return a.end - a.begin > b.end - b.begin; });
  return plan;
}

// What one part of a block has summed: of every row the largest score, the weights' total, the sum.
struct Sums {
  float *output, *largest, *total;

  static int64_t size(int num_rows, int rank) { return int64_t(num_rows) * (rank + 2) + 16; }
  Sums(float* memory, int num_rows, int rank)
      : output(memory), largest(memory + int64_t(num_rows) * rank), total(largest + num_rows) {}

  void clear(int num_rows) const {
    std::fill(output, largest, 0.0f);
    std::fill_n(largest, num_rows, kMasked);
    std::fill_n(total, num_rows, 0.0f);
  }
};

template <class Cell>
class Worker {
 public:
  Worker(const Step& step, int most_rows)
      : step_(step), queries_(int64_t(most_rows) * step.width), scores_(int64_t(most_rows) * kStride) {}

  // Fold the part's cache rows into `sums`; returns whether all slots were of the cache.
  bool run(const Block& block, const Part& part, Sums sums) {
    num_rows_ = block.num_tokens * step_.heads;
    order_queries(block);
    bool is_right = find_rows(block, part, part.begin, next_);
    for (int first = part.begin; first < part.end; first += step_.tile) {
      std::copy_n(next_, kMaxTile, rows_);
      count_ = std::min(step_.tile, part.end - first);
      is_right &= find_rows(block, part, first + step_.tile, next_);
      for (int i = count_; i < count_ + 2; i++) rows_[i] = rows_[count_ - 1];
      score_all();
      soften_all(block, first, sums);
      add_all(sums.output);
    }
    return is_right;
  }

  // Divide by the total.
  void finish(const Sums& sums, int num_rows, float* out) const {
    for (int row = 0; row < num_rows; row++) {
      const float factor = 1.0f / sums.total[row];
      const float* source = sums.output + int64_t(row) * step_.rank;
      for (int k = 0; k < step_.rank; k++) *out++ = factor * source[k];
    }
  }

 private:
  static const Cell* cell() { return nullptr; }

  void order_queries(const Block& block) {
    const float* source = step_.query + block.query_row * step_.width;
    float* target = queries_.get();
    for (int64_t k = 0; k < int64_t(num_rows_) * step_.width; k += kPair)
      for (int i = 0; i < kPair; i++) target[k + place(cell(), i)] = step_.scaling * source[k + i];
  }

  // The rows from `first` on, up to a tile of them; returns whether all are of the cache.
  bool find_rows(const Block& block, const Part& part, int first, const Cell** rows) const {
    const int count = std::min(step_.tile, part.end - first);
    bool is_right = true;
    for (int i = 0; i < count; i++) {
      int64_t slot = step_.slots.at(block.request * step_.slots_stride + first + i);
      if (slot < 0 || slot >= step_.num_slots) slot = 0, is_right = false;
      rows[i] = static_cast<const Cell*>(step_.cache) + slot * step_.width;
    }
    return is_right;
  }

  // Group by group of queries; each group fetches its share of the next tile's cache lines.
  void score_all() {
    const int groups = (num_rows_ + 3) / 4, lines = int(step_.width * sizeof(Cell) + 63) / 64;
    for (int row = 0, group = 0; row < num_rows_; row += 4, group++) {
      const int first_line = lines * group / groups, end_line = lines * (group + 1) / groups;
      const float* query = queries_.get() + int64_t(row) * step_.width;
      float* scores = scores_.get() + row * kStride;
      for (int i = 0; i < count_; i += 3) {
        for (int k = i; k < std::min(i + 3, count_); k++)
          for (int line = first_line; line < end_line; line++)
            _mm_prefetch(reinterpret_cast<const char*>(next_[k]) + line * 64, _MM_HINT_T1);
        switch (std::min(4, num_rows_ - row)) {
          case 4: score<4, 3>(query, rows_ + i, step_.width, scores + i, kStride); break;
          case 3: score<3, 3>(query, rows_ + i, step_.width, scores + i, kStride); break;
          case 2: score<2, 3>(query, rows_ + i, step_.width, scores + i, kStride); break;
          default: score<1, 3>(query, rows_ + i, step_.width, scores + i, kStride);
        }
      }
    }
  }

  void soften_all(const Block& block, int first, Sums& sums) {
    const int whole = (count_ + 7) / 8 * 8;
    for (int row = 0; row < num_rows_; row++) {
      float* scores = scores_.get() + row * kStride;
      const int visible = block.first_position + row / step_.heads + 1 - first;
      for (int i = std::max(0, std::min(visible, count_)); i < whole; i++) scores[i] = kMasked;
      soften(scores, whole, sums.largest[row], sums.total[row], sums.output + int64_t(row) * step_.rank,
             step_.rank);
    }
  }

  void add_all(float* output) {
    int column = 0;
    for (; column + 2 * kPair <= step_.rank; column += 2 * kPair) add_columns<2>(output, column);
    if (column < step_.rank) add_columns<1>(output, column);
  }

  template <int P>
  void add_columns(float* output, int column) {
    copy_columns<P>(rows_, count_, column, columns_);
    for (int row = 0; row < num_rows_;) {
      const int left = num_rows_ - row;
      const float* weights = scores_.get() + row * kStride;
      float* target = output + int64_t(row) * step_.rank + column;
      if (left == 1) {
        add_values<1, P>(weights, kStride, columns_, count_, target, step_.rank);
        row += 1;
      } else if (left == 2 || left == 4) {  // 2 + 2 rather than 3 + 1
        add_values<2, P>(weights, kStride, columns_, count_, target, step_.rank);
        row += 2;
      } else {
        add_values<3, P>(weights, kStride, columns_, count_, target, step_.rank);
        row += 3;
      }
    }
  }

  const Step& step_;
  Floats queries_, scores_;
  const Cell *rows_[kMaxTile + 2] = {}, *next_[kMaxTile] = {};
  int num_rows_ = 0, count_ = 0;
  alignas(64) float columns_[kMaxTile * 2 * kPair];
};

// Bring the parts of one row to their common largest score and sum them into the first.
void merge_row(float* memory, int64_t part_size, const Merge& merge, int row, int num_rows, int rank) {
  std::vector<Sums> parts;
  float largest = kMasked;
  for (int p = 0; p < merge.num_parts; p++) {
    parts.push_back(Sums(memory + (merge.scratch + p) * part_size, num_rows, rank));
    largest = std::max(largest, parts[p].largest[row]);
  }
  float* into = parts[0].output + int64_t(row) * rank;
  float total = 0;
  for (int p = 0; p < merge.num_parts; p++) {
    const float weight = std::exp(parts[p].largest[row] - largest);
    const float* from = parts[p].output + int64_t(row) * rank;
    total += weight * parts[p].total[row];
    for (int k = 0; k < rank; k++) into[k] = (p ? into[k] : 0.0f) + weight * from[k];
  }
  parts[0].total[row] = total;
}

template <class Cell>
bool attend(const Step& step, const Plan& plan, float* out, int num_threads) {
  int most_rows = 0;
  for (const Block& block : plan.blocks) most_rows = std::max(most_rows, block.num_tokens * step.heads);
  const int64_t part_size = Sums::size(most_rows, step.rank) / 16 * 16;
  const Floats scratch(plan.num_scratch * part_size);
  std::atomic<bool> is_right{true};
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  {
    Worker<Cell> worker(step, most_rows);
    const Floats own(part_size);
#pragma omp for schedule(dynamic, 1) nowait
    for (int p = 0; p < int(plan.parts.size()); p++) {
      const Part& part = plan.parts[p];
      const Block& block = plan.blocks[part.block];
      const int num_rows = block.num_tokens * step.heads;
      float* memory = part.scratch < 0 ? own.get() : scratch.get() + part.scratch * part_size;
      const Sums sums(memory, num_rows, step.rank);
      sums.clear(num_rows);
      if (!worker.run(block, part, sums)) is_right = false;
      if (part.scratch < 0) worker.finish(sums, num_rows, out + block.query_row * step.rank);
    }
    if (!plan.merges.empty()) {
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
      for (int m = 0; m < int(plan.merges.size()) * most_rows; m++) {
        const Merge& merge = plan.merges[m / most_rows];
        const Block& block = plan.blocks[merge.block];
        const int num_rows = block.num_tokens * step.heads, row = m % most_rows;
        if (row >= num_rows) continue;
        merge_row(scratch.get(), part_size, merge, row, num_rows, step.rank);
        Sums sums = Sums(scratch.get() + merge.scratch * part_size, num_rows, step.rank);
        sums.total += row;
        sums.output += int64_t(row) * step.rank;
        worker.finish(sums, 1, out + (block.query_row + row) * step.rank);
      }
    }
  }
  return is_right;
}

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
  Step step{query, cache, num_slots, {slots, is_int64 != 0}, slots_stride, heads, width, rank, 0, scaling};
  step.tile = std::min(kMaxTile, std::max(8, kTileBytes / (width * (is_bf16 ? 2 : 4)) / 8 * 8));
  const Plan plan = make_plan(step, requests, seq_lens, query_lens, batch, num_threads);
  const bool is_right = is_bf16 ? attend<uint16_t>(step, plan, out, num_threads)
                                : attend<float>(step, plan, out, num_threads);
  return is_right ? 0 : 1;
}
