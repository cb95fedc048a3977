// Products of INT4 rows with many activation rows: the prefill form, bound by arithmetic.
//
// A tile of rows is transposed once, a lane for each row and in every lane a word of eight codes
// (it stays in L1), and multiplied with pairs of 16-bit activations, each broadcast to all lanes:
// twice the products an instruction of float32, and the decode form's exact sums of groups. Each
// pass takes the codes out of the words again: that is cheaper than to store and load them, four
// times the bytes.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "int4_rows.h"

namespace kimi {

constexpr int kTileRows = 2 * kLanes;
constexpr int kTileGroups = 8;  // their scales are 16 bytes of a row, as the codes of a group
constexpr int kGroupWords = 4;
constexpr int kPairs = kGroup / 2;
constexpr int kTokens = 6;  // activation rows of one pass: 12 accumulators; more are no faster

struct Tile {
  alignas(64) int32_t codes[kTileGroups][kGroupWords][kTileRows];
  alignas(64) int32_t scales[kTileGroups / 2][kTileRows];  // of two groups, bf16

  // Transpose `groups` groups from `first` of kTileRows rows.
  void fill(const Int4Rows& rows, int first, int groups) {
    const size_t code_bytes = rows.inputs / 2, scale_bytes = rows.inputs / kGroup * 2;
    const size_t start = size_t(first) * 16;
    for (int block = 0; block < kTileRows; block += kLanes) {
      const uint8_t* source = rows.codes + block * code_bytes + start;
      for (int g = 0; g < groups; g++) transpose(source + g * 16, code_bytes, &codes[g][0][block]);
      source = rows.scales + block * scale_bytes + first * 2;
      if (groups == kTileGroups) {
        transpose(source, scale_bytes, &scales[0][block]);
      } else {  // 16 bytes of the last row might end outside
        uint8_t copy[kLanes][16] = {};
        for (int r = 0; r < kLanes; r++) std::memcpy(copy[r], source + r * scale_bytes, groups * 2);
        transpose(copy[0], 16, &scales[0][block]);
      }
    }
  }

  // The scales of a group, for one half of the rows.
  Lanes scale(int group, int half) const {
    const Words pair = load_words(scales[group / 2] + half * kLanes);
    return group % 2 ? high_halves(pair) : low_halves(pair);
  }

 private:
  static void transpose(const uint8_t* row, size_t stride, int32_t* out) {
    Words words[4];
    transpose_words(row, stride, words);
    for (int m = 0; m < 4; m++) store_words(out + m * kTileRows, words[m]);
  }
};

// Activation rows in the order in which tiles meet them, so that they are one stream: for every
// kTileGroups groups and every pass of T rows, the groups as 4 times T times 4 words, then T
// corrections, then T scales.
class PackedRows {
 public:
  void pack(const QuantisedRows& x, const int* xs, int num_x, int inputs) {
    num_rows_ = num_x, groups_ = inputs / kGroup;
    words_.resize(size_t(num_x) * groups_ * kRowWords);
    int32_t* out = words_.data();
    for (int first = 0; first < groups_; first += kTileGroups)
      for (int pass = 0; pass < passes(); pass++)
        for (int g = first; g < std::min(first + kTileGroups, groups_); g++)
          out = pack_group(x, xs + first_of(pass), first_of(pass + 1) - first_of(pass), g, out);
  }

  int num_rows() const { return num_rows_; }
  int groups() const { return groups_; }
  int passes() const { return (num_rows_ + kTokens - 1) / kTokens; }
  // Passes are as equal as can be.
  int first_of(int pass) const { return int(int64_t(num_rows_) * pass / passes()); }
  // The rows of a pass at a tile's groups.
  const int32_t* at(int first, int groups, int pass) const {
    return words_.data() + (size_t(first) * num_rows_ + size_t(groups) * first_of(pass)) * kRowWords;
  }

  static constexpr int kRowWords = kPairs + 2;  // of one row's group

 private:
  static int32_t* pack_group(const QuantisedRows& x, const int* xs, int num, int g, int32_t* out) {
    for (int t = 0; t < num; t++) {
      const int32_t* source = x.row(xs[t]) + size_t(g / 2) * kChunkWords + g % 2 * 4;
      for (int j = 0; j < 4; j++) std::memcpy(out + (j * num + t) * 4, source + j * 8, 16);
      out[kPairs * num + t] = source[kCorrections];
      out[(kPairs + 1) * num + t] = source[kScales];
    }
    return out + kRowWords * num;
  }

  int num_rows_, groups_;
  std::vector<int32_t> words_;
};

// dot[t][v] += the codes J and J + 4 of two vectors of words times pairs of T activation rows.
template <int T, int J>
inline void add_codes(const Words* words, const int32_t* x, Words (*dot)[2]) {
  Words code[2];
  for (int v = 0; v < 2; v++) {
    code[v] = shift_pairs<4 * J>(words[v]);
    if (J < 3) code[v] = low_four_bits(code[v]);
  }
  for (int t = 0; t < T; t++) {
    const Words value = all_words(x[(J * T + t) * 4]);
    for (int v = 0; v < 2; v++) dot[t][v] = add_dot(dot[t][v], code[v], value);
  }
}

// What is read next, fetched beside the products a group at a time: all at once it would wait for
// buffers, and the products with it. A prefetch of what is not there does nothing.
struct Ahead {
  const uint8_t *codes, *scales;

  void fetch(int group) const {
    constexpr int kBytes = kTileRows * 16;  // of a group's codes
    for (int line = 0; line < kBytes; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(codes + group * kBytes + line), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(scales + group * kBytes / 8), _MM_HINT_T0);
  }
};

// sums[t][r] += tile row r times T activation rows, packed; no `ahead` fetches nothing.
template <int T>
void add_tile(const Tile& tile, int groups, const int32_t* x, float (*sums)[kTileRows],
              const Ahead* ahead) {
  for (int g = 0; g < groups; g++, x += PackedRows::kRowWords * T) {
    if (ahead) ahead->fetch(g);
    Words dot[T][2];
    for (int t = 0; t < T; t++) dot[t][0] = dot[t][1] = all_words(x[kPairs * T + t]);
#pragma GCC unroll 4
    for (int m = 0; m < kGroupWords; m++) {
      const int32_t* source = tile.codes[g][m];
      const Words words[2] = {load_words(source), load_words(source + kLanes)};
      add_codes<T, 0>(words, x + m, dot);
      add_codes<T, 1>(words, x + m, dot);
      add_codes<T, 2>(words, x + m, dot);
      add_codes<T, 3>(words, x + m, dot);
    }
    const Lanes scales[2] = {tile.scale(g, 0), tile.scale(g, 1)};
    for (int t = 0; t < T; t++) {
      float scale;
      std::memcpy(&scale, x + (kPairs + 1) * T + t, 4);
      for (int v = 0; v < 2; v++) {
        float* target = sums[t] + v * kLanes;
        const Lanes both = multiply(scales[v], all_lanes(scale));
        store_lanes(target, multiply_add(to_lanes(dot[t][v]), both, load_lanes(target)));
      }
    }
  }
}

using AddTile = void (*)(const Tile&, int, const int32_t*, float (*)[kTileRows],
                         const Ahead*);

template <int... T>
inline AddTile add_tile_for(int tokens, std::integer_sequence<int, T...>) {
  static constexpr AddTile forms[] = {add_tile<T + 1>...};
  return forms[tokens - 1];
}

// out[t * num_rows + r] = row r times row t of x; num_rows a multiple of kTileRows.
inline void multiply_many(const Int4Rows& rows, int num_rows, const PackedRows& x, float* out) {
  Tile tile;
  const Floats memory(int64_t(x.num_rows()) * kTileRows);
  const auto sums = reinterpret_cast<float (*)[kTileRows]>(memory.get());
  for (int start = 0; start < num_rows; start += kTileRows) {
    std::fill_n(sums[0], size_t(x.num_rows()) * kTileRows, 0.0f);
    for (int first = 0; first < x.groups(); first += kTileGroups) {
      const int groups = std::min(kTileGroups, x.groups() - first);
      const Int4Rows next = rows.from(start + kTileRows);
      const Ahead ahead{next.codes + first * kTileRows * 16, next.scales + first * kTileRows * 2};
      tile.fill(rows.from(start), first, groups);
      for (int pass = 0; pass < x.passes(); pass++) {
        const int t = x.first_of(pass), num = x.first_of(pass + 1) - t;
        add_tile_for(num, std::make_integer_sequence<int, kTokens>())(
            tile, groups, x.at(first, groups, pass), sums + t, pass ? nullptr : &ahead);
      }
    }
    for (int t = 0; t < x.num_rows(); t++)
      std::memcpy(out + size_t(t) * num_rows + start, sums[t], sizeof(sums[t]));
  }
}

}  // namespace kimi
