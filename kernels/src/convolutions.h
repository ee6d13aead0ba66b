// Convolutions of each channel alone, of whole batches, and their gradients.
#pragma once

#include "depthwise.h"

namespace {

template <typename Element>
int32_t depthwise(const ception_windows *windows, const ception_reading *said, const Element *x, const Element *kernel,
                  Element *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, row = w.out_width * w.channels, lines = lines_of(w);
  const ception::Scratch own(size * lines), packed(packed_kernel(w)), factors(kOfReading * padded(w.channels));
  if (!own.data() || !packed.data() || !factors.data()) return 1;
  const Reading reading = prepared(said, w.channels, factors.data());
  pack_kernel(w, kernel, false, packed.data());
  const Bands bands(w.batch, w.out_height, size);
  auto band = [&](int64_t item, int worker) {
    const int64_t picture = bands.picture(item), first = bands.first(item);
    Lines<Element> read(w, reading, x + picture * in, own.data() + worker * lines);
    depthwise_rows(read, packed.data(), first, bands.last(item), y + (picture * w.out_height + first) * row);
  };
  each(bands.number, size, band);
  return 0;
}

// The gradient of the kernel from what the threads have added up for the turned one.
template <typename Element>
void write_kernel_gradient(const ception_windows &w, int size, const float *of_threads, int64_t apart, Element *to) {
  const int64_t places = w.window_height * w.window_width, room = padded(w.channels);
  for (int64_t place = 0; place < places; ++place)
    for (int64_t channel = 0; channel < w.channels; channel += kWidth) {
      Vector sum = {};
      for (int worker = 0; worker < size; ++worker)
        sum += load(of_threads + worker * apart + (places - 1 - place) * room + channel);
      store_of(to + place * w.channels + channel, sum, w.channels - channel);
    }
}

template <typename Element>
int32_t depthwise_gradients(const ception_windows *windows, const ception_reading *said, const Element *x,
                            const Element *kernel, const Element *gradient, Element *of_x, Element *of_kernel,
                            float *of_gamma, float *of_beta) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, out = w.out_height * w.out_width * w.channels;
  const int64_t floats = floats_of_sums(w), lines = lines_of(turned(w)), room = padded(w.channels);
  const ception::Scratch added(size * floats), memory(2 * of_totals(w.channels, size)), own(size * lines);
  const ception::Scratch packed(packed_kernel(w)), factors((kOfReading + kOfSlopes) * room);
  if (!added.data() || !memory.data() || !own.data() || !packed.data() || !factors.data()) return 1;
  double *all = zeros(memory, of_totals(w.channels, size));
  memset(added.data(), 0, sizeof(float) * size * floats);
  const Reading reading = prepared(said, w.channels, factors.data());
  pack_kernel(w, kernel, true, packed.data());
  const Bands bands(w.batch, w.height, size);
  auto band = [&](int64_t item, int worker) {
    float *mine = added.data() + worker * floats;
    const Sums sums{mine, mine + packed_kernel(w), all + 2 * worker * w.channels};
    const int64_t picture = bands.picture(item);
    gradients_of_rows(w, reading, x + picture * in, packed.data(), gradient + picture * out, bands.first(item),
                      bands.last(item), of_x + picture * in, sums, own.data() + worker * lines);
  };
  each(bands.number, size, band);
  write_kernel_gradient(w, size, added.data(), floats, of_kernel);
  if (!reading.is_normed()) return 0;
  const int64_t values = w.batch * w.height * w.width, blocks = blocks_of(values, size);
  const Slopes slopes = slopes_of(*said, values, w.channels, all, all + w.channels, size, 2 * w.channels,
                                  factors.data() + kOfReading * room, of_gamma, of_beta);
  if (said->apart) return 0;
  auto finish = [&](int64_t item, int) {
    combine(reading, slopes, false, w.channels, x, of_x, values * item / blocks, values * (item + 1) / blocks, of_x);
  };
  each(blocks, size, finish);
  return 0;
}

}  // namespace
