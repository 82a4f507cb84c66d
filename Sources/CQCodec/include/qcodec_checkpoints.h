/// Writing, reading and verifying checkpoints. Part of qcodec.h, whose conventions hold.
#ifndef QCODEC_CHECKPOINTS_H
#define QCODEC_CHECKPOINTS_H

#include "qcodec_tensors.h"

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Writing checkpoints

/// A checkpoint being written, strictly forward. A file appears under its name only with qcodec_writer_commit; until then,
/// and after any failure, a previous file stays. After a failure of an `add` other than for its arguments the checkpoint is
/// given up. One thread at a time.
typedef struct qcodec_writer qcodec_writer;

/// An open checkpoint: its directory, checked in full; chunks are read, and checked, when they are asked for. Any number of
/// threads may read.
typedef struct qcodec_reader qcodec_reader;

/// The lossless stage.
enum qcodec_compression { QCODEC_COMPRESSION_NONE = 0, QCODEC_COMPRESSION_LZ4 = 1, QCODEC_COMPRESSION_ZSTD = 2 };

/// What every element of a checkpoint may be asked to keep.
enum qcodec_bound {
  QCODEC_BOUND_NONE = 0,
  /// |x - x'|, x' what is decoded of x.
  QCODEC_BOUND_ABSOLUTE = 1,
  /// |x - x'| / |x|; zero stays zero.
  QCODEC_BOUND_RELATIVE = 2,
  /// |u - u'|, u the update m / (sqrt(v) + epsilon) of a pair of moments; tensors in no pair are lossless.
  QCODEC_BOUND_UPDATE = 3
};

/// How a checkpoint is written. Fill in with qcodec_writer_options_init, then change what is to differ.
typedef struct {
  /// sizeof(qcodec_writer_options), so that later versions may add members. That of options that end before `bound`, as they
  /// once did, is taken too.
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
  /// NULL unless changed: a checkpoint that the one to be written may refer to. What is the same is not stored again, and of
  /// what is not the difference is stored where that is smaller; whoever reads those needs the base. It stays the
  /// caller's, and may be freed once the writer is made.
  const qcodec_reader *base;
  /// NULL unless changed: where readers are to look for the base, a path relative to the folder of the file.
  const char *base_name;
  /// A qcodec_bound that every element given to qcodec_writer_add keeps, or 0, as it is unless changed. It is checked with
  /// the decoder's arithmetic, and what the codes do not keep is stored beside them; tensors below 4096 elements are
  /// lossless. The bound chooses schemes itself, so that policies and schemes are refused; it becomes the member
  /// `error_bound` of the metadata, to which qcodec_verify with an original holds the file.
  int32_t bound;
  /// 1 has bound_value in units of the root mean square of each tensor, or of the updates of each pair; 0 unless changed. Not
  /// for QCODEC_BOUND_RELATIVE.
  int32_t bound_is_of_rms;
  /// Above 0, for QCODEC_BOUND_RELATIVE below 1; in units of the elements, for QCODEC_BOUND_UPDATE of one.
  double bound_value;
  /// The epsilon of QCODEC_BOUND_UPDATE, 0 or more; 1e-8 unless changed.
  double bound_epsilon;
} qcodec_writer_options;

void qcodec_writer_options_init(qcodec_writer_options *options);

/// Takes the next `size` bytes of a checkpoint; returns 0, or another number to fail with QCODEC_IO. Called on the thread
/// that adds and commits.
typedef int32_t (*qcodec_write_function)(void *context, const void *bytes, size_t size);

/// Fills `target` with `size` bytes from `offset` on; returns 0, or another number to fail with QCODEC_IO. Called from any
/// thread, several at a time.
typedef int32_t (*qcodec_read_function)(void *context, uint64_t offset, void *target, size_t size);

/// Begins a checkpoint that will replace the file at path; options may be NULL. Gives QCODEC_IO,
/// QCODEC_WOULD_OVERWRITE_INPUT where that is the base or one behind it, and QCODEC_INVALID_ARGUMENT for options that cannot
/// be, a bound among them.
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
/// that the format gives a meaning (`metadata`, `policy`, `error_bound`, `base`) are refused. Gives what
/// qcodec_writer_set_metadata gives.
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
  /// Delivers ranges of the elements, each once or twice, more often under a bound; used where `data` is NULL.
  qcodec_read_function read;
  void *context;
} qcodec_tensor;

/// Adds tensors by a policy, moments in the update domain with their partners; chunks of all are made in parallel.
///
/// The policy decides over the tensors of one call: partners must come together. Its document becomes part of the metadata.
/// Under a bound policy is NULL: moments are pairs by the names that `adam8` knows, and nothing is dropped.
/// dropped: NULL, or `count` bytes that tell which tensors the policy drops. Gives QCODEC_INVALID_NAME,
/// QCODEC_DUPLICATE_NAME, QCODEC_INVALID_SHAPE, QCODEC_SHAPE_MISMATCH, QCODEC_UNSUPPORTED_SCHEME before anything is
/// written; QCODEC_NON_FINITE_VALUE, QCODEC_NEGATIVE_VALUE and QCODEC_IO.
qcodec_status qcodec_writer_add(
  qcodec_writer *writer, const qcodec_tensor *tensors, size_t count, const qcodec_policy *policy, uint8_t *dropped,
  qcodec_error **error);

/// Adds one tensor under a scheme of the value domain; NULL is lossless, and all there is under a bound.
qcodec_status qcodec_writer_add_tensor(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, qcodec_error **error);

/// Fills `target` with up to `capacity` of the next bytes of a tensor and gives their number, 1 or more; returns 0, or
/// another number to fail with QCODEC_IO. Called on the thread that adds.
typedef int32_t (*qcodec_next_function)(void *context, void *target, size_t capacity, size_t *size);

/// Adds one tensor whose bytes come once and in order; `data` and `read` of the tensor are not used. Block schemes and
/// lossless only, under a bound lossless only: others need a second look.
qcodec_status qcodec_writer_add_pushed(
  qcodec_writer *writer, const qcodec_tensor *tensor, const qcodec_scheme *scheme, qcodec_next_function next,
  void *context, qcodec_error **error);

/// Adds a tensor that another system quantized, its codes and scales as they are, under a bound too: nothing is coded.
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

/// Adds a tensor that lies in memory as a stream, as it is: what an optimizer keeps. Nothing is lost, with a bound or without;
/// the file says what the scheme guarantees.
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

/// Opens a checkpoint file. Gives QCODEC_IO, QCODEC_NOT_A_CHECKPOINT with what the file is instead, and an error with its
/// byte offset for each defect.
///
/// The base of one that has a base is looked for at the place that is recorded, from the folder of the file on. Where it is
/// not there the checkpoint opens all the same: what needs it gives QCODEC_BASE_MISSING, or QCODEC_BASE_MISMATCH where
/// another checkpoint is in its place.
qcodec_status qcodec_reader_open(const char *path, qcodec_reader **reader, qcodec_error **error);

/// Opens a checkpoint file whose base may be the file at another path; that counts if it is the base, or one behind it.
qcodec_status qcodec_reader_open_base(
  const char *path, const char *base, qcodec_reader **reader, qcodec_error **error);

/// Gives another reader of an open checkpoint, with a base at hand, if that is the one it refers to or one behind it. Nothing
/// is read; both stay the caller's, and may be freed in any order.
qcodec_status qcodec_reader_with_base(
  const qcodec_reader *reader, const qcodec_reader *base, qcodec_reader **with_base, qcodec_error **error);

/// The base that a checkpoint refers to, as JSON: `digest`, `name` (where it is to be found, or null) and `found`; "null" for
/// one that stands alone. Gives QCODEC_METADATA_CORRUPT.
qcodec_status qcodec_reader_base(const qcodec_reader *reader, char **json, qcodec_error **error);

/// Opens a checkpoint on a descriptor of a regular file, which stays the caller's. A base is looked for by
/// qcodec_reader_open_fd_at alone: a descriptor has no place.
qcodec_status qcodec_reader_open_fd(int32_t descriptor, qcodec_reader **reader, qcodec_error **error);

/// As qcodec_reader_open_fd; a base is looked for from a folder on, its path empty for the current one or ending in a slash, or
/// NULL to look for none.
qcodec_status qcodec_reader_open_fd_at(
  int32_t descriptor, const char *folder, qcodec_reader **reader, qcodec_error **error);

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

/// Reads a quantized tensor's scales and codes as they are stored, into exactly qcodec_reader_code_sizes bytes. Gives
/// QCODEC_UNSUPPORTED_SCHEME for a tensor with escapes, values beside its codes, which is more than these.
qcodec_status qcodec_reader_read_codes(
  const qcodec_reader *reader, size_t tensor, void *scales, size_t scales_size, void *codes, size_t codes_size,
  int32_t threads, qcodec_error **error);

/// Reads a quantized tensor as its stream: exactly qcodec_encoded_size bytes, as qcodec_writer_add_stream takes it. Gives
/// QCODEC_INVALID_ARGUMENT for a lossless tensor, QCODEC_UNSUPPORTED_SCHEME for one with escapes, QCODEC_SHAPE_MISMATCH for
/// another size.
qcodec_status qcodec_reader_read_stream(
  const qcodec_reader *reader, size_t tensor, void *stream, size_t stream_size, int32_t threads, qcodec_error **error);

/// A member of the metadata document as JSON text: "metadata", "policy" or one of a program's own; "null" where there is
/// none. length may be NULL. Gives QCODEC_METADATA_CORRUPT.
qcodec_status qcodec_reader_member(
  const qcodec_reader *reader, const char *member, char **json, size_t *length, qcodec_error **error);

/// What `qcodec inspect --json` prints.
qcodec_status qcodec_reader_summary(const qcodec_reader *reader, char **json, qcodec_error **error);

void qcodec_reader_free(qcodec_reader *reader);

// MARK: Checkpoints that stand alone

/// What qcodec_flatten has done.
typedef struct {
  /// Bytes of the checkpoint as it was, and of the one that was written.
  uint64_t input_bytes;
  uint64_t output_bytes;
  /// All chunks, those that were copied out of the base, and those whose differences were undone.
  uint64_t chunks;
  uint64_t base_chunks;
  uint64_t difference_chunks;
  /// Bases behind one another.
  uint64_t bases;
} qcodec_flattened;

/// Writes a checkpoint anew so that it needs no base; it replaces the file at path once it is whole and on the disk.
///
/// Nothing is coded anew: chunks are copied, those of bases out of the bases, and differences are undone. Where the bases
/// were written with the same options the file is, to the byte, what it would have been without a base. A base that is not
/// found beside the file is given by qcodec_reader_open_base or qcodec_reader_with_base. flattened may be NULL. Gives
/// QCODEC_BASE_MISSING and QCODEC_BASE_MISMATCH, an error with byte offset for each defect of a chunk,
/// QCODEC_WOULD_OVERWRITE_INPUT where path is the checkpoint or one of its bases, QCODEC_IO and QCODEC_CANCELLED; a previous
/// file stays then.
qcodec_status qcodec_flatten(
  const qcodec_reader *reader, const char *path, int32_t threads, qcodec_flattened *flattened, qcodec_error **error);

/// As qcodec_flatten, to an open descriptor, a pipe for instance, which stays open and the caller's.
qcodec_status qcodec_flatten_fd(
  const qcodec_reader *reader, int32_t descriptor, int32_t threads, qcodec_flattened *flattened, qcodec_error **error);

/// As qcodec_flatten, to a function, which is called on the calling thread; what fails lacks its trailer.
qcodec_status qcodec_flatten_function(
  const qcodec_reader *reader, qcodec_write_function write, void *context, int32_t threads, qcodec_flattened *flattened,
  qcodec_error **error);

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
