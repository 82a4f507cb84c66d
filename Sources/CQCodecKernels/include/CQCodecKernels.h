/// The C leaf of qcodec: the floating-point environment, and the kernels that Swift has no words for.
///
/// Each kernel has one body, compiled for several instruction sets and chosen at run time. All of them equal the scalar
/// Swift kernels bit for bit; the Swift code is the reference. Callers have set the codec's floating-point environment
/// and checked every length; pointers need no alignment.
#ifndef CQCODEC_KERNELS_H
#define CQCODEC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "qcodec does not support big-endian machines"
#endif

// Not for others to call: where all of qcodec becomes one shared library, it keeps these to itself.
#pragma GCC visibility push(hidden)

// MARK: The floating-point environment

/// The control state of the calling thread's floating-point unit, as the machine stores it.
typedef struct {
  uint64_t control;
} qcodec_environment;

/// Returns the calling thread's environment and sets the codec's: round to nearest even, subnormals kept in inputs
/// and results, every exception masked.
qcodec_environment qcodec_environment_enter(void);

/// Restores an environment that `qcodec_environment_enter` returned.
void qcodec_environment_leave(qcodec_environment saved);

/// Sets one of the environments that hosts are known to leave behind; for tests.
/// mode: 0 the codec's own, 1 flush-to-zero and denormals-are-zero, 2 round toward zero, 3 round up, 4 round down.
void qcodec_environment_simulate(int mode);

/// The control bits of the calling thread, for tests that an environment was restored.
uint64_t qcodec_environment_current(void);

/// Processors in the calling thread's affinity mask, or those online where the system has no such mask.
int qcodec_available_processors(void);

// MARK: Cancellation

/// What cancels the calling thread's calls, or NULL: an object of the caller's, which outlives its stay here.
const void *qcodec_thread_cancellation(void);

/// Sets what `qcodec_thread_cancellation` returns to this thread; returns what it was.
const void *qcodec_set_thread_cancellation(const void *object);

// MARK: Storage

/// Asks for space of a file that will be written, without changing its length; a hint that may come to nothing.
void qcodec_reserve(int descriptor, uint64_t offset, uint64_t count);

/// Asks the system to begin writing a range to the disk, without waiting; a hint that may come to nothing.
void qcodec_begin_writeback(int descriptor, uint64_t offset, uint64_t count);

/// Whether the system would give a process so much memory, more than 0; it need not be able to keep its word.
int qcodec_can_allocate(size_t size);

// MARK: Kernel levels

/// The instruction sets that kernels are compiled for; `scalar` is the Swift reference.
enum {
  qcodec_level_scalar = 0,
  qcodec_level_sse2 = 1,
  qcodec_level_avx2 = 2,
  qcodec_level_avx512 = 3,
  qcodec_level_neon = 4,
};

/// Whether this machine runs a level.
int qcodec_level_supported(int level);

/// The best level that this machine runs.
int qcodec_level_best(void);

// MARK: What kernels work on

enum { qcodec_dtype_f32 = 0, qcodec_dtype_bf16 = 1, qcodec_dtype_f16 = 2 };

/// How a value is turned into a code.
enum {
  /// Entries are evenly spaced: the code follows by arithmetic, but for values next to a threshold.
  qcodec_search_uniform = 0,
  /// Any 16 entries.
  qcodec_search_sixteen = 1,
  /// Any entries of which the buckets below hold one threshold at most.
  qcodec_search_buckets = 2,
};

/// How the byte planes of a table are laid out.
enum {
  qcodec_planes_none = 0,
  /// 256 buckets for magnitudes: the thresholds below zero are the first of those above.
  qcodec_planes_mirrored = 1,
  /// 512 buckets, of which the last bit of a bucket's number chooses the half: values below zero do not occur.
  qcodec_planes_unsigned = 2,
  /// 256 buckets for each sign.
  qcodec_planes_signed = 3,
};

/// A table prepared for encoding and decoding; made once, shared between threads. Where it lies on a multiple of 64
/// bytes no vector of it crosses a cache line, which would take two loads.
///
/// `bits` tells how codes lie: 4 for two a byte, 8 for one a byte, where fewer than 256 entries are distinct for widths
/// between.
typedef struct {
  /// 2^bits entries, padding included.
  float entries[256];
  /// The bytes of the entries, least significant first.
  uint8_t planes[4][256];
  /// The thresholds, `distinct - 1` of them, then infinities.
  float thresholds[256];
  /// buckets, AVX-512: byte tables of 256 (mirrored) or 512.
  uint8_t base[512], first[512], second[512];
  uint32_t warp[32];
  /// buckets, portable: by sign and the upper bits of the pattern, code and threshold in one word.
  uint32_t words[2 * 32 * 256];
  int low_bits;
  /// buckets, AVX-512: the byte planes' layout, and the thresholds below zero.
  int layout;
  int zero;
  int bits;
  int is_signed;
  int search;
  int distinct;
  /// uniform: p = y · factor + offset lies within 0.5 of the code.
  float factor;
  float offset;
} qcodec_table;

/// Prepares a table; returns 0 where no kernel encodes with it (the reference does). Decoding always works.
int qcodec_table_prepare(
  qcodec_table *table, const float *entries, const float *thresholds, int distinct, int bits, int is_signed);

/// What statistics need to know of a table's codes.
typedef struct {
  /// The worst error of each code, R(c): its rank among them, and the radii in that order, so that the greatest radius
  /// of many codes is that of their greatest rank.
  uint8_t rank[256];
  double radii[256];
  /// The radius of each code, rounded.
  float nearly[256];
  /// The codes in that order.
  uint8_t code[256];
  /// The greatest rank.
  int last;
  /// The code of zero, or -1.
  int zero;
  /// The least magnitude of an entry that is not zero.
  float least;
  /// Whether values of both signs, or zero and others, can come to one code that is not zero's.
  int mixed;
} qcodec_cells;

/// Prepares what statistics need of a table and the radii of its 2^bits codes.
void qcodec_cells_prepare(qcodec_cells *cells, const qcodec_table *table, const double *radii);

/// What encoding did to the elements of a chunk; as the reference's statistics.
typedef struct {
  /// NULL for the log map.
  const qcodec_cells *cells;
  double squared_error[16];
  double squared_source[16];
  double max_abs_error;
  double max_scaled_error;
  uint64_t zeros_created;
  uint64_t sign_changes;
  /// max |scale| · R(code).
  double scaled_radius;
  /// The bounds of the update domain, and the dtype's absolute rounding term that they contain.
  double absolute_bound;
  double relative_bound;
  double slack;
} qcodec_statistics;

enum {
  qcodec_found_nonfinite = 1,
  qcodec_found_negative = 2,
};

/// How a scale follows from its extreme.
enum {
  /// The largest magnitude.
  qcodec_rule_magnitude = 0,
  /// The element of largest magnitude with its sign.
  qcodec_rule_signed = 1,
};

/// How far apart codes stand where the writer says so. What is 0 leaves the choice to the elements.
typedef struct {
  /// The least scale of a block of a table, not negative; in the update domain rounded.
  float scale;
  /// Whether it is the greatest too. A block with an element beyond it is the reference's, for no quotient may exceed 1
  /// by more than rounded scales make it.
  int clamps;
  /// log: the patterns from code to code, the least pattern of a non-zero element of the tensor, from which codes are
  /// counted, and the greatest that an end may have.
  uint32_t step, lowest, highest;
} qcodec_spacing;

/// The scales of elements that lie in rows. An element's is the lesser of its row's and its column's.
typedef struct {
  /// Elements of a row.
  size_t length;
  /// The first element's place in its row.
  size_t place;
  /// The scale of each row, from the first element's on; NULL where columns alone have scales.
  const float *rows;
  /// The scale of each element of a row; NULL where rows alone have scales.
  const float *columns;
  /// Of columns, by qcodec_inverses: encoding is faster with them. NULL where there are none.
  const float *inverses;
} qcodec_scale_rows;

/// Patterns of magnitudes: the greatest, and the least that is not zero. A range of nothing is {0, 0x7F800000}.
typedef struct {
  uint32_t greatest;
  uint32_t least;
} qcodec_range;

// MARK: Operations

/// Encodes elements under block scaling: scales as `float`, codes packed.
///
/// x: `count` elements; block: a power of two from 32; rule: how scales follow from extremes; statistics: taken
/// further, or NULL. spacing: or NULL. Returns what was found that the reference must look at; the output then counts
/// for nothing.
int qcodec_encode_blocks(
  int level, const qcodec_table *table, const float *x, size_t count, size_t block, int rule, int dtype,
  float *scales, uint8_t *codes, qcodec_statistics *statistics, const qcodec_spacing *spacing);

/// Encodes a first moment in the update domain: u = x / divisors in blocks, scales rounded to 16 bits, quotients beyond
/// ±1 as ±1; otherwise as qcodec_encode_blocks. scratch: a block of floats. Finds too what decodes to values that are
/// not finite.
int qcodec_encode_update(
  int level, const qcodec_table *table, const float *x, const float *divisors, size_t count, size_t block, int rule,
  int dtype, float *scales, uint8_t *codes, float *scratch, qcodec_statistics *statistics,
  const qcodec_spacing *spacing);

/// Prepares what takes the place of divisions by column scales in encoding; returns 0 where a table has no such thing.
int qcodec_inverses(int level, const qcodec_table *table, const float *columns, size_t length, float *inverses);

/// Encodes elements under scales of rows and columns; otherwise as qcodec_encode_blocks. Scales may be zero, and no
/// element's magnitude is above its scale's.
int qcodec_encode_scaled(
  int level, const qcodec_table *table, const float *x, size_t count, const qcodec_scale_rows *scales, int dtype,
  uint8_t *codes, qcodec_statistics *statistics);

/// Decodes `count` elements of blocks from element `first` of the codes and scales on: value = map[code] · scale + 0.
void qcodec_decode_blocks(
  int level, const qcodec_table *table, const uint8_t *codes, const float *scales, size_t first, size_t count,
  size_t block, float *values);

/// Decodes `count` elements under scales of rows and columns, from element `first` of the codes on.
void qcodec_decode_scaled(
  int level, const qcodec_table *table, const uint8_t *codes, size_t first, size_t count,
  const qcodec_scale_rows *scales, float *values);

/// Encodes elements under the log map: the two ends of each block, then codes. Returns as qcodec_encode_blocks.
///
/// bits: 2 to 8, of which K follows. Here and below codes of 4 bits lie two a byte, those of every other width one a byte.
int qcodec_encode_log(
  int level, const float *x, size_t count, size_t block, int bits, int dtype, float *ends, uint8_t *codes,
  qcodec_statistics *statistics, const qcodec_spacing *spacing);

/// Decodes elements of log blocks, whose ends were checked, from element `first` of the codes and ends on.
void qcodec_decode_log(
  int level, const uint8_t *codes, const float *ends, size_t first, size_t count, size_t block, int bits,
  float *values);

/// A first moment of the update domain in blocks, with its second moment under the log map.
typedef struct {
  const qcodec_table *table;
  size_t block;
  int rule, dtype;
  size_t second_block;
  int second_bits, second_dtype;
  /// Of either moment, or NULL.
  const qcodec_spacing *spacing, *second_spacing;
} qcodec_pair;

/// Encodes both moments, each as it would be encoded alone. scratch: twice the greater block of floats; statistics: of
/// both moments, or NULL for both. Returns as qcodec_encode_update.
int qcodec_encode_pair(
  int level, const qcodec_pair *pair, const float *first, const float *second, size_t count, float *scales,
  uint8_t *codes, float *ends, uint8_t *second_codes, float *scratch, qcodec_statistics *statistics,
  qcodec_statistics *second_statistics);

/// Decodes elements of both moments, whose ends were checked; second_values may be NULL.
void qcodec_decode_pair(
  int level, const qcodec_pair *pair, const float *scales, const uint8_t *codes, const float *ends,
  const uint8_t *second_codes, size_t first, size_t count, float *values, float *second_values);

/// What coding a pair does to the updates m / (√v + ε) of a chunk; as the reference's.
typedef struct {
  double squared_error[16];
  double squared_update[16];
  double max_abs_error;
  uint64_t zeroed;
  uint64_t sign_changes;
} qcodec_update_error;

/// Takes in the updates of a pair as given and as decoded. Pieces of a chunk but for the last are of a multiple of 16.
void qcodec_measure_updates(
  int level, const float *m, const float *v, const float *decoded_m, const float *decoded_v, size_t count,
  double epsilon, qcodec_update_error *error);

/// Takes extremes further: of each row and of each column of a matrix, NULL where they are not wanted.
///
/// x: `count` elements of a dtype, C order; place: the first one's place in its row of `length` elements; rows: from
/// the first element's row on; columns: `length` of them. Under qcodec_rule_signed an extreme is the element of largest
/// magnitude with its sign, the first among equals; with columns wanted too, those of rows are magnitudes. Under
/// qcodec_rule_magnitude extremes of columns are magnitudes and the signs of those of rows mean nothing. Where an
/// element is not finite, all of them mean nothing.
void qcodec_extremes(
  int level, const void *x, int dtype, size_t place, size_t count, size_t length, int rule, float *rows,
  float *columns);

/// Takes a range further and returns qcodec_found_nonfinite, qcodec_found_negative; with the first of them the range
/// counts for nothing.
int qcodec_scan(int level, const void *x, int dtype, size_t count, qcodec_range *range);

/// values[i] = sqrt(values[i]) where positive, else 1.
void qcodec_divisors(int level, float *values, size_t count);

/// values[i] = values[i] · divisors[i] + 0.
void qcodec_multiply(int level, float *values, const float *divisors, size_t count);

/// Elements of a dtype as float32, exact.
void qcodec_widen(int level, const void *source, int dtype, size_t count, float *values);

/// float32 as elements of a dtype, rounded to nearest even.
void qcodec_narrow(int level, const float *values, int dtype, size_t count, void *target);

/// Byte planes: target[p · count + i] = source[i · planes + p]; planes 2, 4 or 8. The two do not overlap.
void qcodec_split_planes(int level, const void *source, size_t count, int planes, void *target);

/// The inverse: target[i · planes + p] = source[p · count + i].
void qcodec_join_planes(int level, const void *source, size_t count, int planes, void *target);

/// Codes of 2 to 8 bits, one byte each and below 2^bits, as the format stores them: a string of bits, the first code first
/// and the most significant bit of each first; the bits behind the last are zero. target: ⌈count · bits / 8⌉ bytes.
void qcodec_pack_codes(int level, const uint8_t *codes, size_t count, int bits, uint8_t *target);

/// The inverse, from code `first` of the string on; reads no byte behind the last of them.
void qcodec_unpack_codes(
  int level, const uint8_t *packed, size_t first, size_t count, int bits, uint8_t *codes);

#pragma GCC visibility pop

#include "OptimizerKernels.h"

#endif
