// Vectors of floats as GCC and Clang have them, of the width that this file is compiled for.
//
// All that includes this is compiled several times, so that nothing here may be a template or inline function that the
// linker could share between the copies: everything lies in a namespace without a name.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace {

#if defined(CEPTION_AVX512)
constexpr int kWidth = 16, kRows = 14, kVectors = 2;  // of a tile of the product: 28 of 32 registers
#elif defined(CEPTION_AVX2)
constexpr int kWidth = 8, kRows = 6, kVectors = 2;  // 12 of 16
#else
constexpr int kWidth = 4, kRows = 4, kVectors = 2;
#endif
constexpr int kColumns = kWidth * kVectors;

typedef float Vector __attribute__((vector_size(kWidth * sizeof(float))));
typedef int32_t Mask __attribute__((vector_size(kWidth * sizeof(int32_t))));

inline Vector load(const float *from) {
  Vector value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float *to, Vector value) { memcpy(to, &value, sizeof value); }

// The first `count` floats; zeros behind them.
inline Vector load_some(const float *from, int64_t count) {
  Vector value = {};
  memcpy(&value, from, sizeof(float) * count);
  return value;
}

inline void store_some(float *to, Vector value, int64_t count) { memcpy(to, &value, sizeof(float) * count); }

inline Vector select(Mask mask, Vector yes, Vector no) { return (Vector)((mask & (Mask)yes) | (~mask & (Mask)no)); }

constexpr int64_t least(int64_t one, int64_t other) { return one < other ? one : other; }
constexpr int64_t most(int64_t one, int64_t other) { return one > other ? one : other; }
constexpr int64_t ceiling(int64_t value, int64_t by) { return (value + by - 1) / by; }

}  // namespace
