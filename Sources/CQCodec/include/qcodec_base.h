/// Versions, errors, element types, cancellation. Part of qcodec.h, whose conventions hold.
#ifndef QCODEC_BASE_H
#define QCODEC_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Versions

/// What this header describes; a library of another number is not to be used with it.
#define QCODEC_ABI_VERSION 1

/// The number that the library was built with.
uint32_t qcodec_abi_version(void);

/// "0.1.0"; lives as long as the library.
const char *qcodec_version(void);

/// The processors that the process may run on: what 0 threads means.
int32_t qcodec_available_threads(void);

// MARK: Errors

/// 0, or a qcodec_code.
typedef int32_t qcodec_status;

/// What kind of error it is; stable. New ones may come.
enum qcodec_code {
  QCODEC_OK = 0,
  QCODEC_INVALID_ARGUMENT = 10,
  QCODEC_UNSUPPORTED_SCHEME = 11,
  QCODEC_SHAPE_MISMATCH = 12,
  QCODEC_BUFFER_TOO_SMALL = 13,
  // Values that the scheme cannot hold.
  QCODEC_NON_FINITE_VALUE = 20,
  QCODEC_NEGATIVE_VALUE = 21,
  QCODEC_UPDATE_NOT_FINITE = 22,
  // The file as a whole.
  QCODEC_NOT_A_CHECKPOINT = 30,
  QCODEC_UNSUPPORTED_VERSION = 31,
  QCODEC_UNSUPPORTED_FEATURE = 32,
  QCODEC_TRUNCATED = 33,
  QCODEC_HEADER_CORRUPT = 34,
  QCODEC_TRAILER_CORRUPT = 35,
  QCODEC_DIRECTORY_CORRUPT = 36,
  QCODEC_METADATA_CORRUPT = 37,
  QCODEC_CHUNK_CORRUPT = 38,
  QCODEC_PADDING_NOT_ZERO = 39,
  // Its directory.
  QCODEC_INVALID_DIRECTORY = 40,
  QCODEC_INVALID_NAME = 41,
  QCODEC_DUPLICATE_NAME = 42,
  QCODEC_INVALID_SHAPE = 43,
  QCODEC_INVALID_SCHEME = 44,
  QCODEC_INVALID_MAP_TABLE = 45,
  QCODEC_INVALID_CHUNK_TABLE = 46,
  QCODEC_INVALID_REFERENCE = 47,
  QCODEC_LIMIT_EXCEEDED = 48,
  QCODEC_RESERVED_BITS = 49,
  // A chunk.
  QCODEC_DECOMPRESSION_FAILED = 50,
  QCODEC_INVALID_SCALE = 51,
  QCODEC_INVALID_CODE = 52,
  QCODEC_INVALID_CHUNK_LENGTH = 53,
  QCODEC_LEAD_CORRUPT = 54,
  // Other documents.
  QCODEC_INVALID_JSON = 60,
  QCODEC_INVALID_POLICY = 61,
  QCODEC_INVALID_SAFETENSORS = 62,
  QCODEC_INVALID_NUMPY = 63,
  // Names.
  QCODEC_TENSOR_NOT_FOUND = 70,
  QCODEC_NAME_CLASH = 71,
  // The system.
  QCODEC_IO = 80,
  QCODEC_WOULD_OVERWRITE_INPUT = 81,
  QCODEC_WRITER_CLOSED = 82,
  // Verification.
  QCODEC_BOUND_VIOLATED = 90,
  // The caller.
  QCODEC_CANCELLED = 100
};

/// An error with its place. Its strings live as long as it does.
typedef struct qcodec_error qcodec_error;

/// The code; QCODEC_OK of NULL.
qcodec_status qcodec_error_code(const qcodec_error *error);

/// What is wrong, one line, without the place; "" of NULL.
const char *qcodec_error_message(const qcodec_error *error);

/// The message followed by its place: "message (tensor 'x', element 3, byte 4096)"; "" of NULL.
const char *qcodec_error_description(const qcodec_error *error);

/// The tensor that is concerned, or NULL.
const char *qcodec_error_tensor(const qcodec_error *error);

/// Whether the byte offset of the defect, in file or stream, is known; gives it.
int32_t qcodec_error_offset(const qcodec_error *error, uint64_t *offset);

/// Whether the element that is concerned is known; gives its index in C order.
int32_t qcodec_error_element(const qcodec_error *error, uint64_t *element);

void qcodec_error_free(qcodec_error *error);

/// Frees a string that the library gave through `char **`.
void qcodec_string_free(char *string);

// MARK: Element types

/// The types of elements, as files store them. Only the first with float in their name here can be quantized: F32, F16
/// and BF16; all are kept losslessly.
enum qcodec_dtype {
  QCODEC_F32 = 1,
  QCODEC_F64 = 2,
  QCODEC_F16 = 3,
  QCODEC_BF16 = 4,
  QCODEC_I8 = 5,
  QCODEC_I16 = 6,
  QCODEC_I32 = 7,
  QCODEC_I64 = 8,
  QCODEC_U8 = 9,
  QCODEC_U16 = 10,
  QCODEC_U32 = 11,
  QCODEC_U64 = 12,
  QCODEC_BOOL = 13,
  QCODEC_F8_E4M3 = 14,
  QCODEC_F8_E5M2 = 15,
  QCODEC_F8_E8M0 = 16,
  QCODEC_F8_E4M3FNUZ = 17,
  QCODEC_F8_E5M2FNUZ = 18,
  QCODEC_C64 = 19,
  QCODEC_C128 = 20,
  QCODEC_F4 = 21,
  QCODEC_F6_E2M3 = 22,
  QCODEC_F6_E3M2 = 23
};

/// Bits an element occupies; 0 for a number that is no type.
uint32_t qcodec_dtype_bits(int32_t dtype);

// MARK: Cancellation

/// Ends calls that are under way. A call under a cancellation returns QCODEC_CANCELLED soon after qcodec_cancellation_cancel,
/// wherever it is between two chunks, reads or writes; flushing a file to the disk is waited for. A writer is given up by
/// it, and a previous file stays; readers go on.
typedef struct qcodec_cancellation qcodec_cancellation;

qcodec_status qcodec_cancellation_create(qcodec_cancellation **cancellation, qcodec_error **error);

/// Puts all further calls of the calling thread under a cancellation, in the place of the one before; NULL ends it, and is
/// due before the thread ends. It lives until then, whoever frees it.
void qcodec_cancellation_use(qcodec_cancellation *cancellation);

/// Ends the calls of all threads that use it, now and from now on. From any thread, and from signal handlers.
void qcodec_cancellation_cancel(qcodec_cancellation *cancellation);

/// 1 once it was cancelled, else 0; 0 of NULL.
int32_t qcodec_cancellation_is_cancelled(const qcodec_cancellation *cancellation);

void qcodec_cancellation_free(qcodec_cancellation *cancellation);

#ifdef __cplusplus
}
#endif

#endif
