// Vectors of floats as GCC and Clang have them, of the width that this file is compiled for.
//
// All that includes this is compiled several times, so that nothing here may be a template or inline function that the
// linker could share between the copies: everything lies in a namespace without a name.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(CEPTION_AVX512)
#include <immintrin.h>
#endif

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
typedef uint32_t Bits __attribute__((vector_size(kWidth * sizeof(uint32_t))));
typedef uint16_t Halves __attribute__((vector_size(kWidth * sizeof(uint16_t))));

// The upper half of a float, which is what is stored; all is computed in float.
struct Bfloat16 {
  uint16_t bits;
};

inline Vector select(Mask mask, Vector yes, Vector no) { return mask ? yes : no; }

inline Vector widened(Halves halves) { return (Vector)(__builtin_convertvector(halves, Bits) << 16); }

// Rounded to the nearest, and to even halves in between; what is no number stays none.
inline Halves narrowed(Vector value) {
  const Bits bits = (Bits)value, rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const Bits kept = (Bits)select((Mask)(value == value), (Vector)rounded, (Vector)(bits | 0x400000));
  return __builtin_convertvector(kept >> 16, Halves);
}

inline Vector load(const float *from) {
  Vector value;
  memcpy(&value, from, sizeof value);
  return value;
}

inline Vector load(const Bfloat16 *from) {
  Halves halves;
  memcpy(&halves, from, sizeof halves);
  return widened(halves);
}

inline void store(float *to, Vector value) { memcpy(to, &value, sizeof value); }

inline void store(Bfloat16 *to, Vector value) {
  const Halves halves = narrowed(value);
  memcpy(to, &halves, sizeof halves);
}

// The first `count` numbers; zeros behind them.
inline Vector load_some(const float *from, int64_t count) {
#if defined(CEPTION_AVX512)
  return (Vector)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
  Vector value = {};
  memcpy(&value, from, sizeof(float) * count);
  return value;
#endif
}

inline Vector load_some(const Bfloat16 *from, int64_t count) {
#if defined(CEPTION_AVX512)
  return widened((Halves)_mm256_maskz_loadu_epi16((__mmask16)((1u << count) - 1), from));
#else
  Halves halves = {};
  memcpy(&halves, from, sizeof(Bfloat16) * count);
  return widened(halves);
#endif
}

inline void store_some(float *to, Vector value, int64_t count) {
#if defined(CEPTION_AVX512)
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)value);
#else
  memcpy(to, &value, sizeof(float) * count);
#endif
}

inline void store_some(Bfloat16 *to, Vector value, int64_t count) {
  const Halves halves = narrowed(value);
#if defined(CEPTION_AVX512)
  _mm256_mask_storeu_epi16(to, (__mmask16)((1u << count) - 1), (__m256i)halves);
#else
  memcpy(to, &halves, sizeof(Bfloat16) * count);
#endif
}

// A whole vector where so many numbers are left.
template <typename Element>
inline Vector load_of(const Element *from, int64_t left) {
  return left >= kWidth ? load(from) : load_some(from, left);
}

template <typename Element>
inline void store_of(Element *to, Vector value, int64_t left) {
  if (left >= kWidth)
    store(to, value);
  else
    store_some(to, value, left);
}

constexpr int64_t least(int64_t one, int64_t other) { return one < other ? one : other; }
constexpr int64_t most(int64_t one, int64_t other) { return one > other ? one : other; }
constexpr int64_t ceiling(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Vectors of channels beside each other that are gone through together: what belongs to them stays in registers or in the
// nearest cache, and of each pixel several lines of memory are read at a time.
constexpr int kGroup = kWidth == 16 ? 8 : 4;
constexpr int64_t kGrouped = kGroup * kWidth;

// Numbers that whole vectors take.
constexpr int64_t padded(int64_t count) { return ceiling(count, kWidth) * kWidth; }

}  // namespace
