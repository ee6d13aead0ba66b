// The part of XLA's C interface for calls out of a compiled program (FFI) that is used, with our names for what it holds.
//
// It is the same in the versions 0.1 to 0.3, which JAX 0.7 to 0.10 have: so one build fits all, without any header of JAX.
// tests/test_kernels.py compares it with the header that the installed JAX ships.
//
// Source: xla/ffi/api/c_api.h of OpenXLA.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ception::xla {

constexpr int kMajor = 0, kMinor = 3;                      // the latest version that this was read in
constexpr int kFloat32 = 11, kBfloat16 = 16;               // kinds of numbers
constexpr int kInt32 = 4, kScalar = 3;                     // of an attribute: its numbers, that it is one
constexpr int kInvalidArgument = 3, kResourceExhausted = 8;  // codes of errors
constexpr int kMetadata = 1;                               // the extension by which XLA asks for the version

struct Error;

struct Extension {
  size_t struct_size;
  int type;
  Extension *next;
};

struct Version {
  size_t struct_size;
  Extension *extensions;
  int major_version, minor_version;
};

struct Metadata {
  size_t struct_size;
  Version version;
  uint32_t traits;
};

struct MetadataExtension {
  Extension extension;
  Metadata *metadata;
};

struct Buffer {
  size_t struct_size;
  Extension *extensions;
  int type;
  void *data;
  int64_t rank;
  int64_t *dims;
};

struct Scalar {
  int type;
  void *value;
};

struct Name {
  const char *letters;
  size_t length;
};

struct Buffers {  // arguments or results
  size_t struct_size;
  Extension *extensions;
  int64_t size;
  int *types;
  void **buffers;
};

struct AttributesByName {
  size_t struct_size;
  Extension *extensions;
  int64_t size;
  int *types;
  Name **names;
  void **values;
};

struct NewError {
  size_t struct_size;
  Extension *extensions;
  const char *message;
  int code;
};

struct Interface {
  size_t struct_size;
  Extension *extensions;
  Version version;
  const void *internal;
  Error *(*new_error)(NewError *);
};

struct Frame {  // of one call
  size_t struct_size;
  Extension *extensions;
  const Interface *interface;
  void *context;
  int stage;
  Buffers arguments, results;
  AttributesByName attributes;
};

}  // namespace ception::xla
