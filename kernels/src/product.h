// Matrix products: both operands are packed into panels, and tiles of the result are kept in registers.
//
// Source: Van Zee and van de Geijn, BLIS, ACM TOMS 41(3), 2015.
#pragma once

#include <utility>

#include "sharing.h"

namespace {

constexpr int64_t kDepth = 256;                                          // of a panel: 32 KB of B stay in the cache
constexpr int64_t kBlock = ceiling(240, kRows) * kRows;                  // rows of A that are packed at a time

// How a depth is cut into equal parts of at most kDepth.
inline int64_t depth_of(int64_t k) { return most(1, ceiling(k, ceiling(most(k, 1), kDepth))); }

inline int64_t packed_columns(int64_t n) { return ceiling(n, kColumns) * kColumns; }

// One tile: c (rows, kColumns) = or += a b, with b (depth, kColumns); element (i, p) of a lies at a[i * down + p * right],
// and row p of b at b + p * ldb.
template <int rows>
inline __attribute__((always_inline)) void tile(int64_t depth, const float *a, int64_t down, int64_t right,
                                                const float *b, int64_t ldb, float *c, int64_t ldc, bool add) {
  for (int i = 0; i < rows; ++i)  // the result is there when the sums are
    for (int v = 0; v < kColumns; v += 16) __builtin_prefetch(c + i * ldc + v, 1);
  Vector sums[rows][kVectors] = {};
  for (int64_t p = 0; p < depth; ++p) {
    Vector column[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) column[v] = load(b + p * ldb + v * kWidth);
#pragma GCC unroll 14
    for (int i = 0; i < rows; ++i) {
      const Vector row = a[i * down + p * right] - Vector{};
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] += row * column[v];
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float *to = c + i * ldc + v * kWidth;
      store(to, add ? load(to) + sums[i][v] : sums[i][v]);
    }
  }
}

// Tiles by their number of rows. How far what is not packed lies apart: rows of a for tiles of rows, columns of it for tiles of
// columns, by `apart`.
using Tile = void (*)(int64_t depth, const float *a, int64_t apart, const float *b, int64_t ldb, float *c, int64_t ldc,
                      bool add);

template <int rows>
void packed_tile(int64_t depth, const float *a, int64_t, const float *b, int64_t, float *c, int64_t ldc, bool add) {
  tile<rows>(depth, a, 1, kRows, b, kColumns, c, ldc, add);
}

// Of rows as they lie in memory: what packing would cost is saved.
template <int rows>
void tile_of_rows(int64_t depth, const float *a, int64_t apart, const float *b, int64_t, float *c, int64_t ldc, bool add) {
  tile<rows>(depth, a, apart, 1, b, kColumns, c, ldc, add);
}

// Of columns of a, and rows of b, as they lie in memory.
template <int rows>
void tile_of_columns(int64_t depth, const float *a, int64_t apart, const float *b, int64_t ldb, float *c, int64_t ldc,
                     bool add) {
  tile<rows>(depth, a, 1, apart, b, ldb, c, ldc, add);
}

struct Tiles {
  Tile packed, of_rows, of_columns;
};

template <int... rows>
constexpr auto tiles_of(std::integer_sequence<int, rows...>) {
  struct {
    Tiles by_rows[sizeof...(rows)];
  } all{{{packed_tile<rows + 1>, tile_of_rows<rows + 1>, tile_of_columns<rows + 1>}...}};
  return all;
}

// Those with so many rows.
inline const Tiles &tiles(int64_t rows) {
  static constexpr auto all = tiles_of(std::make_integer_sequence<int, kRows>{});
  return all.by_rows[rows - 1];
}

// A tile of which c takes some columns alone.
void part_of_tile(Tile made, int64_t depth, const float *a, int64_t apart, const float *b, float *c, int64_t ldc, bool add,
                  int64_t rows, int64_t columns) {
  float whole[kRows * kColumns] __attribute__((aligned(64)));
  made(depth, a, apart, b, kColumns, whole, kColumns, false);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      c[i * ldc + j] = add ? c[i * ldc + j] + whole[i * kColumns + j] : whole[i * kColumns + j];
}

// Panels of kRows rows: to[p][i]. Element (i, p) of a lies at a[i * down + p * right]; one of both is 1.
void pack_rows(int64_t rows, int64_t depth, const float *a, int64_t down, int64_t right, float *to) {
  for (int64_t first = 0; first < rows; first += kRows, to += depth * kRows) {
    const int64_t count = least(kRows, rows - first);
    const float *from = a + first * down;
    if (count < kRows) memset(to, 0, sizeof(float) * depth * kRows);
    if (down == 1 && count == kRows) {
      for (int64_t p = 0; p < depth; ++p) store_some(to + p * kRows, load_some(from + p * right, kRows), kRows);
    } else if (down == 1) {
      for (int64_t p = 0; p < depth; ++p) store_some(to + p * kRows, load_some(from + p * right, count), count);
    } else {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t p = 0; p < depth; ++p) to[p * kRows + i] = from[i * down + p * right];
    }
  }
}

// Panels of kColumns columns: to[p][j]. Element (p, j) of b lies at b[p * down + j * right]; one of both is 1.
void pack_columns(int64_t depth, int64_t columns, const float *b, int64_t down, int64_t right, float *to) {
  const int64_t whole = right == 1 ? columns / kColumns * kColumns : 0;
  for (int64_t p = 0; p < depth; ++p)  // a row after another, as they lie in memory
    for (int64_t j = 0; j < whole; j += kWidth)
      store(to + j / kColumns * kColumns * depth + p * kColumns + j % kColumns, load(b + p * down + j));
  for (int64_t first = whole; first < columns; first += kColumns) {
    const int64_t count = least(kColumns, columns - first);
    const float *from = b + first * right;
    float *panel = to + first * depth;
    if (count < kColumns) memset(panel, 0, sizeof(float) * depth * kColumns);
    if (right == 1) {
      for (int64_t p = 0; p < depth; ++p) memcpy(panel + p * kColumns, from + p * down, sizeof(float) * count);
    } else {
      for (int64_t j = 0; j < count; ++j)
        for (int64_t p = 0; p < depth; ++p) panel[p * kColumns + j] = from[p * down + j * right];
    }
  }
}

// All of b (k, n), one part of the depth after another.
void pack_whole(int64_t k, int64_t n, const float *b, int64_t down, int64_t right, float *to) {
  const int64_t part = depth_of(k);
  for (int64_t p = 0; p < k; p += part)
    pack_columns(least(part, k - p), n, b + p * down, down, right, to + p * packed_columns(n));
}

// The same, shared out among the threads.
void pack_shared(int64_t k, int64_t n, const float *b, int64_t down, int64_t right, float *to) {
  const int64_t part = depth_of(k);
  auto pack = [&](int64_t item, int) {
    const int64_t p = item * part;
    pack_columns(least(part, k - p), n, b + p * down, down, right, to + p * packed_columns(n));
  };
  each(ceiling(k, part), ception::threads(), pack);
}

// Adds up what all shares but the first have made.
void add_shares(int64_t count, int64_t shares, const float *others, float *sums) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t item = 1; item < shares; ++item) sums[i] += others[(item - 1) * count + i];
}

// Floats that `multiply` needs for a's panels.
constexpr int64_t kPacked = kBlock * kDepth;

// c (m, n) = or += a b, with b as `pack_whole` left it. Element (i, p) of a lies at a[i * down + p * right].
void multiply(int64_t m, int64_t n, int64_t k, const float *a, int64_t down, int64_t right, const float *packed_b,
              float *c, int64_t ldc, bool add, float *packed_a) {
  const int64_t part = depth_of(k);
  const bool direct = right == 1 && down % 512 != 0;  // rows that are so apart would drive each other out of the cache
  for (int64_t p = 0; p < k; p += part) {
    const int64_t depth = least(part, k - p);
    const float *panels = packed_b + p * packed_columns(n);
    for (int64_t block = 0; block < m; block += kBlock) {
      const int64_t rows = least(kBlock, m - block);
      const float *from = a + block * down + p * right;
      if (!direct) pack_rows(rows, depth, from, down, right, packed_a);
      for (int64_t j = 0; j < n; j += kColumns)
        for (int64_t i = 0; i < rows; i += kRows) {
          const int64_t high = least(kRows, rows - i);
          const Tile made = direct ? tiles(high).of_rows : tiles(high).packed;
          const float *of_a = direct ? from + i * down : packed_a + i * depth, *of_b = panels + j * depth;
          float *to = c + (block + i) * ldc + j;
          if (n - j < kColumns)
            part_of_tile(made, depth, of_a, down, of_b, to, ldc, add || p > 0, high, n - j);
          else
            made(depth, of_a, down, of_b, kColumns, to, ldc, add || p > 0);
        }
    }
  }
  if (k == 0 && !add)
    for (int64_t i = 0; i < m; ++i) memset(c + i * ldc, 0, sizeof(float) * n);
}

// c (m, n) += a b, of a (k, m) turned and b (k, n), both as they lie in memory; n takes whole tiles.
void add_turned(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb, float *c) {
  for (int64_t j = 0; j < n; j += kColumns)
    for (int64_t i = 0; i < m; i += kRows)
      tiles(least(kRows, m - i)).of_columns(k, a + i, lda, b + j, ldb, c + i * n + j, n, true);
}

// The product where the depth is far longer than the result is wide, as for the gradient of a kernel: each thread adds up
// the result of its share of the depth, a part after another, of which all stays in the cache.
int32_t product_of_shares(int64_t m, int64_t n, int64_t k, const float *a, int64_t down, int64_t right, const float *b,
                          int64_t down_b, int64_t right_b, float *c) {
  const int64_t part = depth_of(k), parts = ceiling(k, part), shares = least(parts, ception::threads());
  const int64_t panels = part * packed_columns(n);
  const ception::Scratch columns(shares * panels), rows(shares * kPacked), results((shares - 1) * m * n);
  if (!columns.data() || !rows.data() || !results.data()) return 1;
  auto share = [&](int64_t item, int) {
    float *to = item ? results.data() + (item - 1) * m * n : c, *packed = columns.data() + item * panels;
    const int64_t first = parts * item / shares * part, last = least(k, parts * (item + 1) / shares * part);
    for (int64_t p = first; p < last; p += part) {
      const int64_t depth = least(part, last - p);
      pack_columns(depth, n, b + p * down_b, down_b, right_b, packed);
      multiply(m, n, depth, a + p * right, down, right, packed, to, n, p > first, rows.data() + item * kPacked);
    }
  };
  each(shares, ception::threads(), share);
  add_shares(m * n, shares, results.data(), c);
  return 0;
}

int32_t product(int64_t m, int64_t n, int64_t k, const float *a, int32_t transposed_a, const float *b,
                int32_t transposed_b, float *c) {
  const int size = ception::threads();
  const int64_t down = transposed_a ? 1 : k, right = transposed_a ? m : 1;
  const int64_t down_b = transposed_b ? 1 : n, right_b = transposed_b ? k : 1;
  if (transposed_a && k >= 2 * kDepth) return product_of_shares(m, n, k, a, down, right, b, down_b, right_b, c);
  const ception::Scratch columns(k * packed_columns(n)), rows(size * kPacked);
  if (!columns.data() || !rows.data()) return 1;
  pack_shared(k, n, b, down_b, right_b, columns.data());
  const int64_t tiles = ceiling(m, kRows), blocks = least(tiles, most(size, ceiling(m, kBlock)));
  auto block = [&](int64_t item, int worker) {
    const int64_t first = tiles * item / blocks * kRows, last = least(m, tiles * (item + 1) / blocks * kRows);
    multiply(last - first, n, k, a + first * down, down, right, columns.data(), c + first * n, n, false,
             rows.data() + worker * kPacked);
  };
  each(blocks, size, block);
  return 0;
}

}  // namespace
