// Whole layers, in float32, and their gradients: a convolution, a bias and SELU.
//
// Each is a matrix product of maps, which are made for some rows of a picture before the next ones, as in across_channels.h.
#pragma once

#include "across_channels.h"
#include "convolutions.h"
#include "selu.h"

namespace {

// Rows of outputs that are gone through together: what lies between takes 48 KB, or it is one row.
inline int64_t rows_together(const ception_windows &w, int64_t depth, int64_t filters) {
  return least(most(1, w.out_height), most(1, 12288 / most(1, w.out_width * (depth + filters))));
}

// Maps of one picture that have each channel convolved alone.
struct Separated {
  Lines<float> lines;
  const float *kernel;

  void rows(int64_t first, int64_t last, float *to) { depthwise_rows(lines, kernel, first, last, to); }
};

// y = SELU of the product of maps (values, depth) and a matrix (depth, filters), and a bias; maps as `product_of_maps` has
// them.
template <typename Maps>
int32_t product_selu(const ception_windows &w, int64_t depth, int64_t filters, int size, const float *matrix,
                     const float *bias, float *y, const Maps &maps_of) {
  const ception::Scratch added(padded(filters));
  if (!added.data()) return 1;
  memset(added.data(), 0, sizeof(float) * padded(filters));
  memcpy(added.data(), bias, sizeof(float) * filters);
  return product_of_maps(
      w, depth, filters, rows_together(w, depth, filters), size, matrix, y, maps_of,
      [&](int64_t values, float *to) { write_selu(filters, to, added.data(), 0, values, to); });
}

// The gradients of matrix and bias. `take_rows(worker, row, values, gradient)` is given the gradient of the product from a row
// of outputs on, with `packed_columns(filters)` floats for each value; `end_picture(picture, worker)` follows a picture's last.
template <typename Maps, typename TakeRows, typename EndPicture>
int32_t product_selu_gradients(const ception_windows &w, int64_t depth, int64_t filters, int size, const float *y,
                               const float *gradient, float *of_matrix, float *of_bias, const Maps &maps_of,
                               const TakeRows &take_rows, const EndPicture &end_picture) {
  const int64_t together = rows_together(w, depth, filters), between = together * w.out_width * depth;
  const int64_t apart = packed_columns(filters), given = together * w.out_width * apart, product = depth * apart;
  const ception::Scratch maps(size * between), befores(size * given), products(size * product), memory(2 * size * filters);
  if (!maps.data() || !befores.data() || !products.data() || !memory.data()) return 1;
  memset(befores.data(), 0, sizeof(float) * size * given);  // zeros behind the last filter
  memset(products.data(), 0, sizeof(float) * size * product);
  double *biases = zeros(memory, size * filters);
  auto of_picture = [&](int64_t picture, int worker) {
    float *map = maps.data() + worker * between, *before = befores.data() + worker * given;
    auto made = maps_of(picture, worker);
    for (int64_t row = 0, end; row < w.out_height; row = end) {
      end = least(w.out_height, row + together);
      const int64_t values = (end - row) * w.out_width, at = (picture * w.out_height + row) * w.out_width * filters;
      write_selu_gradients(filters, y + at, gradient + at, 0, values, before, apart, biases + worker * filters);
      take_rows(worker, row, values, before);
      made.rows(row, end, map);
      add_turned(depth, apart, values, map, depth, before, apart, products.data() + worker * product);
    }
    end_picture(picture, worker);
  };
  each(w.batch, size, of_picture);
  write_bias_gradient(filters, size, biases, of_bias);
  for (int64_t p = 0; p < depth; ++p)
    for (int64_t filter = 0; filter < filters; ++filter) {
      float sum = 0;
      for (int worker = 0; worker < size; ++worker) sum += products.data()[worker * product + p * apart + filter];
      of_matrix[p * filters + filter] = sum;
    }
  return 0;
}

int32_t convolution_selu(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                         const float *bias, float *y) {
  const ception_windows &w = *windows;
  return product_selu(w, covered(w), filters, ception::threads(), kernel, bias, y, unfolded(w, x));
}

int32_t convolution_selu_gradients(const ception_windows *windows, int64_t filters, const float *x, const float *y,
                                   const float *gradient, float *of_kernel, float *of_bias) {
  const ception_windows &w = *windows;
  return product_selu_gradients(
      w, covered(w), filters, ception::threads(), y, gradient, of_kernel, of_bias, unfolded(w, x),
      [](int, int64_t, int64_t, const float *) {}, [](int64_t, int) {});
}

int32_t separable_selu(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                       const float *pointwise, const float *bias, float *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, lines = lines_of(w);
  const ception::Scratch own(size * lines), packed(packed_kernel(w));
  if (!own.data() || !packed.data()) return 1;
  pack_kernel(w, kernel, false, packed.data());
  const Reading plain;
  return product_selu(w, w.channels, filters, size, pointwise, bias, y, [&](int64_t picture, int worker) {
    return Separated{Lines<float>(w, plain, x + picture * in, own.data() + worker * lines), packed.data()};
  });
}

int32_t separable_selu_gradients(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                                 const float *pointwise, const float *y, const float *gradient, float *of_x,
                                 float *of_kernel, float *of_pointwise, float *of_bias) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, map = w.out_height * w.out_width * w.channels;
  const int64_t lines = most(lines_of(w), lines_of(turned(w))), floats = floats_of_sums(w), places = packed_kernel(w);
  const ception::Scratch own(size * lines), maps(size * map), rows(size * kPacked), added(size * floats);
  const ception::Scratch packed(2 * places), columns(filters * packed_columns(w.channels));
  for (const ception::Scratch *one : {&own, &maps, &rows, &added, &packed, &columns})
    if (!one->data()) return 1;
  pack_kernel(w, kernel, false, packed.data());
  pack_kernel(w, kernel, true, packed.data() + places);
  pack_whole(filters, w.channels, pointwise, 1, filters, columns.data());
  memset(added.data(), 0, sizeof(float) * size * floats);
  const Reading plain;
  const auto maps_of = [&](int64_t picture, int worker) {
    return Separated{Lines<float>(w, plain, x + picture * in, own.data() + worker * lines), packed.data()};
  };
  const auto take_rows = [&](int worker, int64_t row, int64_t values, const float *given) {
    multiply(values, w.channels, filters, given, packed_columns(filters), 1, columns.data(),
             maps.data() + worker * map + row * w.out_width * w.channels, w.channels, false,
             rows.data() + worker * kPacked);
  };
  const auto end_picture = [&](int64_t picture, int worker) {
    float *mine = added.data() + worker * floats;
    gradients_of_rows(w, plain, x + picture * in, packed.data() + places, maps.data() + worker * map, 0, w.height,
                      of_x + picture * in, Sums{mine, mine + places, nullptr}, own.data() + worker * lines);
  };
  const int32_t failed = product_selu_gradients(w, w.channels, filters, size, y, gradient, of_pointwise, of_bias, maps_of,
                                                take_rows, end_picture);
  if (!failed) write_kernel_gradient(w, size, added.data(), floats, of_kernel);
  return failed;
}

}  // namespace
