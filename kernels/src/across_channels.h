// Convolutions across all channels, in float32, and their gradients.
//
// A convolution is a matrix product of maps that have in each place all that its window covers. They are made for some rows
// of a picture before the next ones: they stay in the cache, and are made again for the gradients instead of being kept.
#pragma once

#include "product.h"

namespace {

// Numbers that a window covers.
inline int64_t covered(const ception_windows &w) { return w.window_height * w.window_width * w.channels; }

// Goes through the windows of some rows of outputs of one picture, a line of a window after another:
// `take(place, at, skipped, count)`, where `place` is the line's first float in the maps. Its floats from `skipped` on are
// `count` of the picture's from `at` on; the others lie outside.
template <typename Take>
void lines_of_windows(const ception_windows &w, int64_t first, int64_t last, const Take &take) {
  int64_t place = 0;
  for (int64_t row = first; row < last; ++row)
    for (int64_t column = 0; column < w.out_width; ++column) {
      const int64_t start = column * w.right - w.left, from = most(0, -start);
      const int64_t columns = most(0, least(w.window_width, w.width - start) - from);
      for (int64_t i = 0; i < w.window_height; ++i, place += w.window_width * w.channels) {
        const int64_t line = row * w.down - w.top + i;
        const int64_t count = line < 0 || line >= w.height ? 0 : columns * w.channels;
        take(place, (line * w.width + start + from) * w.channels, from * w.channels, count);
      }
    }
}

// Maps of some rows of outputs of a picture.
inline void unfold(const ception_windows &w, const float *x, int64_t first, int64_t last, float *maps) {
  const int64_t line = w.window_width * w.channels;
  lines_of_windows(w, first, last, [=](int64_t place, int64_t at, int64_t skipped, int64_t count) {
    if (count < line) memset(maps + place, 0, sizeof(float) * line);
    float *to = maps + place + skipped;
    int64_t done = 0;
    for (; done + kWidth <= count; done += kWidth) store(to + done, load(x + at + done));
    for (; done < count; ++done) to[done] = x[at + done];
  });
}

// Adds to a picture what the maps of some rows of outputs have of it.
inline void fold(const ception_windows &w, const float *maps, int64_t first, int64_t last, float *x) {
  lines_of_windows(w, first, last, [=](int64_t place, int64_t at, int64_t skipped, int64_t count) {
    const float *from = maps + place + skipped;
    int64_t done = 0;
    for (; done + kWidth <= count; done += kWidth) store(x + at + done, load(x + at + done) + load(from + done));
    for (; done < count; ++done) x[at + done] += from[done];
  });
}

constexpr int64_t kTogether = 128;  // values, or those of one row, for which a matrix is read once

inline int64_t rows_of_maps(const ception_windows &w) {
  return least(most(1, w.out_height), ceiling(kTogether, most(1, w.out_width)));
}

// Maps of one picture that have in each place all that its window covers.
struct Unfolded {
  const ception_windows &w;
  const float *x;

  void rows(int64_t first, int64_t last, float *to) const { unfold(w, x, first, last, to); }
};

// Those of each picture.
inline auto unfolded(const ception_windows &w, const float *x) {
  return [&w, x](int64_t picture, int) { return Unfolded{w, x + picture * w.height * w.width * w.channels}; };
}

// y = the product of maps (values, depth), of which so many rows are gone through together, and a matrix (depth, filters).
// `maps_of(picture, worker)` are those of a picture, of which a worker of `size` has one at a time; `finish(values, to)` is
// given what was computed.
template <typename Maps, typename Finish>
int32_t product_of_maps(const ception_windows &w, int64_t depth, int64_t filters, int64_t together, int size,
                        const float *matrix, float *y, const Maps &maps_of, const Finish &finish) {
  const int64_t between = together * w.out_width * depth;
  const ception::Scratch maps(size * between), rows(size * kPacked), columns(depth * packed_columns(filters));
  if (!maps.data() || !rows.data() || !columns.data()) return 1;
  pack_shared(depth, filters, matrix, filters, 1, columns.data());
  const Bands bands(w.batch, w.out_height, size);
  auto band = [&](int64_t item, int worker) {
    const int64_t picture = bands.picture(item), last = bands.last(item);
    float *map = maps.data() + worker * between;
    auto made = maps_of(picture, worker);
    for (int64_t row = bands.first(item), end; row < last; row = end) {
      end = least(last, row + together);
      made.rows(row, end, map);
      const int64_t values = (end - row) * w.out_width;
      float *to = y + (picture * w.out_height + row) * w.out_width * filters;
      multiply(values, filters, depth, map, depth, 1, columns.data(), to, filters, false, rows.data() + worker * kPacked);
      finish(values, to);
    }
  };
  each(bands.number, size, band);
  return 0;
}

int32_t convolution(const ception_windows *windows, int64_t filters, const float *x, const float *kernel, float *y) {
  const ception_windows &w = *windows;
  return product_of_maps(w, covered(w), filters, rows_of_maps(w), ception::threads(), kernel, y, unfolded(w, x),
                         [](int64_t, float *) {});
}

int32_t convolution_gradient(const ception_windows *windows, int64_t filters, const float *kernel, const float *gradient,
                             float *of_x) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t depth = covered(w), together = rows_of_maps(w), between = together * w.out_width * depth;
  const ception::Scratch maps(size * between), rows(size * kPacked), columns(filters * packed_columns(depth));
  if (!maps.data() || !rows.data() || !columns.data()) return 1;
  pack_shared(filters, depth, kernel, 1, filters, columns.data());
  auto of_picture = [&](int64_t picture, int worker) {
    float *map = maps.data() + worker * between, *to = of_x + picture * w.height * w.width * w.channels;
    memset(to, 0, sizeof(float) * w.height * w.width * w.channels);
    for (int64_t row = 0, end; row < w.out_height; row = end) {
      end = least(w.out_height, row + together);
      multiply((end - row) * w.out_width, depth, filters, gradient + (picture * w.out_height + row) * w.out_width * filters,
               filters, 1, columns.data(), map, depth, false, rows.data() + worker * kPacked);
      fold(w, map, row, end, to);
    }
  };
  each(w.batch, size, of_picture);
  return 0;
}

// Each thread adds up the result of its share of the rows.
int32_t convolution_kernel_gradient(const ception_windows *windows, int64_t filters, const float *x, const float *gradient,
                                    float *of_kernel) {
  const ception_windows &w = *windows;
  const int64_t depth = covered(w), together = rows_of_maps(w), between = together * w.out_width * depth;
  const int64_t of_each = ceiling(w.out_height, together), groups = w.batch * of_each;
  const int64_t shares = most(1, least(groups, ception::threads())), given = together * w.out_width * packed_columns(filters);
  const ception::Scratch maps(shares * between), rows(shares * kPacked), columns(shares * given);
  const ception::Scratch results((shares - 1) * depth * filters);
  for (const ception::Scratch *one : {&maps, &rows, &columns, &results})
    if (!one->data()) return 1;
  auto share = [&](int64_t item, int) {
    float *map = maps.data() + item * between, *packed = columns.data() + item * given;
    float *to = item ? results.data() + (item - 1) * depth * filters : of_kernel;
    memset(to, 0, sizeof(float) * depth * filters);
    for (int64_t group = groups * item / shares; group < groups * (item + 1) / shares; ++group) {
      const int64_t picture = group / of_each, row = group % of_each * together, end = least(w.out_height, row + together);
      const int64_t values = (end - row) * w.out_width;
      unfold(w, x + picture * w.height * w.width * w.channels, row, end, map);
      pack_whole(values, filters, gradient + (picture * w.out_height + row) * w.out_width * filters, filters, 1, packed);
      multiply(depth, filters, values, map, 1, depth, packed, to, filters, true, rows.data() + item * kPacked);
    }
  };
  each(shares, ception::threads(), share);
  add_shares(depth * filters, shares, results.data(), of_kernel);
  return 0;
}

}  // namespace
