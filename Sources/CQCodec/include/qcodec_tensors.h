/// Schemes, policies, and tensors in memory. Part of qcodec.h, whose conventions hold.
#ifndef QCODEC_TENSORS_H
#define QCODEC_TENSORS_H

#include "qcodec_base.h"

#ifdef __cplusplus
extern "C" {
#endif

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

// MARK: Policies

/// Rules that choose a scheme for each tensor by name, role, dtype and shape.
typedef struct qcodec_policy qcodec_policy;

/// A preset: "adam8", "adam4", "adamq", "paper8", "paper4", "live8", "live4" or "lossless"; NULL is "adam8". "adamq:0.05" is
/// adamq for a relative L2 error of the update of 0.05; 0.001 to 0.6. Gives QCODEC_INVALID_POLICY.
qcodec_status qcodec_policy_preset(const char *name, qcodec_policy **policy, qcodec_error **error);

/// A policy document in JSON; README.md describes it. Gives QCODEC_INVALID_JSON and QCODEC_INVALID_POLICY with the member.
qcodec_status qcodec_policy_parse(const char *json, size_t length, qcodec_policy **policy, qcodec_error **error);

/// The policy as qcodec_policy_parse reads it.
qcodec_status qcodec_policy_text(const qcodec_policy *policy, char **json, qcodec_error **error);

void qcodec_policy_free(qcodec_policy *policy);

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

#ifdef __cplusplus
}
#endif

#endif
