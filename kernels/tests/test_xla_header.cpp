// What src/xla_c.h says of XLA's interface is what the header says that JAX ships: this file compiles, or it is not.
#include "xla/ffi/api/c_api.h"
#include "xla_c.h"

namespace ours = ception::xla;

#define SAME_PLACE(mine, member, theirs, field)                                              \
  static_assert(offsetof(ours::mine, member) == offsetof(theirs, field), #mine " " #member); \
  static_assert(sizeof(ours::mine::member) == sizeof(theirs::field), #mine " " #member)

SAME_PLACE(Extension, type, XLA_FFI_Extension_Base, type);
SAME_PLACE(Version, major_version, XLA_FFI_Api_Version, major_version);
SAME_PLACE(Version, minor_version, XLA_FFI_Api_Version, minor_version);
SAME_PLACE(Metadata, version, XLA_FFI_Metadata, api_version);
SAME_PLACE(Metadata, traits, XLA_FFI_Metadata, traits);
SAME_PLACE(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);
SAME_PLACE(Buffer, type, XLA_FFI_Buffer, dtype);
SAME_PLACE(Buffer, data, XLA_FFI_Buffer, data);
SAME_PLACE(Buffer, rank, XLA_FFI_Buffer, rank);
SAME_PLACE(Buffer, dims, XLA_FFI_Buffer, dims);
SAME_PLACE(Scalar, type, XLA_FFI_Scalar, dtype);
SAME_PLACE(Scalar, value, XLA_FFI_Scalar, value);
SAME_PLACE(Name, letters, XLA_FFI_ByteSpan, ptr);
SAME_PLACE(Name, length, XLA_FFI_ByteSpan, len);
SAME_PLACE(Buffers, size, XLA_FFI_Args, size);
SAME_PLACE(Buffers, buffers, XLA_FFI_Args, args);
SAME_PLACE(Buffers, size, XLA_FFI_Rets, size);
SAME_PLACE(Buffers, buffers, XLA_FFI_Rets, rets);
SAME_PLACE(AttributesByName, size, XLA_FFI_Attrs, size);
SAME_PLACE(AttributesByName, types, XLA_FFI_Attrs, types);
SAME_PLACE(AttributesByName, names, XLA_FFI_Attrs, names);
SAME_PLACE(AttributesByName, values, XLA_FFI_Attrs, attrs);
SAME_PLACE(NewError, message, XLA_FFI_Error_Create_Args, message);
SAME_PLACE(NewError, code, XLA_FFI_Error_Create_Args, errc);
SAME_PLACE(Interface, new_error, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME_PLACE(Frame, interface, XLA_FFI_CallFrame, api);
SAME_PLACE(Frame, arguments, XLA_FFI_CallFrame, args);
SAME_PLACE(Frame, results, XLA_FFI_CallFrame, rets);
SAME_PLACE(Frame, attributes, XLA_FFI_CallFrame, attrs);

static_assert(ours::kFloat32 == XLA_FFI_DataType_F32 && ours::kBfloat16 == XLA_FFI_DataType_BF16);
static_assert(ours::kInt32 == XLA_FFI_DataType_S32 && ours::kScalar == XLA_FFI_AttrType_SCALAR);
static_assert(ours::kInvalidArgument == XLA_FFI_Error_Code_INVALID_ARGUMENT);
static_assert(ours::kResourceExhausted == XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
static_assert(ours::kMetadata == XLA_FFI_Extension_Metadata && ours::kMajor == XLA_FFI_API_MAJOR);
