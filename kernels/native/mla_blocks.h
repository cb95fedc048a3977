// Attention of blocks of query rows over rows of keys and values, the work cut evenly over threads.
//
// A block is some rows of queries that see the same keys (the latest tokens see more of them). Its
// keys are cut into parts of about one size for all blocks; a block of several parts is merged at
// the end. Sums stay in L2; the next tile of keys is fetched while this one is computed.
#pragma once
#include <omp.h>

#include <atomic>
#include <vector>

#include "mla_tiles.h"

namespace kimi {

constexpr int kTileBytes = 160 * 1024;  // of keys, in L2 beside the block's queries and sums
constexpr int kMaxTile = 64;
constexpr int kStride = kMaxTile + 8;  // of scores: a block of them may go beyond a tile
constexpr int kPartsPerThread = 2;

// Sizes of one step: floats of a query, floats of an output row, keys of a tile.
struct Shape {
  int width, rank, tile;
  float scaling;

  Shape(int width, int rank, int cell_bytes, float scaling)
      : width(width), rank(rank), scaling(scaling) {
    tile = std::min(kMaxTile, std::max(8, kTileBytes / (width * cell_bytes) / 8 * 8));
  }
};

// Rows r of a block: query and output at r times their stride, the token first_position + r /
// rows_per_token of its sequence. `keys` is the source's own name for the block's keys.
struct Block {
  const float* query;
  float* out;
  int64_t query_stride, out_stride, keys;
  int first_position, num_rows, rows_per_token;

  int visible() const { return first_position + (num_rows - 1) / rows_per_token + 1; }
};

// Keys begin..end-1 of one block; `scratch` is its place among parts to merge, or -1.
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

  void cut(int tile, int num_threads) {
    int64_t size = 0;
    for (const Block& block : blocks) size += block.visible();
    if (num_threads > 1) size = std::max<int64_t>(size / (num_threads * kPartsPerThread), 2 * tile);
    for (int b = 0; b < int(blocks.size()); b++) {
      const int visible = blocks[b].visible(), tiles = (visible + tile - 1) / tile;
      const int num_parts = int(std::max<int64_t>(1, (visible + size / 2) / size));
      const int share = (tiles + num_parts - 1) / num_parts * tile;
      const int64_t scratch = num_scratch;
      for (int begin = 0; begin < visible; begin += share)
        parts.push_back({b, begin, std::min(visible, begin + share), num_parts > 1 ? num_scratch++ : -1});
      if (num_parts > 1) merges.push_back({b, int(num_scratch - scratch), scratch});
    }
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Part& a, const Part& b) { return a.end - a.begin > b.end - b.begin; });
  }
};

// What one part of a block has summed: of every row the largest score, the weights' total, the sum.
struct Sums {
  float *output, *largest, *total;

  static int64_t size(int num_rows, int rank) { return (int64_t(num_rows) * (rank + 2) + 15) / 16 * 16; }
  Sums(float* memory, int num_rows, int rank)
      : output(memory), largest(memory + int64_t(num_rows) * rank), total(largest + num_rows) {}

  void clear(int num_rows) const {
    std::fill(output, largest, 0.0f);
    std::fill_n(largest, num_rows, kMasked);
    std::fill_n(total, num_rows, 0.0f);
  }
};

// Computes parts. Source: Cell, the type of keys and values, and `find(keys, first, count, keys**,
// values**)`, which names `count` rows of both and returns whether all of them exist.
template <class Source>
class Worker {
 public:
  using Cell = typename Source::Cell;

  Worker(const Shape& shape, const Source& source, int most_rows)
      : shape_(shape),
        source_(source), queries_(int64_t(most_rows) * shape.width), scores_(int64_t(most_rows) * kStride) {}

  // Fold the part's cache rows into `sums`; returns whether all of them exist.
  bool run(const Block& block, const Part& part, Sums sums) {
    num_rows_ = block.num_rows;
    order_queries(block);
    bool is_right = find_next(block, part, part.begin);
    for (int first = part.begin; first < part.end; first += shape_.tile) {
      count_ = std::min(shape_.tile, part.end - first);
      std::copy_n(next_keys_, count_, keys_);
      std::copy_n(next_values_, count_, values_);
      for (int i = count_; i < count_ + kKeys - 1; i++) keys_[i] = keys_[count_ - 1];
      is_right &= find_next(block, part, first + shape_.tile);
      score_all();
      soften_all(block, first, sums);
      add_all(sums.output);
    }
    return is_right;
  }

  // Write rows first..first+count-1 of the block: sums divided by totals.
  void finish(const Block& block, const Sums& sums, int first, int count) const {
    for (int row = first; row < first + count; row++) {
      const Lanes factor = all_lanes(1.0f / sums.total[row]);
      const float* source = sums.output + int64_t(row) * shape_.rank;
      float* out = block.out + row * block.out_stride;
      for (int k = 0; k < shape_.rank; k += kLanes) store_lanes(out + k, multiply(load_lanes(source + k), factor));
    }
  }

 private:
  static const Cell* cell() { return nullptr; }

  void order_queries(const Block& block) {
    for (int row = 0; row < num_rows_; row++) {
      const float* source = block.query + row * block.query_stride;
      float* target = queries_.get() + int64_t(row) * shape_.width;
      for (int k = 0; k < shape_.width; k += kPair)
        for (int i = 0; i < kPair; i++) target[k + place(cell(), i)] = shape_.scaling * source[k + i];
    }
  }

  // The tile that begins at key `first`, none of it where the part ends before.
  bool find_next(const Block& block, const Part& part, int first) {
    const int count = std::max(0, std::min(shape_.tile, part.end - first));
    std::fill_n(next_keys_, kMaxTile, keys_[0]);  // fetching it again does no harm
    std::fill_n(next_values_, kMaxTile, keys_[0]);
    return source_.find(block.keys, first, count, next_keys_, next_values_);
  }

  // Group by group of queries; each group fetches its share of the next tile's cache lines.
  void score_all() {
    const int groups = (num_rows_ + kQueries - 1) / kQueries;
    for (int group = 0; group < groups; group++) {
      const int row = group * kQueries;
      const float* query = queries_.get() + int64_t(row) * shape_.width;
      float* scores = scores_.get() + row * kStride;
      const int keys_begin = shape_.width * group / groups, keys_end = shape_.width * (group + 1) / groups;
      const int values_begin = shape_.rank * group / groups, values_end = shape_.rank * (group + 1) / groups;
      for (int i = 0; i < count_; i += kKeys) {
        for (int k = i; k < std::min(i + kKeys, count_); k++) {
          fetch(next_keys_[k], keys_begin, keys_end);
          if (next_values_[k] != next_keys_[k]) fetch(next_values_[k], values_begin, values_end);
        }
        score_block(std::min(kQueries, num_rows_ - row), query, keys_ + i, scores + i);
      }
    }
  }

  void score_block(int queries, const float* query, const Cell* const* keys, float* scores) const {
    switch (queries) {
#ifdef __AVX512F__
      case 6: return score<6>(query, keys, shape_.width, scores, kStride);
      case 5: return score<5>(query, keys, shape_.width, scores, kStride);
#endif
      case 4: return score<4>(query, keys, shape_.width, scores, kStride);
      case 3: return score<3>(query, keys, shape_.width, scores, kStride);
      case 2: return score<2>(query, keys, shape_.width, scores, kStride);
      default: return score<1>(query, keys, shape_.width, scores, kStride);
    }
  }

  static void fetch(const Cell* row, int begin, int end) {
    for (; begin < end; begin += 64 / int(sizeof(Cell)))
      _mm_prefetch(reinterpret_cast<const char*>(row + begin), _MM_HINT_T1);
  }

  void soften_all(const Block& block, int first, Sums& sums) {
    const int whole = (count_ + 7) / 8 * 8;
    for (int row = 0; row < num_rows_; row++) {
      float* scores = scores_.get() + row * kStride;
      const int visible = block.first_position + row / block.rows_per_token + 1 - first;
      for (int i = std::max(0, std::min(visible, count_)); i < whole; i++) scores[i] = kMasked;
      soften(scores, whole, sums.largest[row], sums.total[row], sums.output + int64_t(row) * shape_.rank,
             shape_.rank);
    }
  }

  void add_all(float* output) {
    int column = 0;
    for (; column + 2 * kPair <= shape_.rank; column += 2 * kPair) add_columns<2>(output, column);
    if (column < shape_.rank) add_columns<1>(output, column);
  }

  template <int P>
  void add_columns(float* output, int column) {
    copy_columns<P>(values_, count_, column, columns_);
    for (int row = 0; row < num_rows_;) {
      const int left = num_rows_ - row;
      const int count = left == 4 && kSumQueries == 3 ? 2 : std::min(left, kSumQueries);  // not 3 + 1
      const float* weights = scores_.get() + row * kStride;
      float* target = output + int64_t(row) * shape_.rank + column;
      switch (count) {
#ifdef __AVX512F__
        case 4: add_values<4, P>(weights, kStride, columns_, count_, target, shape_.rank); break;
#endif
        case 3: add_values<3, P>(weights, kStride, columns_, count_, target, shape_.rank); break;
        case 2: add_values<2, P>(weights, kStride, columns_, count_, target, shape_.rank); break;
        default: add_values<1, P>(weights, kStride, columns_, count_, target, shape_.rank);
      }
      row += count;
    }
  }

  const Shape& shape_;
  const Source& source_;
  Floats queries_, scores_;
  const Cell *keys_[kMaxTile + kKeys] = {}, *values_[kMaxTile] = {};
  const Cell *next_keys_[kMaxTile] = {}, *next_values_[kMaxTile] = {};
  int num_rows_ = 0, count_ = 0;
  alignas(64) float columns_[kMaxTile * 2 * kPair];
};

// Bring the parts of one row to their common largest score and sum them into the first.
inline void merge_row(float* memory, int64_t part_size, const Merge& merge, int row, int num_rows, int rank) {
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

// Compute all blocks of a plan that has been cut; returns whether all keys exist.
template <class Source>
bool attend(const Shape& shape, const Source& source, const Plan& plan, int num_threads) {
  int most_rows = 0;
  for (const Block& block : plan.blocks) most_rows = std::max(most_rows, block.num_rows);
  const int64_t part_size = Sums::size(most_rows, shape.rank);
  const Floats scratch(plan.num_scratch * part_size);
  std::atomic<bool> is_right{true};
#pragma omp parallel num_threads(num_threads) if (num_threads > 1)
  {
    Worker<Source> worker(shape, source, most_rows);
    const Floats own(part_size);
#pragma omp for schedule(dynamic, 1) nowait
    for (int p = 0; p < int(plan.parts.size()); p++) {
      const Part& part = plan.parts[p];
      const Block& block = plan.blocks[part.block];
      float* memory = part.scratch < 0 ? own.get() : scratch.get() + part.scratch * part_size;
      const Sums sums(memory, block.num_rows, shape.rank);
      sums.clear(block.num_rows);
      if (!worker.run(block, part, sums)) is_right = false;
      if (part.scratch < 0) worker.finish(block, sums, 0, block.num_rows);
    }
    if (!plan.merges.empty()) {
#pragma omp barrier
#pragma omp for schedule(static)
      for (int m = 0; m < int(plan.merges.size()) * most_rows; m++) {
        const Merge& merge = plan.merges[m / most_rows];
        const Block& block = plan.blocks[merge.block];
        const int row = m % most_rows;
        if (row >= block.num_rows) continue;
        merge_row(scratch.get(), part_size, merge, row, block.num_rows, shape.rank);
        worker.finish(block, Sums(scratch.get() + merge.scratch * part_size, block.num_rows, shape.rank), row, 1);
      }
    }
  }
  return is_right;
}

}  // namespace kimi
