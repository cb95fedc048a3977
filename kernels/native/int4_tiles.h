// Products of INT4 rows with many activation rows: the prefill form, bound by arithmetic.
//
// A tile of rows is unpacked once, a lane for each row and in every lane a pair of 16-bit codes
// (it stays in L1), and multiplied with pairs of 16-bit activations, each broadcast to all lanes:
// twice the products an instruction of float32, and the decode form's exact sums of groups.
#pragma once
#include <algorithm>

#include "int4_rows.h"

namespace kimi {

constexpr int kTileRows = 2 * kLanes;
constexpr int kTileChunks = 4;  // 16 rows x 256 inputs are 8 KB, 32 rows 16 KB
constexpr int kTileGroups = 2 * kTileChunks;
constexpr int kPairs = kGroup / 2;
constexpr int kTokens = 6;  // activation rows of one pass: 12 accumulators

struct Tile {
  alignas(64) int32_t pairs[kTileGroups][kPairs][kTileRows];
  alignas(64) float scales[kTileGroups][kTileRows];

  // Unpack `groups` groups from `first` of kTileRows rows.
  void fill(const Int4Rows& rows, int first, int groups) {
    const int row_bytes = rows.inputs / 2, start = first * 16;
    // What the next call reads: further groups, or the next rows' first ones.
    const int ahead = start + kTileGroups * 16 < row_bytes ? kTileGroups * 16 : kTileRows * row_bytes - start;
    for (int block = 0; block < kTileRows; block += 8) {
      const uint8_t *codes[8], *scale[8];
      for (int r = 0; r < 8; r++) {
        const Int4Rows row = rows.from(block + r);
        codes[r] = row.codes + start, scale[r] = row.scales + first * 2;
        _mm_prefetch(reinterpret_cast<const char*>(scale[r] + 64), _MM_HINT_T0);
        for (int line = 0; line < groups * 16; line += 64)
          _mm_prefetch(reinterpret_cast<const char*>(codes[r] + ahead + line), _MM_HINT_T0);
      }
      for (int g = 0; g < groups; g++) unpack(codes, g * 16, &pairs[g][0][block]);
      for (int g = 0; g < groups; g++)
        for (int r = 0; r < 8; r++) {
          uint16_t bits;
          std::memcpy(&bits, scale[r] + g * 2, 2);
          scales[g][block + r] = from_bf16(bits);
        }
    }
  }

 private:
  // Four words of each of eight rows; pair 4j + m of the group is codes (j, j + 4) of word m.
  static void unpack(const uint8_t* const* rows, int at, int32_t* out) {
    __m256i two[4], half[4], word[4];
    for (int r = 0; r < 4; r++)
      two[r] = _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(rows[r + 4] + at),
                                   reinterpret_cast<const __m128i*>(rows[r] + at));
    half[0] = _mm256_unpacklo_epi32(two[0], two[1]), half[1] = _mm256_unpackhi_epi32(two[0], two[1]);
    half[2] = _mm256_unpacklo_epi32(two[2], two[3]), half[3] = _mm256_unpackhi_epi32(two[2], two[3]);
    word[0] = _mm256_unpacklo_epi64(half[0], half[2]), word[1] = _mm256_unpackhi_epi64(half[0], half[2]);
    word[2] = _mm256_unpacklo_epi64(half[1], half[3]), word[3] = _mm256_unpackhi_epi64(half[1], half[3]);
    const __m256i mask = _mm256_set1_epi16(15);
    for (int m = 0; m < 4; m++)
      for (int j = 0; j < 4; j++)
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + (4 * j + m) * kTileRows),
                           _mm256_and_si256(_mm256_srli_epi16(word[m], 4 * j), mask));
  }
};

// out[t][r] += tile row r times `T` activation rows x[t], which start at the tile's first group.
template <int T>
inline void add_tile(const Tile& tile, int groups, const int32_t* const* x, float* out, int stride) {
  Lanes total[T][2];
  for (int t = 0; t < T; t++)
    for (int v = 0; v < 2; v++) total[t][v] = load_lanes(out + size_t(t) * stride + v * kLanes);
  for (int g = 0; g < groups; g++) {
    const size_t at = size_t(g / 2) * kChunkWords + g % 2 * 4;
    Words dot[T][2];
    for (int t = 0; t < T; t++) dot[t][0] = dot[t][1] = all_words(x[t][at + kCorrections]);
#pragma GCC unroll 16
    for (int k = 0; k < kPairs; k++) {
      const Words low = load_words(tile.pairs[g][k]), high = load_words(tile.pairs[g][k] + kLanes);
      for (int t = 0; t < T; t++) {
        const Words value = all_words(x[t][at + k / 4 * 8 + k % 4]);
        dot[t][0] = add_dot(dot[t][0], low, value);
        dot[t][1] = add_dot(dot[t][1], high, value);
      }
    }
    for (int t = 0; t < T; t++) {
      float scale;
      std::memcpy(&scale, x[t] + at + kScales, 4);
      for (int v = 0; v < 2; v++) {
        const Lanes scales = multiply(load_lanes(tile.scales[g] + v * kLanes), all_lanes(scale));
        total[t][v] = multiply_add(to_lanes(dot[t][v]), scales, total[t][v]);
      }
    }
  }
  for (int t = 0; t < T; t++)
    for (int v = 0; v < 2; v++) store_lanes(out + size_t(t) * stride + v * kLanes, total[t][v]);
}

// out[t * num_rows + r] = row r times activation row xs[t]; num_rows a multiple of kTileRows.
inline void multiply_many(const Int4Rows& rows, int num_rows, const QuantisedRows& x, const int* xs,
                          int num_x, float* out) {
  Tile tile;
  std::fill_n(out, size_t(num_x) * num_rows, 0.0f);
  const int all_groups = rows.inputs / kGroup;
  for (int start = 0; start < num_rows; start += kTileRows) {
    for (int first = 0; first < all_groups; first += kTileGroups) {
      const int groups = std::min(kTileGroups, all_groups - first);
      tile.fill(rows.from(start), first, groups);
      for (int t = 0; t < num_x; t += kTokens) {
        const int32_t* values[kTokens];
        const int num = std::min(kTokens, num_x - t);
        for (int i = 0; i < num; i++)
          values[i] = x.row(xs[t + i]) + size_t(first / 2) * kChunkWords;
        float* target = out + size_t(t) * num_rows + start;
        switch (num) {
          case 6: add_tile<6>(tile, groups, values, target, num_rows); break;
          case 5: add_tile<5>(tile, groups, values, target, num_rows); break;
          case 4: add_tile<4>(tile, groups, values, target, num_rows); break;
          case 3: add_tile<3>(tile, groups, values, target, num_rows); break;
          case 2: add_tile<2>(tile, groups, values, target, num_rows); break;
          default: add_tile<1>(tile, groups, values, target, num_rows);
        }
      }
    }
  }
}

}  // namespace kimi
