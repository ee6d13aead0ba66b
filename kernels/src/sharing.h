// Work shared out among the threads.
#pragma once

#include "threads.h"
#include "vectors.h"

namespace {

// Calls a function object for each item, in all threads.
template <typename Body>
void each(int64_t items, int size, Body &body) {
  ception::share_out(
      items, size, [](void *context, int64_t item, int worker) { (*static_cast<Body *>(context))(item, worker); }, &body);
}

// Scratch memory as doubles, all 0.
double *zeros(const ception::Scratch &scratch, int64_t count) {
  return (double *)memset(scratch.data(), 0, sizeof(double) * count);
}

constexpr int64_t kSummed = 64;  // values whose sums are kept in single precision before they are added up

// Into how many blocks values are cut that are gone through one after another.
int64_t blocks_of(int64_t values, int size) { return least(ceiling(values, kSummed), 4 * size); }

// How the rows of each picture are cut, so that all threads have work.
struct Bands {
  int64_t rows, of_each, number;

  Bands(int64_t batch, int64_t rows, int size)
      : rows(rows), of_each(most(1, least(ceiling(4 * size, most(batch, 1)), rows))), number(batch * of_each) {
    if (batch >= 4 * size) of_each = 1, number = batch;
  }
  int64_t picture(int64_t item) const { return item / of_each; }
  int64_t first(int64_t item) const { return rows * (item % of_each) / of_each; }
  int64_t last(int64_t item) const { return rows * (item % of_each + 1) / of_each; }
};

// Pictures, cut into ranges of channels where there are fewer pictures than threads.
struct Channels {
  int64_t vectors, of_each, number, channels;

  Channels(const ception_windows &w, int size)
      : vectors(ceiling(w.channels, kWidth)),
        of_each(w.batch >= 4 * size ? 1 : most(1, least(vectors, ceiling(4 * size, most(1, w.batch))))),
        number(w.batch * of_each),
        channels(w.channels) {}
  int64_t picture(int64_t item) const { return item / of_each; }
  int64_t first(int64_t item) const { return vectors * (item % of_each) / of_each * kWidth; }
  int64_t last(int64_t item) const { return least(channels, vectors * (item % of_each + 1) / of_each * kWidth); }
};

}  // namespace
