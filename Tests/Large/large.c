// Checkpoints larger than memory, through the C interface: what no process could hold is generated as it is asked for.
//
//   large write KIND PATH COUNT     large verify KIND PATH COUNT     large rows KIND PATH COUNT
//
// KIND: `pair`, a first and a second moment of COUNT elements under adam8; `momentum`, one tensor of COUNT elements in 4
// bits; `many`, COUNT tensors of 4 to 7 elements; `names`, COUNT tensors of 32 dims whose names are 64 KiB long. `verify`
// holds every element against the original, generated again; `rows` reads slices about the ends and about 2^31 and 2^32 and
// compares them, bit for bit, with the same elements encoded and decoded by themselves.
//
// Prints one line of JSON. Exit status 0; 1 where something is not as it should be; 2 for bad arguments.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <qcodec.h>

static void check(qcodec_status status, qcodec_error *error, const char *what) {
  if (status == QCODEC_OK) return;
  fprintf(stderr, "large: %s: %s\n", what, qcodec_error_description(error));
  exit(1);
}

static void require(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "large: %s\n", what);
  exit(1);
}

static void *room(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  require(memory != NULL, "no memory");
  return memory;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

// MARK: The values

enum { FIRST, SECOND };

static uint32_t hash(uint64_t index) {
  uint32_t x = (uint32_t)index * 0x9E3779B1u ^ (uint32_t)(index >> 32) * 0x85EBCA6Bu;
  x = (x ^ x >> 15) * 0x85EBCA77u;
  x = (x ^ x >> 13) * 0xC2B2AE3Du;
  return x ^ x >> 16;
}

// Element `index`: of changing range, so that no block is like another; of second moments a square, now and then zero.
static float value(int kind, uint64_t index) {
  uint32_t bits = hash(2 * index + (uint64_t)kind), exponent = 100 + (hash(index >> 9) & 15);
  float scale, unit = (float)(int32_t)(bits & 0xFFFFFF) * 0x1p-24f;
  exponent <<= 23;
  memcpy(&scale, &exponent, sizeof scale);
  if (kind == FIRST) return (unit - 0.5f) * scale;
  return bits >> 24 == 0 ? 0 : (unit + 0x1p-20f) * (unit + 0x1p-20f) * (scale * scale);
}

static int32_t read_values(void *context, uint64_t offset, void *target, size_t size) {
  const int kind = *(const int *)context;
  float *values = target;
  // The codec asks for whole elements; of anything else the test would know nothing.
  if (offset % 4 || size % 4) return 1;
  for (size_t i = 0; i < size / 4; i++) values[i] = value(kind, offset / 4 + i);
  return 0;
}

static const int kinds[] = {FIRST, SECOND};

static qcodec_tensor generated(const char *name, int kind, const uint64_t *count) {
  qcodec_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.name = name;
  tensor.dtype = QCODEC_F32;
  tensor.shape = count;
  tensor.dims = 1;
  tensor.size = 4 * *count;
  tensor.read = read_values;
  tensor.context = (void *)(uintptr_t)&kinds[kind];
  return tensor;
}

static size_t tensors_of(const char *kind, const uint64_t *count, qcodec_tensor tensors[2]) {
  if (strcmp(kind, "pair")) {
    tensors[0] = generated("w/momentum_buffer", FIRST, count);
    return 1;
  }
  tensors[0] = generated("w/exp_avg", FIRST, count);
  tensors[1] = generated("w/exp_avg_sq", SECOND, count);
  return 2;
}

// MARK: Many tensors, long names

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

// The name of tensor `index`; of `names` 65,536 bytes. The buffer is the caller's to free.
static char *name_of(const char *kind, uint64_t index) {
  char *name = room(65537);
  if (!strcmp(kind, "many")) {
    snprintf(name, 65537, "layers.%07" PRIu64 ".weight/%s", index / 4, (const char *[]){"exp_avg", "exp_avg_sq", "param", "step"}[index % 4]);
    return name;
  }
  for (size_t i = 0; i < 65536; i++) name[i] = letters[hash(index * 65536 + i) % 26];
  snprintf(name, 65537, "%08" PRIu64, index);
  name[8] = '.';
  name[65536] = 0;
  return name;
}

static size_t small_shape(const char *kind, uint64_t index, uint64_t shape[32]) {
  if (!strcmp(kind, "many")) return shape[0] = 4 + index % 4, (size_t)1;
  for (int i = 0; i < 32; i++) shape[i] = i % 4 == 3 ? 2 : 1;
  return 32;
}

static size_t small_values(const char *kind, uint64_t index, float values[256]) {
  uint64_t shape[32], elements = 1;
  size_t dims = small_shape(kind, index, shape);
  for (size_t i = 0; i < dims; i++) elements *= shape[i];
  for (uint64_t i = 0; i < elements; i++) values[i] = value(FIRST, 256 * index + i);
  return (size_t)elements;
}

static int is_small(const char *kind) { return !strcmp(kind, "many") || !strcmp(kind, "names"); }

// MARK: Writing

static void write_small(qcodec_writer *writer, const char *kind, uint64_t count) {
  qcodec_error *error = NULL;
  enum { batch = 4096 };
  qcodec_policy *policy = NULL;
  check(qcodec_policy_preset("adam8", &policy, &error), error, "policy");
  qcodec_tensor *tensors = room(batch * sizeof *tensors);
  float(*values)[256] = room(batch * sizeof *values);
  uint64_t(*shapes)[32] = room(batch * sizeof *shapes);
  for (uint64_t first = 0; first < count; first += batch) {
    size_t size = count - first < batch ? (size_t)(count - first) : batch;
    memset(tensors, 0, size * sizeof *tensors);
    for (size_t i = 0; i < size; i++) {
      tensors[i].name = name_of(kind, first + i);
      tensors[i].dtype = QCODEC_F32;
      tensors[i].dims = small_shape(kind, first + i, shapes[i]);
      tensors[i].shape = shapes[i];
      tensors[i].size = 4 * small_values(kind, first + i, values[i]);
      tensors[i].data = values[i];
    }
    check(qcodec_writer_add(writer, tensors, size, policy, NULL, &error), error, "add");
    for (size_t i = 0; i < size; i++) free((void *)(uintptr_t)tensors[i].name);
  }
  free(tensors), free(values), free(shapes);
  qcodec_policy_free(policy);
}

static void write_large(qcodec_writer *writer, const char *kind, uint64_t count) {
  qcodec_error *error = NULL;
  qcodec_tensor tensors[2];
  size_t size = tensors_of(kind, &count, tensors);
  qcodec_policy *policy = NULL;
  check(qcodec_policy_preset(size == 2 ? "adam8" : "adam4", &policy, &error), error, "policy");
  check(qcodec_writer_add(writer, tensors, size, policy, NULL, &error), error, "add");
  qcodec_policy_free(policy);
}

static void write_file(const char *kind, const char *path, uint64_t count) {
  qcodec_error *error = NULL;
  qcodec_writer *writer = NULL;
  qcodec_written written;
  check(qcodec_writer_create(path, NULL, &writer, &error), error, "create");
  (is_small(kind) ? write_small : write_large)(writer, kind, count);
  check(qcodec_writer_commit(writer, &written, &error), error, "commit");
  qcodec_writer_free(writer);
  printf(
    "\"tensors\": %" PRIu64 ", \"elements\": %" PRIu64 ", \"source_bytes\": %" PRIu64 ", \"file_bytes\": %" PRIu64,
    written.tensors, written.elements, written.source_bytes, written.file_bytes);
}

// MARK: Reading

static void verify_large(const qcodec_reader *reader, const char *kind, uint64_t count) {
  qcodec_error *error = NULL;
  qcodec_tensor tensors[2];
  size_t size = tensors_of(kind, &count, tensors);
  check(qcodec_verify_tensors(reader, tensors, size, NULL, NULL, &error), error, "verify");
  for (size_t i = 0; i < size; i++) {
    qcodec_tensor_info info;
    check(qcodec_reader_info(reader, i, &info, &error), error, "info");
    require(info.is_quantized && info.elements == count, "a tensor is not quantized");
    printf("%s\"rel_l2_error_%zu\": %.4g", i ? ", " : "", i, info.measured.rel_l2_error);
  }
}

// Every tensor of a file of small ones, by its name, bit for bit.
static void verify_small(const qcodec_reader *reader, const char *kind, uint64_t count) {
  qcodec_error *error = NULL;
  require(qcodec_reader_count(reader) == count, "another number of tensors");
  char *back = room(65537);
  for (uint64_t i = 0; i < count; i++) {
    float expected[256], got[256];
    uint64_t shape[32];
    char *name = name_of(kind, i);
    int64_t number = qcodec_reader_find(reader, name);
    require(number >= 0, "a name is not found");
    size_t length = qcodec_reader_name(reader, (size_t)number, back, 65537);
    require(length == strlen(name) && !memcmp(back, name, length), "another name");
    qcodec_tensor_info info;
    check(qcodec_reader_info(reader, (size_t)number, &info, &error), error, "info");
    size_t dims = small_shape(kind, i, shape), elements = small_values(kind, i, expected);
    require(info.dims == dims && !memcmp(info.shape, shape, 8 * dims), "another shape");
    qcodec_read_request request = {(size_t)number, got, 4 * elements};
    check(qcodec_reader_read(reader, &request, 1, 1, &error), error, "read");
    require(!memcmp(got, expected, 4 * elements), "another value");
    free(name);
  }
  free(back);
  printf("\"compared\": %" PRIu64, count);
}

// Elements from `first` on, a multiple of every block, encoded and decoded by themselves.
static void alone(
  const qcodec_scheme *scheme, const qcodec_scheme *second, uint64_t first, uint64_t count, float *values, float *second_values
) {
  qcodec_error *error = NULL;
  size_t size = 0, second_size = 0, bytes = 4 * (size_t)count;
  float *x = room(bytes), *v = room(bytes);
  for (uint64_t i = 0; i < count; i++) x[i] = value(FIRST, first + i), v[i] = value(SECOND, first + i);
  check(qcodec_encoded_size(scheme, QCODEC_F32, &count, 1, &size, &error), error, "size");
  void *stream = room(size), *second_stream = NULL;
  if (second) {
    check(qcodec_encoded_size(second, QCODEC_F32, &count, 1, &second_size, &error), error, "size");
    second_stream = room(second_size);
    check(qcodec_encode_moments(scheme, second, &count, 1, x, v, stream, size, second_stream, second_size, 1, NULL, &error), error, "encode");
    check(qcodec_decode_first_moment(scheme, second, &count, 1, stream, size, second_stream, second_size, values, bytes, 1, &error), error, "decode");
    check(qcodec_decode(second, QCODEC_F32, &count, 1, second_stream, second_size, second_values, bytes, 1, &error), error, "decode");
  } else {
    check(qcodec_encode(scheme, QCODEC_F32, &count, 1, "", x, bytes, stream, size, 1, NULL, &error), error, "encode");
    check(qcodec_decode(scheme, QCODEC_F32, &count, 1, stream, size, values, bytes, 1, &error), error, "decode");
  }
  free(x), free(v), free(stream), free(second_stream);
}

static void rows_of_large(const qcodec_reader *reader, uint64_t count) {
  enum { window = 4096 };
  qcodec_error *error = NULL;
  size_t tensors = qcodec_reader_count(reader);
  qcodec_scheme *schemes[2] = {NULL, NULL};
  for (size_t i = 0; i < tensors; i++) check(qcodec_reader_scheme(reader, i, &schemes[i], &error), error, "scheme");
  float *expected[2] = {room(4 * window), room(4 * window)}, *got = room(4 * window);
  const uint64_t middles[] = {0, 262144, UINT64_C(1) << 31, UINT64_C(1) << 32, count};
  int compared = 0;
  for (size_t m = 0; m < sizeof middles / sizeof *middles; m++) {
    if (middles[m] > count) continue;
    uint64_t first = (middles[m] > window / 2 ? middles[m] - window / 2 : 0) / 512 * 512;
    uint64_t size = count - first < window ? count - first : window;
    alone(schemes[0], schemes[1], first, size, expected[0], expected[1]);
    for (size_t i = 0; i < tensors; i++) {
      // Of the block that the window's end cuts, only the reader knows the scale.
      uint64_t whole = first + size == count ? size : size / 512 * 512;
      check(qcodec_reader_read_rows(reader, i, first, whole, got, 4 * (size_t)whole, 2, &error), error, "rows");
      require(!memcmp(got, expected[i], 4 * (size_t)whole), "a slice differs from its elements by themselves");
      // And a slice that starts and ends inside of blocks.
      check(qcodec_reader_read_rows(reader, i, first + 77, 99, got, 4 * 99, 1, &error), error, "rows");
      require(!memcmp(got, expected[i] + 77, 4 * 99), "a short slice differs");
      compared += 2;
    }
  }
  for (int i = 0; i < 2; i++) free(expected[i]), qcodec_scheme_free(schemes[i]);
  free(got);
  printf("\"slices\": %d", compared);
}

int main(int arguments, char **argument) {
  char *end = NULL;
  uint64_t count = arguments == 5 ? strtoull(argument[4], &end, 10) : 0;
  if (arguments != 5 || *end || !count) return fprintf(stderr, "large write|verify|rows KIND PATH COUNT\n"), 2;
  const char *action = argument[1], *kind = argument[2], *path = argument[3];
  if (!is_small(kind) && strcmp(kind, "pair") && strcmp(kind, "momentum")) return fprintf(stderr, "no kind\n"), 2;
  double start = now(), opened = 0;
  printf("{");
  if (!strcmp(action, "write")) {
    write_file(kind, path, count);
  } else {
    qcodec_error *error = NULL;
    qcodec_reader *reader = NULL;
    check(qcodec_reader_open(path, &reader, &error), error, "open");
    opened = now() - start;
    if (!strcmp(action, "rows")) {
      rows_of_large(reader, count);
    } else {
      (is_small(kind) ? verify_small : verify_large)(reader, kind, count);
    }
    qcodec_reader_free(reader);
    printf(", \"open_seconds\": %.4f", opened);
  }
  printf(", \"seconds\": %.3f}\n", now() - start);
  return 0;
}
