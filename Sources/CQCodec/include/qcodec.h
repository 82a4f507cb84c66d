/// The C interface of qcodec: compressed optimizer state, in memory and in checkpoint files.
///
/// Link with `-lcqcodec` (`pkg-config --cflags --libs qcodec`). This page is the manual.
///
/// Status. Every function that can fail returns a `qcodec_status`: 0 or one of `qcodec_code`. Its last parameter takes an
/// error, to be freed with `qcodec_error_free`; NULL there drops it. Where a function fails, what it would have given is
/// left as it was, or NULL for a handle; buffers may be partly filled.
///
/// Arguments. No argument crashes the library that could be told from a good one: NULL, short buffers, sizes and numbers
/// out of range give QCODEC_INVALID_ARGUMENT, QCODEC_SHAPE_MISMATCH or the code that a function names. Pointers that are
/// not NULL must point to what they say. Text is UTF-8 and ends in a zero byte unless its length is given.
///
/// Ownership. Handles (`qcodec_scheme` and the like) belong to whoever created them and are freed by their `_free`
/// function, which takes NULL. Strings that a function gives through `char **` are freed with `qcodec_string_free`. All
/// other memory is the caller's; the library keeps none of it after a call returns, unless the function says so.
///
/// Threads. Functions without a handle, and those that take a handle as const, may be called from any number of threads at
/// a time. A writer is used by one thread at a time. A `threads` parameter of 0 or less means as many as the process may
/// run on; results do not depend on it. Threads start within a call and end before it returns, so that a process may fork:
/// a child goes on with its parent's readers, even while other threads of the parent read. A writer stays with its process.
///
/// Signals. The library sets no handlers, and goes on where a signal interrupts a call of the system. Whatever takes long can
/// be ended by a qcodec_cancellation, from another thread or a handler.
///
/// Files. A file that is written appears under its name whole, by a rename, once it is on the disk: after a crash, a kill, a
/// full disk or an error, at any moment, the previous file is there or the new one. What a killed process leaves behind, a
/// `.NAME.….qcodec-partial` beside the file, the next writer to the same path removes; of several writers to a path the last
/// to commit stays. A reader keeps what it has opened, whatever is put in its place.
///
/// Numbers. Functions round to nearest with subnormals kept, whatever the caller's floating-point environment is, and leave
/// it as it was. Data are little-endian, in C order, of any alignment.

#ifndef QCODEC_H
#define QCODEC_H

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

// MARK: Schemes

/// How a tensor is quantized: map, bits, signedness, scaling, domain, rounding and scale rule.
typedef struct qcodec_scheme qcodec_scheme;

/// The quantization maps; see Spec/Maps.md.
enum qcodec_map {
  QCODEC_MAP_DYNAMIC = 1,
  QCODEC_MAP_LINEAR = 2,
  QCODEC_MAP_LINEAR_NOZERO = 3,
  QCODEC_MAP_DYNAMIC_NOZERO = 4,
  QCODEC_MAP_NORMAL = 5,
  QCODEC_MAP_CUSTOM = 6,
  QCODEC_MAP_LOG = 7,
  QCODEC_MAP_CUBIC = 8
};

/// How scales are laid out.
enum qcodec_scaling {
  QCODEC_SCALING_TENSOR = 1,
  QCODEC_SCALING_BLOCK = 2,
  QCODEC_SCALING_ROW = 3,
  QCODEC_SCALING_COLUMN = 4,
  QCODEC_SCALING_RANK1 = 5
};

/// What the codes describe: the tensor itself, or a first moment divided by the root of its second moment.
enum qcodec_domain { QCODEC_DOMAIN_VALUE = 0, QCODEC_DOMAIN_UPDATE = 1 };

/// How a code is chosen.
enum qcodec_rounding {
  QCODEC_ROUNDING_NEAREST = 1,
  QCODEC_ROUNDING_KEEP_NONZERO = 2,
  QCODEC_ROUNDING_STOCHASTIC = 3,
  QCODEC_ROUNDING_UNKNOWN = 4
};

/// How a scale follows from its elements.
enum qcodec_scale_rule { QCODEC_SCALE_SIGNED_EXTREME = 1, QCODEC_SCALE_ABSMAX = 2, QCODEC_SCALE_UNKNOWN = 3 };

/// Creates a scheme of a named map: to nearest, under the map's own scale rule.
///
/// bits: of a code, 2, 3, 4, 5, 6 or 8; 4 or 8 for both dynamic maps, 4 for normal.
/// block: elements that share a scale under block scaling, a power of two from 32 to 65,536, or 0 for the default; 0 under
/// other scalings. Gives QCODEC_UNSUPPORTED_SCHEME for what no scheme is.
qcodec_status qcodec_scheme_create(
  int32_t map, int32_t bits, int32_t is_signed, int32_t scaling, uint32_t block, int32_t domain,
  qcodec_scheme **scheme, qcodec_error **error);

/// Creates a scheme of the value domain with a map of its own.
///
/// table: 4, 8, 16, 32, 64 or 256 entries, as many as a width has codes; finite, in [-1, 1] (signed) or [0, 1], strictly
/// increasing to +1. is_import: a table of another system, of any order and range, by which codes are read and never
/// chosen. Gives QCODEC_INVALID_MAP_TABLE.
qcodec_status qcodec_scheme_create_custom(
  const float *table, size_t entries, int32_t is_signed, int32_t is_import, int32_t scaling, uint32_t block,
  qcodec_scheme **scheme, qcodec_error **error);

/// Reads a scheme as policies hold it: {"map": "dynamic", "bits": 8, "block": 256}. Gives QCODEC_INVALID_JSON,
/// QCODEC_INVALID_POLICY.
qcodec_status qcodec_scheme_parse(const char *json, qcodec_scheme **scheme, qcodec_error **error);

/// Sets how codes are chosen; seed is that of stochastic rounding. An import's stays unknown: QCODEC_UNSUPPORTED_SCHEME.
/// Not to be called while another thread uses the scheme.
qcodec_status qcodec_scheme_set_rounding(
  qcodec_scheme *scheme, int32_t rounding, uint64_t seed, qcodec_error **error);

/// Sets the rule for scales; as qcodec_scheme_set_rounding.
qcodec_status qcodec_scheme_set_scale_rule(qcodec_scheme *scheme, int32_t rule, qcodec_error **error);

/// The scheme as qcodec_scheme_parse reads it, every member stated. That of an import, whose rounding is "unknown", is for
/// people: no scheme to encode with is made of it.
qcodec_status qcodec_scheme_text(const qcodec_scheme *scheme, char **json, qcodec_error **error);

/// The number of entries of the map's table: 2^bits, 0 for `log` and NULL. Copies them where there is room for all.
size_t qcodec_scheme_table(const qcodec_scheme *scheme, float *table, size_t capacity);

void qcodec_scheme_free(qcodec_scheme *scheme);

// MARK: Tensors in memory

/// What encoding did to a tensor.
typedef struct {
  /// max |x - x'| over all elements.
  double max_abs_error;
  /// max |x - x'| / |scale|; 0 under `log`.
  double max_scaled_error;
  /// sqrt(sum (x - x')^2 / sum x^2).
  double rel_l2_error;
  /// The largest |x - x'| that codes and scales admit; NaN where nothing is guaranteed.
  double guaranteed_max_abs_error;
  /// Under `log` relative to x, in the update domain to the root of the second moment; NaN elsewhere.
  double guaranteed_max_rel_error;
  /// Non-zero elements that decode to zero.
  uint64_t zeros_created;
  /// Non-zero elements that decode to a value of the other sign.
  uint64_t sign_changes;
} qcodec_measured;

/// Bytes of the stream of a tensor: exact. dtype: QCODEC_F32, QCODEC_F16 or QCODEC_BF16; shape: dims lengths, 32 at most.
///
/// A stream has no header: shape, dtype and scheme are the caller's to keep. Checkpoints keep them. Gives
/// QCODEC_UNSUPPORTED_SCHEME for another dtype or a scheme that does not suit the tensor, QCODEC_INVALID_SHAPE for more
/// dims, QCODEC_LIMIT_EXCEEDED for a shape beyond 2^63 bytes; so do all functions that take a shape.
qcodec_status qcodec_encoded_size(
  const qcodec_scheme *scheme, int32_t dtype, const uint64_t *shape, size_t dims, size_t *size, qcodec_error **error);

/// Encodes a tensor of the value domain.
///
/// name: the key of stochastic rounding, and for errors; may be NULL. values: exactly the tensor's bytes. stream: at least
/// qcodec_encoded_size bytes, of which that many are written. measured: may be NULL. Gives QCODEC_NON_FINITE_VALUE and
/// QCODEC_NEGATIVE_VALUE with the element, QCODEC_SHAPE_MISMATCH for values of another size, QCODEC_BUFFER_TOO_SMALL.
qcodec_status qcodec_encode(
  const qcodec_scheme *scheme, int32_t dtype, const uint64_t *shape, size_t dims, const char *name, const void *values,
  size_t values_size, void *stream, size_t stream_capacity, int32_t threads, qcodec_measured *measured,
  qcodec_error **error);

/// Decodes a stream of exactly qcodec_encoded_size bytes into exactly the tensor's bytes.
///
/// Gives QCODEC_INVALID_SCALE and QCODEC_INVALID_CODE for what no encoder writes, QCODEC_SHAPE_MISMATCH.
qcodec_status qcodec_decode(
  const qcodec_scheme *scheme, int32_t dtype, const uint64_t *shape, size_t dims, const void *stream, size_t stream_size,
  void *values, size_t values_size, int32_t threads, qcodec_error **error);

/// Decodes `count` indices of the first axis, from `first` on; reads only the chunks that hold them.
qcodec_status qcodec_decode_rows(
  const qcodec_scheme *scheme, int32_t dtype, const uint64_t *shape, size_t dims, const void *stream, size_t stream_size,
  uint64_t first, uint64_t count, void *values, size_t values_size, int32_t threads, qcodec_error **error);

/// Encodes a first moment in the update domain and its second moment, float32 both and of one shape.
///
/// first: a scheme of the update domain; second: `log` or another unsigned one. Streams as in qcodec_encode; measured: two,
/// or NULL. Gives QCODEC_UPDATE_NOT_FINITE where a quotient overflows: store that moment in the value domain.
qcodec_status qcodec_encode_moments(
  const qcodec_scheme *first, const qcodec_scheme *second, const uint64_t *shape, size_t dims, const float *first_values,
  const float *second_values, void *first_stream, size_t first_capacity, void *second_stream, size_t second_capacity,
  int32_t threads, qcodec_measured *measured, qcodec_error **error);

/// Decodes a first moment of the update domain; its second moment's stream decodes alone, by qcodec_decode.
qcodec_status qcodec_decode_first_moment(
  const qcodec_scheme *first, const qcodec_scheme *second, const uint64_t *shape, size_t dims, const void *first_stream,
  size_t first_size, const void *second_stream, size_t second_size, float *values, size_t values_size, int32_t threads,
  qcodec_error **error);

// MARK: Optimizers

/// The rules by which parameters move; see qcodec_step_options.
enum qcodec_rule {
  QCODEC_ADAM = 0,
  QCODEC_SGD = 1,
  QCODEC_LION = 2,
  QCODEC_ADAGRAD = 3,
  QCODEC_RMSPROP = 4,
  QCODEC_LAMB = 5,
  QCODEC_LARS = 6
};

/// A rule and a step; which members a rule has stands beside them, the others mean nothing to it.
typedef struct {
  /// sizeof(qcodec_step_options), set by qcodec_step_options_init: later members may come.
  size_t struct_size;
  /// A qcodec_rule.
  int32_t rule;
  /// adam: whether weight decay acts on parameters (AdamW) rather than on gradients (Adam).
  int32_t is_decoupled;
  /// adam: whether parameters go by the greatest second moment so far.
  int32_t is_amsgrad;
  /// sgd: whether parameters go by the momentum of the step that follows.
  int32_t is_nesterov;
  /// Whether the objective is to be maximized.
  int32_t is_maximizing;
  /// Whether qcodec_optimizer_check has looked over these tensors as they are, with a factor no smaller: then the step does
  /// not look again.
  int32_t is_checked;
  /// The step's number, from 1 on.
  uint64_t step;
  /// What gradients are multiplied by: the inverse of a loss scale, the factor of clipping.
  double gradient_factor;
  double learning_rate;
  /// adam, lion, lamb.
  double beta1, beta2;
  /// adam, adagrad, rmsprop, lamb, lars.
  double epsilon;
  double weight_decay;
  /// sgd, rmsprop, lars.
  double momentum;
  /// sgd.
  double dampening;
  /// rmsprop: how much of the second moment a step keeps.
  double alpha;
  /// adagrad.
  double learning_rate_decay;
  /// lars.
  double trust_coefficient;
} qcodec_step_options;

/// Sets a rule's defaults, PyTorch's where it has the rule; of Adam those of AdamW. The step is 1. Nothing for another rule.
void qcodec_step_options_init(qcodec_step_options *options, int32_t rule);

/// A tensor that takes a step. Moments are streams of their schemes, as qcodec_encode and qcodec_encode_moments write them
/// for float32, or float32 where a scheme is NULL; no other thread uses any of it during the call.
typedef struct {
  /// For errors and as the key of stochastic rounding; may be NULL.
  const char *name;
  const uint64_t *shape;
  size_t dims;
  /// QCODEC_F32, QCODEC_F16 or QCODEC_BF16.
  int32_t parameter_dtype, gradient_dtype;
  void *parameters;
  const void *gradients;
  /// Signed; in the update domain where both moments are in blocks.
  const qcodec_scheme *first_scheme;
  /// Unsigned; the greatest second moment's too.
  const qcodec_scheme *second_scheme;
  /// Not 0: the second moment, of Adam without AMSGrad, is kept as a float32 factor of each row and then of each column,
  /// whatever its scheme. Rows are the leading axes, cut where there are fewest of both.
  int32_t second_is_factored;
  /// The moments that the rule has, exactly qcodec_moment_sizes bytes each; NULL and 0 for the others.
  void *first, *second, *greatest;
  size_t first_size, second_size, greatest_size;
} qcodec_optimizer_tensor;

/// Bytes of the first, second and greatest second moment of a tensor under a rule: exact. The tensor's shape and schemes
/// count alone. Gives QCODEC_UNSUPPORTED_SCHEME for schemes that moments cannot have.
qcodec_status qcodec_moment_sizes(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor, size_t sizes[3], qcodec_error **error);

/// Puts the moments of a tensor that has taken no step in place.
qcodec_status qcodec_moments_clear(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor, qcodec_error **error);

/// Takes a step: moves the parameters and moments of every tensor on. Moments in blocks that round to nearest are decoded,
/// moved on and encoded in one pass.
///
/// Before anything moves it gives QCODEC_NON_FINITE_VALUE for gradients that are not finite or above 2^58,
/// QCODEC_INVALID_SCALE and QCODEC_INVALID_CODE for moments that no encoder writes, QCODEC_SHAPE_MISMATCH for moments of
/// another size, QCODEC_INVALID_ARGUMENT. QCODEC_UPDATE_NOT_FINITE names a tensor a moment of which overflowed: it and others
/// have moved in part.
qcodec_status qcodec_optimizer_step(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads,
  qcodec_error **error);

/// Gives what qcodec_optimizer_step gives before anything moves; moves nothing. Who takes a step in several calls checks all of
/// it first, so that it is taken whole or not at all.
qcodec_status qcodec_optimizer_check(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads,
  qcodec_error **error);

/// A step of AdamW, of which no other option is set.
qcodec_status qcodec_adamw_step(
  double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, uint64_t step,
  const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads, qcodec_error **error);

/// A step of SGD with momentum.
qcodec_status qcodec_sgd_step(
  double learning_rate, double momentum, double weight_decay, uint64_t step, const qcodec_optimizer_tensor *tensors,
  size_t count, int32_t threads, qcodec_error **error);

/// A step of Lion.
qcodec_status qcodec_lion_step(
  double learning_rate, double beta1, double beta2, double weight_decay, uint64_t step,
  const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads, qcodec_error **error);

/// The squared length of values, summed in float64: the square of a gradient's norm, for clipping. It is the same at every
/// number of threads. dtype: QCODEC_F32, QCODEC_F16 or QCODEC_BF16.
qcodec_status qcodec_squared_norm(
  int32_t dtype, const void *values, size_t size, int32_t threads, double *squared, qcodec_error **error);

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

// MARK: Policies

/// Rules that choose a scheme for each tensor by name, role, dtype and shape.
typedef struct qcodec_policy qcodec_policy;

/// A preset: "adam8", "adam4", "paper8", "paper4", "live8", "live4" or "lossless"; NULL is "adam8". Gives QCODEC_INVALID_POLICY.
qcodec_status qcodec_policy_preset(const char *name, qcodec_policy **policy, qcodec_error **error);

/// A policy document in JSON; README.md describes it. Gives QCODEC_INVALID_JSON and QCODEC_INVALID_POLICY with the member.
qcodec_status qcodec_policy_parse(const char *json, size_t length, qcodec_policy **policy, qcodec_error **error);

/// The policy as qcodec_policy_parse reads it.
qcodec_status qcodec_policy_text(const qcodec_policy *policy, char **json, qcodec_error **error);

void qcodec_policy_free(qcodec_policy *policy);

/// The schemes under which a policy has an optimizer keep a parameter's moments, by the tensor's name and shape alone; NULL for
/// float32 and for moments that the rule does not have. "live8" and "live4" are made for it: embeddings, by name, and tensors
/// under 4,096 elements keep 32-bit state. Gives QCODEC_INVALID_POLICY where the policy drops a moment.
qcodec_status qcodec_policy_moment_schemes(
  const qcodec_policy *policy, const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor,
  qcodec_scheme **first, qcodec_scheme **second, qcodec_error **error);

// MARK: Writing checkpoints

/// A checkpoint being written, strictly forward. A file appears under its name only with qcodec_writer_commit; until then,
/// and after any failure, a previous file stays. After a failure of an `add` other than for its arguments the checkpoint is
/// given up. One thread at a time.
typedef struct qcodec_writer qcodec_writer;

/// The lossless stage.
enum qcodec_compression { QCODEC_COMPRESSION_NONE = 0, QCODEC_COMPRESSION_LZ4 = 1, QCODEC_COMPRESSION_ZSTD = 2 };

/// How a checkpoint is written. Fill in with qcodec_writer_options_init, then change what is to differ.
typedef struct {
  /// sizeof(qcodec_writer_options), so that later versions may add members.
  size_t struct_size;
  /// LZ4 unless changed; chunks that gain less than 1/64 are stored plain.
  int32_t compression;
  /// 1 unless changed, up to 22.
  int32_t zstd_level;
  /// 0 unless changed.
  int32_t threads;
  /// 1 stores a tensor with NaN or infinities losslessly; 0, unless changed, refuses it.
  int32_t keep_nonfinite;
  /// The epsilon of the Adam update whose error is measured and recorded for pairs of moments; NaN, unless changed,
  /// measures nothing.
  double measure_epsilon;
} qcodec_writer_options;

void qcodec_writer_options_init(qcodec_writer_options *options);

/// Takes the next `size` bytes of a checkpoint; returns 0, or another number to fail with QCODEC_IO. Called on the thread
/// that adds and commits.
typedef int32_t (*qcodec_write_function)(void *context, const void *bytes, size_t size);

/// Fills `target` with `size` bytes from `offset` on; returns 0, or another number to fail with QCODEC_IO. Called from any
/// thread, several at a time.
typedef int32_t (*qcodec_read_function)(void *context, uint64_t offset, void *target, size_t size);

/// Begins a checkpoint that will replace the file at path; options may be NULL. Gives QCODEC_IO.
qcodec_status qcodec_writer_create(
  const char *path, const qcodec_writer_options *options, qcodec_writer **writer, qcodec_error **error);

/// Begins a checkpoint on an open descriptor, a pipe for instance, which stays open and the caller's.
qcodec_status qcodec_writer_create_fd(
  int32_t descriptor, const qcodec_writer_options *options, qcodec_writer **writer, qcodec_error **error);

/// Begins a checkpoint whose bytes go to a function; what is aborted lacks its trailer. context stays the caller's and must
/// live until the writer is committed, aborted or freed.
qcodec_status qcodec_writer_create_function(
  qcodec_write_function write, void *context, const qcodec_writer_options *options, qcodec_writer **writer,
  qcodec_error **error);

/// Sets the user metadata: a JSON object, 256 MiB at most, kept as the document's member `metadata`, where values are
/// strings by convention. Gives QCODEC_INVALID_JSON, QCODEC_LIMIT_EXCEEDED, QCODEC_WRITER_CLOSED.
qcodec_status qcodec_writer_set_metadata(
  qcodec_writer *writer, const char *json, size_t length, qcodec_error **error);

/// Sets another member of the metadata document, any JSON value, for programs that keep more beside their tensors. Names
/// that the format gives a meaning (`metadata`, `policy`) are refused. Gives what qcodec_writer_set_metadata gives.
qcodec_status qcodec_writer_set_member(
  qcodec_writer *writer, const char *member, const char *json, size_t length, qcodec_error **error);

/// What a tensor is to the optimizer.
enum qcodec_role {
  QCODEC_ROLE_OTHER = 0,
  QCODEC_ROLE_FIRST_MOMENT = 1,
  QCODEC_ROLE_SECOND_MOMENT = 2,
  QCODEC_ROLE_MOMENTUM = 3,
  QCODEC_ROLE_MASTER_WEIGHT = 4,
  QCODEC_ROLE_PARAMETER = 5
};

/// A tensor to be written or compared with.
typedef struct {
  /// 1 byte to 64 KiB, unlike every other of the checkpoint.
  const char *name;
  /// A qcodec_dtype.
  int32_t dtype;
  /// A qcodec_role, where no policy recognises it by the name.
  int32_t role;
  /// `dims` lengths, 32 at most; NULL for a scalar.
  const uint64_t *shape;
  size_t dims;
  /// The elements, or NULL where `read` delivers them.
  const void *data;
  /// Bytes of the elements; what dtype and shape imply.
  uint64_t size;
  /// Delivers ranges of the elements, each once or twice; used where `data` is NULL.
  qcodec_read_function read;
  void *context;
} qcodec_tensor;

/// Adds tensors by a policy, moments in the update domain with their partners; chunks of all are made in parallel.
///
/// The policy decides over the tensors of one call: partners must come together. Its document becomes part of the metadata.
/// dropped: NULL, or `count` bytes that tell which tensors the policy drops. Gives QCODEC_INVALID_NAME,
/// QCODEC_DUPLICATE_NAME, QCODEC_INVALID_SHAPE, QCODEC_SHAPE_MISMATCH, QCODEC_UNSUPPORTED_SCHEME before anything is
/// written; QCODEC_NON_FINITE_VALUE, QCODEC_NEGATIVE_VALUE and QCODEC_IO.
qcodec_status qcodec_writer_add(
  qcodec_writer *writer, const qcodec_tensor *tensors, size_t count, const qcodec_policy *policy, uint8_t *dropped,
  qcodec_error **error);

/// Adds one tensor under a scheme of the value domain; NULL is lossless.
qcodec_status qcodec_writer_add_tensor(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, qcodec_error **error);

/// Fills `target` with up to `capacity` of the next bytes of a tensor and gives their number, 1 or more; returns 0, or
/// another number to fail with QCODEC_IO. Called on the thread that adds.
typedef int32_t (*qcodec_next_function)(void *context, void *target, size_t capacity, size_t *size);

/// Adds one tensor whose bytes come once and in order; `data` and `read` of the tensor are not used. Block schemes and
/// lossless only: others need a second look.
qcodec_status qcodec_writer_add_pushed(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, qcodec_next_function next,
  void *context, qcodec_error **error);

/// Adds a tensor that another system quantized, its codes and scales as they are.
///
/// `data` and `read` of the tensor are not used; its dtype is what it decodes to. scheme: how codes are read; rounding and
/// scale rule are recorded as unknown, and nothing is guaranteed. scales: float32, one for each block in C order, or the
/// scale vector. codes: one string of bits, the first code first and the most significant bit of each first, so that codes of
/// 8 bits are a byte each and of two codes of 4 bits the earlier is above; zeros behind the last. Gives
/// QCODEC_SHAPE_MISMATCH, QCODEC_INVALID_SCALE, QCODEC_INVALID_CODE.
qcodec_status qcodec_writer_add_import(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, const void *scales, size_t scales_size,
  const void *codes, size_t codes_size, qcodec_error **error);

/// What was written.
typedef struct {
  uint64_t file_bytes;
  uint64_t stored_bytes;
  uint64_t source_bytes;
  uint64_t tensors;
  uint64_t elements;
} qcodec_written;

/// Adds a tensor that lies in memory as a stream, as it is: what an optimizer keeps. Nothing is lost; the file says what the
/// scheme guarantees.
///
/// tensor: its name, shape and role; type and elements mean nothing, for the tensor is float32. stream: exactly
/// qcodec_encoded_size bytes. second: NULL, or the second moment of a first moment in the update domain, which is added with
/// it. Gives QCODEC_SHAPE_MISMATCH for streams of another size, QCODEC_INVALID_SCALE and QCODEC_INVALID_CODE for what no
/// encoder writes, QCODEC_UNSUPPORTED_SCHEME for moments that are no pair and for imports.
qcodec_status qcodec_writer_add_stream(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, const void *stream, size_t stream_size,
  const qcodec_tensor *second, const qcodec_scheme *second_scheme, const void *second_stream, size_t second_size,
  qcodec_error **error);

/// Completes the checkpoint: flushed to the disk, then put in the place of a previous one. written may be NULL. The writer
/// is still to be freed. Gives QCODEC_IO, after which a previous file stays, and QCODEC_WRITER_CLOSED.
qcodec_status qcodec_writer_commit(qcodec_writer *writer, qcodec_written *written, qcodec_error **error);

/// Gives the checkpoint up; what it had written is removed. Does nothing after a commit.
void qcodec_writer_abort(qcodec_writer *writer);

/// Frees a writer; one that was not committed is aborted.
void qcodec_writer_free(qcodec_writer *writer);

// MARK: Reading checkpoints

/// An open checkpoint: its directory, checked in full; chunks are read, and checked, when they are asked for. Any number of
/// threads may read.
typedef struct qcodec_reader qcodec_reader;

/// Opens a checkpoint file. Gives QCODEC_IO, QCODEC_NOT_A_CHECKPOINT with what the file is instead, and an error with its
/// byte offset for each defect.
qcodec_status qcodec_reader_open(const char *path, qcodec_reader **reader, qcodec_error **error);

/// Opens a checkpoint on a descriptor of a regular file, which stays the caller's.
qcodec_status qcodec_reader_open_fd(int32_t descriptor, qcodec_reader **reader, qcodec_error **error);

/// Opens a checkpoint of `size` bytes that a function delivers by range; it is asked for the trailer, the directory, and
/// then only for what is read. context must live as long as the reader.
qcodec_status qcodec_reader_open_function(
  qcodec_read_function read, void *context, uint64_t size, qcodec_reader **reader, qcodec_error **error);

/// Tensors of the checkpoint, numbered in the order of their names' bytes; 0 of NULL.
size_t qcodec_reader_count(const qcodec_reader *reader);

/// The number of the tensor of a name, or -1.
int64_t qcodec_reader_find(const qcodec_reader *reader, const char *name);

/// The length of a tensor's name in bytes, 0 where there is no such tensor. Copies as much as there is room for, and a zero
/// byte.
size_t qcodec_reader_name(const qcodec_reader *reader, size_t tensor, char *name, size_t capacity);

/// One tensor of a checkpoint.
typedef struct {
  int32_t dtype;
  int32_t role;
  /// 1 if it is quantized, 0 if it is lossless.
  int32_t is_quantized;
  uint32_t dims;
  uint64_t shape[32];
  uint64_t elements;
  /// Bytes as given and as it decodes, and bytes of its chunks in the file.
  uint64_t source_bytes;
  uint64_t stored_bytes;
  /// In the update domain the number of the second moment; else -1.
  int64_t second_moment;
  /// As the encoder recorded it; zeros, and NaN for guarantees, of imports.
  qcodec_measured measured;
} qcodec_tensor_info;

qcodec_status qcodec_reader_info(
  const qcodec_reader *reader, size_t tensor, qcodec_tensor_info *info, qcodec_error **error);

/// How a tensor is quantized; NULL for a lossless one.
qcodec_status qcodec_reader_scheme(
  const qcodec_reader *reader, size_t tensor, qcodec_scheme **scheme, qcodec_error **error);

/// A tensor to be read, and where to: exactly its source_bytes.
typedef struct {
  size_t tensor;
  void *target;
  size_t size;
} qcodec_read_request;

/// Reads tensors, chunks of all in parallel. Gives QCODEC_SHAPE_MISMATCH, and an error with byte offset and tensor for each
/// defect of a chunk.
qcodec_status qcodec_reader_read(
  const qcodec_reader *reader, const qcodec_read_request *requests, size_t count, int32_t threads, qcodec_error **error);

/// Reads `count` indices of the first axis from `first` on, and only the chunks that hold them.
qcodec_status qcodec_reader_read_rows(
  const qcodec_reader *reader, size_t tensor, uint64_t first, uint64_t count, void *target, size_t size, int32_t threads,
  qcodec_error **error);

/// Bytes of a quantized tensor's scales and codes, as qcodec_writer_add_import takes them; a `log` block has two scales, its
/// ends. Gives QCODEC_INVALID_ARGUMENT for a lossless one.
qcodec_status qcodec_reader_code_sizes(
  const qcodec_reader *reader, size_t tensor, size_t *scales_size, size_t *codes_size, qcodec_error **error);

/// Reads a quantized tensor's scales and codes as they are stored, into exactly qcodec_reader_code_sizes bytes.
qcodec_status qcodec_reader_read_codes(
  const qcodec_reader *reader, size_t tensor, void *scales, size_t scales_size, void *codes, size_t codes_size,
  int32_t threads, qcodec_error **error);

/// Reads a quantized tensor as its stream: exactly qcodec_encoded_size bytes, as qcodec_writer_add_stream takes it. Gives
/// QCODEC_INVALID_ARGUMENT for a lossless tensor, QCODEC_SHAPE_MISMATCH for another size.
qcodec_status qcodec_reader_read_stream(
  const qcodec_reader *reader, size_t tensor, void *stream, size_t stream_size, int32_t threads, qcodec_error **error);

/// A member of the metadata document as JSON text: "metadata", "policy" or one of a program's own; "null" where there is
/// none. length may be NULL. Gives QCODEC_METADATA_CORRUPT.
qcodec_status qcodec_reader_member(
  const qcodec_reader *reader, const char *member, char **json, size_t *length, qcodec_error **error);

/// What `qcodec inspect --json` prints.
qcodec_status qcodec_reader_summary(const qcodec_reader *reader, char **json, qcodec_error **error);

void qcodec_reader_free(qcodec_reader *reader);

// MARK: Verification

/// Limits besides the proved bounds. Fill in with qcodec_verify_options_init, then change what is to differ.
typedef struct {
  /// sizeof(qcodec_verify_options).
  size_t struct_size;
  /// NaN, unless changed, is no limit: on each tensor's relative L2 error and largest error, on the relative L2 error of all
  /// updates together and on the largest of any.
  double max_rel_l2;
  double max_abs;
  double max_update_error;
  double max_update_abs;
  /// 1e-8 unless changed.
  double epsilon;
  /// 0 unless changed.
  int32_t threads;
} qcodec_verify_options;

void qcodec_verify_options_init(qcodec_verify_options *options);

/// Checks every byte, recomputes every guarantee, and holds each element against its bound where there is an original.
///
/// original: a safetensors file, an index of shards, .npy, .npz or a checkpoint; or NULL. options may be NULL. report: what
/// `qcodec verify --json` prints; may be NULL. Gives QCODEC_BOUND_VIOLATED, with the report, where something is not as it
/// should be.
qcodec_status qcodec_verify(
  const qcodec_reader *reader, const char *original, const qcodec_verify_options *options, char **report,
  qcodec_error **error);

/// As qcodec_verify, against tensors in memory.
qcodec_status qcodec_verify_tensors(
  const qcodec_reader *reader, const qcodec_tensor *tensors, size_t count, const qcodec_verify_options *options,
  char **report, qcodec_error **error);

#ifdef __cplusplus
}
#endif

#endif
