// Calls every function of qcodec.h as a program in C does, rightly and wrongly: results, codes, and that nothing crashes.
//
//   cc -std=c11 -Wall -Wextra -Werror test_abi.c $(pkg-config --cflags --libs qcodec) -lm -lpthread && ./a.out FOLDER
//
// Ends with status 1 if any check failed. test_abi.py builds and runs it, also under valgrind.

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qcodec.h"

// MARK: Checks

static int checks = 0;
static int failures = 0;

static void check(int holds, const char *what, const char *file, int line) {
  checks += 1;
  if (holds) return;
  failures += 1;
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

#define CHECK(condition) check((condition) != 0, #condition, __FILE__, __LINE__)

/// The error of the last EXPECT, which frees the one before.
static qcodec_error *last = NULL;

static void expect(int32_t wanted, int32_t got, const char *call, const char *file, int line) {
  checks += 1;
  if (got != wanted || qcodec_error_code(last) != wanted) {
    failures += 1;
    fprintf(stderr, "%s:%d: %s gave %d, not %d: %s\n", file, line, call, got, wanted, qcodec_error_description(last));
  }
}

/// Calls a function whose last parameter is the error, and checks what it returns and what the error says.
#define EXPECT(code, function, ...)                                              \
  do {                                                                           \
    qcodec_error_free(last);                                                     \
    last = NULL;                                                                 \
    expect((code), function(__VA_ARGS__, &last), #function, __FILE__, __LINE__); \
  } while (0)

#define OK(function, ...) EXPECT(QCODEC_OK, function, __VA_ARGS__)
#define REFUSED(function, ...) EXPECT(QCODEC_INVALID_ARGUMENT, function, __VA_ARGS__)

#define HUGE_SIZE ((size_t)INT64_MAX)

/// Not UTF-8.
static const char *const BAD_TEXT = "\xC3\x28";

// MARK: Material

static const char *folder;

static const char *path_of(const char *name) {
  static char paths[8][4096];
  static int turn = 0;
  turn = (turn + 1) % 8;
  snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
  return paths[turn];
}

static int exists(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

/// Hidden temporary files count too.
static int is_clean(const char *name) { return !exists(path_of(name)); }

static void *memory(size_t size) {
  void *result = calloc(size > 0 ? size : 1, 1);
  if (result == NULL) abort();
  return result;
}

/// The same in every run.
static float uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(*state >> 40) / 16777216.0f;
}

enum { ROWS = 200, COLUMNS = 100, COUNT = ROWS * COLUMNS };
static const uint64_t SHAPE[2] = {ROWS, COLUMNS};
static float first[COUNT], second[COUNT], weights[COUNT], scratch[COUNT];
static const uint64_t WIDE[33] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                  1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static void make_material(void) {
  uint64_t state = 1;
  for (int i = 0; i < COUNT; i++) {
    second[i] = powf(10, -12 + 8 * uniform(&state));
    first[i] = (uniform(&state) * 2 - 1) * sqrtf(second[i]);
    weights[i] = uniform(&state) * 2 - 1;
  }
}

static qcodec_tensor tensor_of(const char *name, const float *data) {
  qcodec_tensor tensor = {0};
  tensor.name = name;
  tensor.dtype = QCODEC_F32;
  tensor.shape = SHAPE;
  tensor.dims = 2;
  tensor.data = data;
  tensor.size = sizeof first;
  return tensor;
}

static qcodec_scheme *scheme_of(int32_t map, int32_t bits, int32_t is_signed, int32_t scaling, int32_t domain) {
  qcodec_scheme *scheme = NULL;
  OK(qcodec_scheme_create, map, bits, is_signed, scaling, 0, domain, &scheme);
  CHECK(scheme != NULL);
  return scheme;
}

static qcodec_scheme *dynamic8(void) {
  return scheme_of(QCODEC_MAP_DYNAMIC, 8, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_VALUE);
}

// MARK: Callbacks

/// Bytes in memory that functions of the library read and write; `countdown` calls succeed, where it is positive.
typedef struct {
  unsigned char *bytes;
  size_t size, capacity, position;
  int32_t countdown;
  int32_t status;
  pthread_mutex_t lock;
  int calls;
} Memory;

static Memory memory_of(size_t capacity) {
  Memory result = {.bytes = memory(capacity), .capacity = capacity, .lock = PTHREAD_MUTEX_INITIALIZER};
  return result;
}

static int32_t counted(Memory *memory) {
  pthread_mutex_lock(&memory->lock);
  memory->calls += 1;
  int32_t status = memory->status != 0 && memory->calls > memory->countdown ? memory->status : 0;
  pthread_mutex_unlock(&memory->lock);
  return status;
}

static int32_t write_memory(void *context, const void *bytes, size_t size) {
  Memory *memory = context;
  int32_t status = counted(memory);
  if (status != 0) return status;
  if (size > memory->capacity - memory->size) return -1;
  memcpy(memory->bytes + memory->size, bytes, size);
  memory->size += size;
  return 0;
}

static int32_t read_memory(void *context, uint64_t offset, void *target, size_t size) {
  Memory *memory = context;
  int32_t status = counted(memory);
  if (status != 0) return status;
  if (offset > memory->size || size > memory->size - offset) return -2;
  memcpy(target, memory->bytes + offset, size);
  return 0;
}

/// Gives pieces of odd sizes.
static int32_t next_piece(void *context, void *target, size_t capacity, size_t *size) {
  Memory *memory = context;
  int32_t status = counted(memory);
  if (status != 0) return status;
  size_t piece = memory->size - memory->position;
  if (piece > 777) piece = 777;
  if (piece > capacity) piece = capacity;
  memcpy(target, memory->bytes + memory->position, piece);
  memory->position += piece;
  *size = piece;
  return 0;
}

/// Claims whatever number its context says.
static int32_t next_claim(void *context, void *target, size_t capacity, size_t *size) {
  (void)target;
  (void)capacity;
  *size = *(size_t *)context;
  return 0;
}

// MARK: Versions and errors

static void test_versions(void) {
  CHECK(qcodec_abi_version() == QCODEC_ABI_VERSION);
  CHECK(strcmp(qcodec_version(), "0.1.0") == 0);
  CHECK(qcodec_version() == qcodec_version());
  CHECK(qcodec_available_threads() >= 1);
}

static void test_errors(void) {
  uint64_t number = 7;
  CHECK(qcodec_error_code(NULL) == QCODEC_OK);
  CHECK(strcmp(qcodec_error_message(NULL), "") == 0);
  CHECK(strcmp(qcodec_error_description(NULL), "") == 0);
  CHECK(qcodec_error_tensor(NULL) == NULL);
  CHECK(qcodec_error_offset(NULL, &number) == 0 && qcodec_error_element(NULL, &number) == 0 && number == 7);
  qcodec_error_free(NULL);
  qcodec_string_free(NULL);

  // An element that no scheme holds is named, by tensor and place.
  qcodec_scheme *scheme = dynamic8();
  size_t size = 0;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, 2, &size);
  void *stream = memory(size);
  memcpy(scratch, weights, sizeof scratch);
  scratch[12345] = NAN;
  EXPECT(
    QCODEC_NON_FINITE_VALUE, qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, "größe", scratch, sizeof scratch, stream, size,
    1, NULL);
  CHECK(strcmp(qcodec_error_tensor(last), "größe") == 0);
  CHECK(qcodec_error_element(last, &number) == 1 && number == 12345);
  CHECK(qcodec_error_element(last, NULL) == 1);
  CHECK(qcodec_error_offset(last, &number) == 0 && number == 12345);
  CHECK(strlen(qcodec_error_message(last)) > 0);
  CHECK(strstr(qcodec_error_description(last), qcodec_error_message(last)) == qcodec_error_description(last));
  CHECK(strstr(qcodec_error_description(last), "12345") != NULL);
  // Nobody listens, and a place that held something: it is set where nothing fails, too.
  CHECK(
    qcodec_encode(
      scheme, QCODEC_F32, SHAPE, 2, NULL, scratch, sizeof scratch, stream, size, 1, NULL, NULL)
    == QCODEC_NON_FINITE_VALUE);
  qcodec_error *error = last;
  CHECK(qcodec_encoded_size(scheme, QCODEC_F32, SHAPE, 2, &size, &error) == QCODEC_OK && error == NULL);
  free(stream);
  qcodec_scheme_free(scheme);
}

static void test_types(void) {
  static const uint32_t bits[24] = {0, 32, 64, 16, 16, 8, 16, 32, 64, 8, 16, 32, 64, 8, 8, 8, 8, 8, 8, 64, 128, 4, 6, 6};
  for (int32_t dtype = 0; dtype < 24; dtype++) CHECK(qcodec_dtype_bits(dtype) == bits[dtype]);
  CHECK(qcodec_dtype_bits(24) == 0 && qcodec_dtype_bits(-1) == 0);
  CHECK(qcodec_dtype_bits(257) == 0 && qcodec_dtype_bits(INT32_MIN) == 0 && qcodec_dtype_bits(INT32_MAX) == 0);
}

// MARK: Schemes

static void test_schemes(void) {
  char *text = NULL;
  float table[256];
  for (int i = 0; i < 256; i++) table[i] = -7;
  qcodec_scheme *scheme = NULL;
  OK(qcodec_scheme_create, QCODEC_MAP_DYNAMIC, 8, 1, QCODEC_SCALING_BLOCK, 64, QCODEC_DOMAIN_VALUE, &scheme);
  OK(qcodec_scheme_text, scheme, &text);
  CHECK(text != NULL && strstr(text, "\"dynamic\"") != NULL && strstr(text, "64") != NULL);
  CHECK(qcodec_scheme_table(scheme, NULL, 0) == 256 && qcodec_scheme_table(scheme, table, 255) == 256 && table[0] == -7);
  CHECK(qcodec_scheme_table(scheme, table, 256) == 256 && table[255] == 1);
  table[255] = -7;
  CHECK(qcodec_scheme_table(scheme, table, SIZE_MAX) == 256 && table[255] == 1);
  CHECK(qcodec_scheme_table(NULL, table, 256) == 0);

  // Its own text makes the same scheme.
  qcodec_scheme *same = NULL;
  char *again = NULL;
  OK(qcodec_scheme_parse, text, &same);
  OK(qcodec_scheme_text, same, &again);
  CHECK(text != NULL && again != NULL && strcmp(text, again) == 0);
  qcodec_string_free(again);
  qcodec_string_free(text);

  OK(qcodec_scheme_set_rounding, scheme, QCODEC_ROUNDING_STOCHASTIC, 42);
  OK(qcodec_scheme_set_scale_rule, scheme, QCODEC_SCALE_ABSMAX);
  OK(qcodec_scheme_text, scheme, &text);
  CHECK(text != NULL && strstr(text, "stochastic") && strstr(text, "42") && strstr(text, "absmax"));
  REFUSED(qcodec_scheme_set_rounding, scheme, 0, 0);
  REFUSED(qcodec_scheme_set_rounding, scheme, 5, 0);
  REFUSED(qcodec_scheme_set_rounding, scheme, -1, 0);
  REFUSED(qcodec_scheme_set_rounding, scheme, 257, 0);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_set_rounding, scheme, QCODEC_ROUNDING_NEAREST, 42);
  REFUSED(qcodec_scheme_set_rounding, NULL, QCODEC_ROUNDING_NEAREST, 0);
  REFUSED(qcodec_scheme_set_scale_rule, scheme, 0);
  REFUSED(qcodec_scheme_set_scale_rule, scheme, 4);
  REFUSED(qcodec_scheme_set_scale_rule, scheme, INT32_MIN);
  REFUSED(qcodec_scheme_set_scale_rule, NULL, QCODEC_SCALE_ABSMAX);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_set_scale_rule, scheme, QCODEC_SCALE_UNKNOWN);
  // What failed changed nothing.
  OK(qcodec_scheme_text, scheme, &again);
  CHECK(text != NULL && again != NULL && strcmp(text, again) == 0);
  qcodec_string_free(again);
  qcodec_string_free(text);
  REFUSED(qcodec_scheme_text, scheme, NULL);
  REFUSED(qcodec_scheme_text, NULL, &text);
  qcodec_scheme_free(same);
  qcodec_scheme_free(scheme);
  qcodec_scheme_free(NULL);

  // Log has no table; its block is twice as long.
  scheme = scheme_of(QCODEC_MAP_LOG, 8, 0, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_VALUE);
  CHECK(qcodec_scheme_table(scheme, table, 256) == 0);
  OK(qcodec_scheme_text, scheme, &text);
  CHECK(text != NULL && strstr(text, "512") != NULL);
  qcodec_string_free(text);
  qcodec_scheme_free(scheme);

  // Every map in every form: a scheme or a refusal, and NULL with it.
  for (int32_t map = -1; map <= 9; map++) {
    for (int32_t bits = 0; bits <= 9; bits++) {
      for (int32_t scaling = 0; scaling <= 6; scaling++) {
        for (int32_t form = 0; form < 6; form++) {
          scheme = (qcodec_scheme *)table;
          qcodec_status status =
            qcodec_scheme_create(map, bits, form % 2, scaling, 0, form / 2, &scheme, NULL);
          int is_good = status == QCODEC_OK && scheme != NULL;
          int is_refused =
            (status == QCODEC_UNSUPPORTED_SCHEME || status == QCODEC_INVALID_ARGUMENT) && scheme == NULL;
          CHECK(is_good || is_refused);
          if (map < 1 || map > 8 || map == QCODEC_MAP_CUSTOM || scaling < 1 || scaling > 5 || form / 2 > 1) {
            CHECK(status == QCODEC_INVALID_ARGUMENT);
          } else if (bits < 2 || bits == 7 || bits > 8) {
            CHECK(status == QCODEC_UNSUPPORTED_SCHEME);
          } else if (map == QCODEC_MAP_LINEAR && form < 2) {
            CHECK(is_good);
          }
          qcodec_scheme_free(scheme);
        }
      }
    }
  }
  static const uint32_t blocks[] = {1, 16, 31, 33, 100, 131072, UINT32_MAX, 0x80000000u};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_create, 1, 8, 1, QCODEC_SCALING_BLOCK, blocks[i], 0, &scheme);
  }
  REFUSED(qcodec_scheme_create, 1, 8, 1, QCODEC_SCALING_ROW, 64, 0, &scheme);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_create, 1, INT32_MIN, 1, QCODEC_SCALING_BLOCK, 0, 0, &scheme);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_create, 1, INT32_MAX, 1, QCODEC_SCALING_BLOCK, 0, 0, &scheme);
  REFUSED(qcodec_scheme_create, INT32_MAX, 8, 1, 2, 0, 0, &scheme);
  REFUSED(qcodec_scheme_create, 1, 8, 1, INT32_MAX, 0, 0, &scheme);
  REFUSED(qcodec_scheme_create, 1, 8, 1, 2, 0, INT32_MAX, &scheme);
  REFUSED(qcodec_scheme_create, 1, 8, 1, 2, 0, 0, NULL);

  REFUSED(qcodec_scheme_parse, NULL, &scheme);
  REFUSED(qcodec_scheme_parse, BAD_TEXT, &scheme);
  REFUSED(qcodec_scheme_parse, "{}", NULL);
  EXPECT(QCODEC_INVALID_JSON, qcodec_scheme_parse, "", &scheme);
  EXPECT(QCODEC_INVALID_JSON, qcodec_scheme_parse, "{\"map\":", &scheme);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_scheme_parse, "{}", &scheme);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_scheme_parse, "[]", &scheme);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_scheme_parse, "{\"map\": \"nothing\", \"bits\": 8}", &scheme);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_scheme_parse, "{\"map\": \"dynamic\", \"bits\": 1e300}", &scheme);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_scheme_parse, "{\"map\": \"dynamic\", \"bits\": 8, \"block\": -1}", &scheme);
  CHECK(scheme == NULL);
}

static void test_custom_schemes(void) {
  float table[256], copy[256];
  for (int i = 0; i < 256; i++) table[i] = (float)i / 255;
  qcodec_scheme *scheme = NULL;
  OK(qcodec_scheme_create_custom, table, 256, 0, 0, QCODEC_SCALING_BLOCK, 0, &scheme);
  CHECK(qcodec_scheme_table(scheme, copy, 256) == 256 && memcmp(table, copy, sizeof table) == 0);
  qcodec_scheme_free(scheme);
  OK(qcodec_scheme_create_custom, table + 240, 16, 1, 0, QCODEC_SCALING_ROW, 0, &scheme);
  CHECK(qcodec_scheme_table(scheme, copy, 16) == 16);
  qcodec_scheme_free(scheme);
  static const size_t widths[] = {4, 8, 32, 64};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
    OK(qcodec_scheme_create_custom, table + 256 - widths[i], widths[i], 0, 0, QCODEC_SCALING_TENSOR, 0, &scheme);
    CHECK(qcodec_scheme_table(scheme, copy, 256) == widths[i]);
    qcodec_scheme_free(scheme);
  }
  static const size_t counts[] = {0, 1, 2, 5, 15, 17, 128, 255, 257, HUGE_SIZE, SIZE_MAX};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    EXPECT(QCODEC_INVALID_MAP_TABLE, qcodec_scheme_create_custom, table, counts[i], 0, 0, 2, 0, &scheme);
  }
  REFUSED(qcodec_scheme_create_custom, NULL, 256, 0, 0, 2, 0, &scheme);
  REFUSED(qcodec_scheme_create_custom, table, 256, 0, 0, 2, 0, NULL);
  REFUSED(qcodec_scheme_create_custom, table, 256, 0, 0, 0, 0, &scheme);
  REFUSED(qcodec_scheme_create_custom, table, 256, 0, 0, QCODEC_SCALING_TENSOR, 64, &scheme);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_create_custom, table, 256, 0, 0, 2, 3, &scheme);

  // Order and range are those of an import alone, infinities nobody's.
  table[3] = 2;
  EXPECT(QCODEC_INVALID_MAP_TABLE, qcodec_scheme_create_custom, table, 256, 0, 0, 2, 0, &scheme);
  table[4] = NAN;
  EXPECT(QCODEC_INVALID_MAP_TABLE, qcodec_scheme_create_custom, table, 256, 0, 0, 2, 0, &scheme);
  OK(qcodec_scheme_create_custom, table, 256, 0, 1, 2, 0, &scheme);
  CHECK(qcodec_scheme_table(scheme, copy, 256) == 256 && memcmp(table, copy, sizeof table) == 0);
  // It is read by, never encoded with, whatever is set.
  size_t size = 0;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, 2, &size);
  void *stream = memory(size);
  for (int32_t rounding = 1; rounding <= 4; rounding++) {
    (void)qcodec_scheme_set_scale_rule(scheme, QCODEC_SCALE_ABSMAX, NULL);
    // Nothing is known of how its codes were chosen.
    if (rounding != QCODEC_ROUNDING_UNKNOWN) {
      EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_scheme_set_rounding, scheme, rounding, 0);
    } else {
      OK(qcodec_scheme_set_rounding, scheme, rounding, 0);
    }
    EXPECT(
      QCODEC_UNSUPPORTED_SCHEME, qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, NULL, second, sizeof second, stream, size,
      1, NULL);
  }
  free(stream);
  qcodec_scheme_free(scheme);
  table[5] = INFINITY;
  EXPECT(QCODEC_INVALID_MAP_TABLE, qcodec_scheme_create_custom, table, 256, 0, 1, 2, 0, &scheme);
  CHECK(scheme == NULL);
}

// MARK: Tensors in memory

static void test_sizes(void) {
  qcodec_scheme *scheme = dynamic8();
  size_t size = 99;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, NULL, 0, &size);
  CHECK(size == 4 + 1);
  OK(qcodec_encoded_size, scheme, QCODEC_BF16, SHAPE, 2, &size);
  CHECK(size == COUNT + 4 * ((COUNT + 255) / 256));
  OK(qcodec_encoded_size, scheme, QCODEC_F32, WIDE, 32, &size);
  CHECK(size == 5);
  size = 99;
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_encoded_size, scheme, QCODEC_F32, WIDE, 33, &size);
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, SIZE_MAX, &size);
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, HUGE_SIZE, &size);
  REFUSED(qcodec_encoded_size, scheme, QCODEC_F32, NULL, 2, &size);
  REFUSED(qcodec_encoded_size, NULL, QCODEC_F32, SHAPE, 2, &size);
  REFUSED(qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, 2, NULL);
  static const int32_t bad[] = {0, -1, 24, 256 + 1, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    REFUSED(qcodec_encoded_size, scheme, bad[i], SHAPE, 2, &size);
  }
  for (int32_t dtype = 1; dtype < 24; dtype++) {
    if (dtype == QCODEC_F32 || dtype == QCODEC_F16 || dtype == QCODEC_BF16) continue;
    EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encoded_size, scheme, dtype, SHAPE, 2, &size);
  }
  static const uint64_t absurd[][2] = {
    {UINT64_MAX, 1}, {UINT64_MAX, UINT64_MAX}, {1ull << 32, 1ull << 32}, {1ull << 62, 1}, {INT64_MAX, 2}};
  for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
    for (int32_t scaling = 1; scaling <= 5; scaling++) {
      qcodec_scheme *other = scheme_of(QCODEC_MAP_LINEAR, 4, scaling != 5, scaling, 0);
      EXPECT(QCODEC_LIMIT_EXCEEDED, qcodec_encoded_size, other, QCODEC_F32, absurd[i], 2, &size);
      qcodec_scheme_free(other);
    }
  }
  CHECK(size == 99);
  static const uint64_t none[][2] = {{0, UINT64_MAX}, {UINT64_MAX, 0}};
  for (int i = 0; i < 2; i++) {
    for (int32_t scaling = 1; scaling <= 5; scaling++) {
      qcodec_scheme *other = scheme_of(QCODEC_MAP_LINEAR, 4, scaling != 5, scaling, 0);
      size = 99;
      OK(qcodec_encoded_size, other, QCODEC_F32, none[i], 2, &size);
      CHECK(size == 0);
      OK(qcodec_encode, other, QCODEC_F32, none[i], 2, NULL, NULL, 0, NULL, 0, 1, NULL);
      OK(qcodec_decode, other, QCODEC_F32, none[i], 2, NULL, 0, NULL, 0, 1);
      OK(qcodec_decode_rows, other, QCODEC_F32, none[i], 2, NULL, 0, 0, none[i][0], NULL, 0, 1);
      qcodec_scheme_free(other);
    }
  }
  qcodec_scheme_free(scheme);
}

static void test_coding(void) {
  qcodec_scheme *scheme = dynamic8();
  size_t size = 0;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, 2, &size);
  unsigned char *stream = memory(size + 1), *other = memory(size + 1);
  qcodec_measured measured;
  memset(&measured, 0xEE, sizeof measured);
  stream[size] = 0xEE;
  OK(
    qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, "w", weights, sizeof weights, stream, size + 1, 1, &measured);
  CHECK(stream[size] == 0xEE);
  // The same bytes whatever the threads and alignment.
  unsigned char *shifted = memory(sizeof weights + 1);
  memcpy(shifted + 1, weights, sizeof weights);
  static const int32_t threads[] = {0, -5, 2, INT32_MIN, INT32_MAX};
  for (int i = 0; i < 5; i++) {
    OK(
      qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, NULL, shifted + 1, sizeof weights, other + 1, size, threads[i], NULL);
    CHECK(memcmp(stream, other + 1, size) == 0);
  }
  free(shifted);
  float decoded[COUNT];
  OK(qcodec_decode, scheme, QCODEC_F32, SHAPE, 2, stream, size, decoded, sizeof decoded, 2);
  double worst = 0;
  for (int i = 0; i < COUNT; i++) worst = fmax(worst, fabs((double)weights[i] - decoded[i]));
  CHECK(worst == measured.max_abs_error && worst > 0 && worst <= measured.guaranteed_max_abs_error);
  CHECK(measured.max_scaled_error > 0 && measured.rel_l2_error > 0 && measured.rel_l2_error < 0.05);
  CHECK(isnan(measured.guaranteed_max_rel_error));
  CHECK(measured.zeros_created < COUNT && measured.sign_changes == 0);

  OK(qcodec_decode_rows, scheme, QCODEC_F32, SHAPE, 2, stream, size, 33, 5, scratch, 5 * COLUMNS * 4, 1);
  CHECK(memcmp(scratch, decoded + 33 * COLUMNS, 5 * COLUMNS * 4) == 0);
  OK(qcodec_decode_rows, scheme, QCODEC_F32, SHAPE, 2, stream, size, ROWS, 0, NULL, 0, 1);
  static const uint64_t beyond[][2] = {{ROWS, 1}, {0, ROWS + 1}, {UINT64_MAX, 1}, {UINT64_MAX, 0}, {1, UINT64_MAX},
                                       {UINT64_MAX, UINT64_MAX}};
  for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
    REFUSED(
      qcodec_decode_rows, scheme, QCODEC_F32, SHAPE, 2, stream, size, beyond[i][0], beyond[i][1], scratch,
      sizeof scratch, 1);
  }
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, size, 0, 2, scratch, 799, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, size, 0, 2, scratch, 801, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, size - 1, 0, 2, scratch, 800, 1);
  REFUSED(qcodec_decode_rows, NULL, 1, SHAPE, 2, stream, size, 0, 2, scratch, 800, 1);
  REFUSED(qcodec_decode_rows, scheme, 1, NULL, 2, stream, size, 0, 2, scratch, 800, 1);
  REFUSED(qcodec_decode_rows, scheme, 1, SHAPE, 2, NULL, size, 0, 2, scratch, 800, 1);
  REFUSED(qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, size, 0, 2, NULL, 800, 1);
  REFUSED(qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, SIZE_MAX, 0, 2, scratch, 800, 1);
  REFUSED(qcodec_decode_rows, scheme, 1, SHAPE, 2, stream, size, 0, 2, scratch, HUGE_SIZE, 1);

  // Sizes of encode.
  size_t bytes = sizeof weights;
  EXPECT(QCODEC_BUFFER_TOO_SMALL, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, other, size - 1, 1, NULL);
  EXPECT(QCODEC_BUFFER_TOO_SMALL, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, NULL, 0, 1, NULL);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes - 4, other, size, 1, NULL);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes + 4, other, size, 1, NULL);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_encode, scheme, 1, SHAPE, 2, "w", NULL, 0, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, SIZE_MAX, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, HUGE_SIZE, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, other, SIZE_MAX, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, "w", NULL, bytes, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, NULL, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, NULL, 2, "w", weights, bytes, other, size, 1, NULL);
  REFUSED(qcodec_encode, NULL, 1, SHAPE, 2, "w", weights, bytes, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 99, SHAPE, 2, "w", weights, bytes, other, size, 1, NULL);
  REFUSED(qcodec_encode, scheme, 1, SHAPE, 2, BAD_TEXT, weights, bytes, other, size, 1, NULL);
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_encode, scheme, 1, WIDE, 33, "w", weights, bytes, other, size, 1, NULL);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encode, scheme, QCODEC_F64, SHAPE, 2, "w", weights, bytes, other, size, 1, NULL);

  // And of decode.
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode, scheme, 1, SHAPE, 2, stream, size - 1, decoded, bytes, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode, scheme, 1, SHAPE, 2, stream, size + 1, decoded, bytes, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode, scheme, 1, SHAPE, 2, stream, size, decoded, bytes - 1, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode, scheme, 1, SHAPE, 2, NULL, 0, decoded, bytes, 1);
  REFUSED(qcodec_decode, scheme, 1, SHAPE, 2, stream, SIZE_MAX, decoded, bytes, 1);
  REFUSED(qcodec_decode, scheme, 1, SHAPE, 2, stream, size, decoded, SIZE_MAX, 1);
  REFUSED(qcodec_decode, scheme, 1, SHAPE, 2, NULL, size, decoded, bytes, 1);
  REFUSED(qcodec_decode, scheme, 1, SHAPE, 2, stream, size, NULL, bytes, 1);
  REFUSED(qcodec_decode, NULL, 1, SHAPE, 2, stream, size, decoded, bytes, 1);
  REFUSED(qcodec_decode, scheme, -1, SHAPE, 2, stream, size, decoded, bytes, 1);
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_decode, scheme, 1, WIDE, 33, stream, size, decoded, bytes, 1);

  // What no encoder writes: a scale that is not finite.
  float nan = NAN;
  memcpy(other, stream, size);
  memcpy(other, &nan, 4);
  EXPECT(QCODEC_INVALID_SCALE, qcodec_decode, scheme, 1, SHAPE, 2, other, size, decoded, bytes, 1);
  for (size_t i = 0; i < size; i++) other[i] = (unsigned char)(i * 37);
  qcodec_status status = qcodec_decode(scheme, 1, SHAPE, 2, other, size, decoded, bytes, 1, NULL);
  CHECK(status == QCODEC_OK || status == QCODEC_INVALID_SCALE || status == QCODEC_INVALID_CODE);
  qcodec_scheme_free(scheme);

  scheme = scheme_of(QCODEC_MAP_LINEAR, 8, 0, QCODEC_SCALING_BLOCK, 0);
  EXPECT(QCODEC_NEGATIVE_VALUE, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, stream, size, 1, NULL);
  uint64_t element = 0;
  CHECK(qcodec_error_element(last, &element) == 1 && weights[element] < 0);
  qcodec_scheme_free(scheme);
  scheme = scheme_of(QCODEC_MAP_LINEAR, 8, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_UPDATE);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encode, scheme, 1, SHAPE, 2, "w", weights, bytes, stream, size, 1, NULL);
  qcodec_scheme_free(scheme);
  free(other);
  free(stream);
}

/// The caller's rounding changes nothing, and is as it was afterwards.
/// Streams of 3 bits: sizes, rows that begin in the middle of a byte, and bits after the last code.
static void test_three_bits(void) {
  qcodec_scheme *scheme = scheme_of(QCODEC_MAP_LINEAR, 3, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_VALUE);
  static const uint64_t shape[2] = {77, 5};
  enum { ELEMENTS = 77 * 5, BLOCK_BYTES = 4 * ((ELEMENTS + 127) / 128), SIZE = BLOCK_BYTES + (ELEMENTS * 3 + 7) / 8 };
  size_t size = 0;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, shape, 2, &size);
  CHECK(size == SIZE);
  unsigned char stream[SIZE];
  float decoded[ELEMENTS], part[15];
  qcodec_measured measured;
  OK(qcodec_encode, scheme, QCODEC_F32, shape, 2, "w", weights, ELEMENTS * 4, stream, size, 1, &measured);
  OK(qcodec_decode, scheme, QCODEC_F32, shape, 2, stream, size, decoded, sizeof decoded, 1);
  double worst = 0;
  for (int i = 0; i < ELEMENTS; i++) worst = fmax(worst, fabs((double)weights[i] - decoded[i]));
  // A sixth of the scale, which is at most 1.
  CHECK(worst == measured.max_abs_error && worst <= measured.guaranteed_max_abs_error && worst < 0.1667);
  for (uint64_t row = 0; row + 3 <= 77; row++) {
    OK(qcodec_decode_rows, scheme, QCODEC_F32, shape, 2, stream, size, row, 3, part, sizeof part, 1);
    CHECK(memcmp(part, decoded + row * 5, sizeof part) == 0);
  }
  // 1,155 bits: five of the last byte are behind the last code.
  CHECK((stream[size - 1] & 0x1F) == 0);
  for (int bit = 0; bit < 5; bit++) {
    stream[size - 1] ^= (unsigned char)(1 << bit);
    EXPECT(QCODEC_INVALID_CODE, qcodec_decode, scheme, 1, shape, 2, stream, size, decoded, sizeof decoded, 1);
    stream[size - 1] ^= (unsigned char)(1 << bit);
  }
  // What was decoded is coded again as it was.
  unsigned char again[SIZE];
  OK(qcodec_encode, scheme, QCODEC_F32, shape, 2, "w", decoded, sizeof decoded, again, size, 1, NULL);
  CHECK(memcmp(stream, again, size) == 0);
  qcodec_scheme_free(scheme);
}

static void test_environment(void) {
  qcodec_scheme *scheme = dynamic8();
  size_t size = 0;
  OK(qcodec_encoded_size, scheme, QCODEC_F32, SHAPE, 2, &size);
  unsigned char *stream = memory(size), *other = memory(size);
  float decoded[COUNT];
  OK(qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, NULL, weights, sizeof weights, stream, size, 2, NULL);
  OK(qcodec_decode, scheme, QCODEC_F32, SHAPE, 2, stream, size, decoded, sizeof decoded, 2);
  static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (int i = 0; i < 3; i++) {
    fesetround(modes[i]);
    OK(qcodec_encode, scheme, QCODEC_F32, SHAPE, 2, NULL, weights, sizeof weights, other, size, 2, NULL);
    OK(qcodec_decode, scheme, QCODEC_F32, SHAPE, 2, stream, size, scratch, sizeof scratch, 2);
    int mode = fegetround();
    fesetround(FE_TONEAREST);
    CHECK(mode == modes[i]);
    CHECK(memcmp(stream, other, size) == 0 && memcmp(decoded, scratch, sizeof decoded) == 0);
  }
  free(other);
  free(stream);
  qcodec_scheme_free(scheme);
}

static void test_moments(void) {
  qcodec_scheme *m = scheme_of(QCODEC_MAP_CUBIC, 8, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_UPDATE);
  qcodec_scheme *v = scheme_of(QCODEC_MAP_LOG, 8, 0, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_VALUE);
  qcodec_scheme *value = dynamic8();
  size_t ms = 0, vs = 0;
  OK(qcodec_encoded_size, m, QCODEC_F32, SHAPE, 2, &ms);
  OK(qcodec_encoded_size, v, QCODEC_F32, SHAPE, 2, &vs);
  unsigned char *a = memory(ms), *b = memory(vs);
  qcodec_measured measured[2];
  OK(qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms, b, vs, 2, measured);
  CHECK(measured[0].guaranteed_max_rel_error > 0 && measured[1].guaranteed_max_rel_error > 0);
  OK(qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  float decoded[COUNT], roots[COUNT];
  OK(qcodec_decode, v, QCODEC_F32, SHAPE, 2, b, vs, roots, sizeof roots, 1);
  OK(qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms, b, vs, decoded, sizeof decoded, 1);
  double worst = 0;
  for (int i = 0; i < COUNT; i++) {
    worst = fmax(worst, fabs((double)first[i] - decoded[i]) / sqrt((double)roots[i]));
  }
  CHECK(worst > 0 && worst <= measured[0].guaranteed_max_rel_error);

  size_t bytes = sizeof first;
  EXPECT(QCODEC_BUFFER_TOO_SMALL, qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms - 1, b, vs, 1, NULL);
  EXPECT(QCODEC_BUFFER_TOO_SMALL, qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms, b, vs - 1, 1, NULL);
  REFUSED(qcodec_encode_moments, NULL, v, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, NULL, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, NULL, 2, first, second, a, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, SHAPE, 2, NULL, second, a, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, SHAPE, 2, first, NULL, a, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, SHAPE, 2, first, second, NULL, ms, b, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms, NULL, vs, 1, NULL);
  REFUSED(qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, SIZE_MAX, b, vs, 1, NULL);
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_encode_moments, m, v, WIDE, 33, first, second, a, ms, b, vs, 1, NULL);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encode_moments, value, v, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encode_moments, m, value, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_encode_moments, m, m, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  memcpy(scratch, second, sizeof second);
  scratch[7] = -1;
  EXPECT(QCODEC_NEGATIVE_VALUE, qcodec_encode_moments, m, v, SHAPE, 2, first, scratch, a, ms, b, vs, 1, NULL);
  memcpy(scratch, first, sizeof first);
  scratch[7] = INFINITY;
  EXPECT(QCODEC_NON_FINITE_VALUE, qcodec_encode_moments, m, v, SHAPE, 2, scratch, second, a, ms, b, vs, 1, NULL);
  // 1e38 over the root of the least positive number is no float32.
  float huge[1] = {1e38f}, tiny[1] = {1e-45f};
  uint64_t one = 1;
  EXPECT(QCODEC_UPDATE_NOT_FINITE, qcodec_encode_moments, m, v, &one, 1, huge, tiny, a, ms, b, vs, 1, NULL);

  OK(qcodec_encode_moments, m, v, SHAPE, 2, first, second, a, ms, b, vs, 1, NULL);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms - 1, b, vs, decoded, bytes, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms, b, vs + 1, decoded, bytes, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms, b, vs, decoded, bytes - 4, 1);
  REFUSED(qcodec_decode_first_moment, m, v, SHAPE, 2, NULL, ms, b, vs, decoded, bytes, 1);
  REFUSED(qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms, NULL, vs, decoded, bytes, 1);
  REFUSED(qcodec_decode_first_moment, m, v, SHAPE, 2, a, ms, b, vs, NULL, bytes, 1);
  REFUSED(qcodec_decode_first_moment, NULL, v, SHAPE, 2, a, ms, b, vs, decoded, bytes, 1);
  REFUSED(qcodec_decode_first_moment, m, NULL, SHAPE, 2, a, ms, b, vs, decoded, bytes, 1);
  REFUSED(qcodec_decode_first_moment, m, v, NULL, 2, a, ms, b, vs, decoded, bytes, 1);
  REFUSED(qcodec_decode_first_moment, m, v, SHAPE, 2, a, SIZE_MAX, b, HUGE_SIZE, decoded, bytes, 1);
  free(a);
  free(b);
  qcodec_scheme_free(m);
  qcodec_scheme_free(v);
  qcodec_scheme_free(value);
}

// MARK: Policies

static void test_policies(void) {
  static const char *const names[] = {"adam8", "adam4", "paper8", "paper4", "live8", "live4", "lossless"};
  qcodec_policy *policy = NULL;
  char *text = NULL, *again = NULL;
  for (int i = 0; i < 7; i++) {
    OK(qcodec_policy_preset, names[i], &policy);
    OK(qcodec_policy_text, policy, &text);
    qcodec_policy_free(policy);
    OK(qcodec_policy_parse, text, strlen(text), &policy);
    OK(qcodec_policy_text, policy, &again);
    CHECK(strcmp(text, again) == 0 && strstr(text, names[i]) != NULL);
    qcodec_policy_free(policy);
    qcodec_string_free(text);
    qcodec_string_free(again);
  }
  OK(qcodec_policy_preset, NULL, &policy);
  OK(qcodec_policy_text, policy, &text);
  CHECK(strstr(text, "adam8") != NULL);
  REFUSED(qcodec_policy_text, policy, NULL);
  REFUSED(qcodec_policy_text, NULL, &again);
  qcodec_string_free(text);
  qcodec_policy_free(policy);
  qcodec_policy_free(NULL);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_policy_preset, "adam16", &policy);
  CHECK(policy == NULL);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_policy_preset, "", &policy);
  REFUSED(qcodec_policy_preset, BAD_TEXT, &policy);
  REFUSED(qcodec_policy_preset, "adam8", NULL);
  static const char good[] = "{\"name\": \"n\", \"extends\": \"adam8\"}";
  OK(qcodec_policy_parse, good, strlen(good), &policy);
  qcodec_policy_free(policy);
  REFUSED(qcodec_policy_parse, good, strlen(good), NULL);
  REFUSED(qcodec_policy_parse, NULL, 3, &policy);
  REFUSED(qcodec_policy_parse, good, SIZE_MAX, &policy);
  REFUSED(qcodec_policy_parse, good, HUGE_SIZE, &policy);
  EXPECT(QCODEC_INVALID_JSON, qcodec_policy_parse, NULL, 0, &policy);
  EXPECT(QCODEC_INVALID_JSON, qcodec_policy_parse, good, 5, &policy);
  EXPECT(QCODEC_INVALID_JSON, qcodec_policy_parse, BAD_TEXT, 2, &policy);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_policy_parse, "[1]", 3, &policy);
  static const char unknown[] = "{\"extends\": \"adam8\", \"sauce\": 1}";
  EXPECT(QCODEC_INVALID_POLICY, qcodec_policy_parse, unknown, strlen(unknown), &policy);
  CHECK(strstr(qcodec_error_description(last), "sauce") != NULL);
  // Ten thousand levels are refused, not followed.
  enum { DEEP = 10000 };
  char *deep = memory(DEEP);
  memset(deep, '[', DEEP);
  EXPECT(QCODEC_INVALID_JSON, qcodec_policy_parse, deep, DEEP, &policy);
  free(deep);
}

// MARK: Writing

/// Adds a pair of moments, parameters read by a function, and a step.
static void fill(qcodec_writer *writer, Memory *parameters) {
  int64_t step = 17;
  qcodec_tensor tensors[4] = {
    tensor_of("layer.exp_avg", first), tensor_of("layer.exp_avg_sq", second), tensor_of("layer.weight", NULL), {0}};
  tensors[2].read = read_memory;
  tensors[2].context = parameters;
  tensors[3].name = "step";
  tensors[3].dtype = QCODEC_I64;
  tensors[3].data = &step;
  tensors[3].size = sizeof step;
  qcodec_policy *policy = NULL;
  OK(qcodec_policy_preset, "adam8", &policy);
  uint8_t dropped[4] = {9, 9, 9, 9};
  OK(qcodec_writer_add, writer, tensors, 4, policy, dropped);
  for (int i = 0; i < 4; i++) CHECK(dropped[i] == 0);
  qcodec_policy_free(policy);
}

static Memory parameters_in_memory(void) {
  Memory result = memory_of(sizeof weights);
  memcpy(result.bytes, weights, sizeof weights);
  result.size = sizeof weights;
  return result;
}

/// Writes the checkpoint that the reading tests read; keeps its bytes.
static void write_checkpoint(Memory *bytes) {
  Memory parameters = parameters_in_memory();
  qcodec_writer *writer = NULL;
  qcodec_writer_options options;
  memset(&options, 0xEE, sizeof options);
  qcodec_writer_options_init(&options);
  CHECK(options.struct_size == sizeof options && options.compression == QCODEC_COMPRESSION_LZ4);
  CHECK(options.zstd_level == 1 && options.threads == 0 && options.keep_nonfinite == 0);
  CHECK(isnan(options.measure_epsilon) && options.bound == QCODEC_BOUND_NONE && options.bound_is_of_rms == 0);
  CHECK(isnan(options.bound_value) && options.bound_epsilon == 1e-8);
  qcodec_writer_options_init(NULL);
  options.measure_epsilon = 1e-8;
  OK(qcodec_writer_create_function, write_memory, bytes, &options, &writer);
  static const char metadata[] = "{\"größe\": \"1\", \"lr\": \"1e-3\"}";
  OK(qcodec_writer_set_metadata, writer, metadata, strlen(metadata));
  OK(qcodec_writer_set_member, writer, "mine", "[1, null]", 9);
  fill(writer, &parameters);

  // One tensor under a scheme, losslessly with values that are not finite, and pushed both ways.
  qcodec_scheme *scheme = dynamic8();
  qcodec_tensor tensor = tensor_of("one", weights);
  tensor.role = QCODEC_ROLE_MOMENTUM;
  OK(qcodec_writer_add_tensor, writer, &tensor, scheme);
  float odd[3] = {NAN, -INFINITY, -0.0f};
  uint64_t three = 3;
  qcodec_tensor small = {.name = "odd", .dtype = QCODEC_F32, .shape = &three, .dims = 1, .data = odd, .size = sizeof odd};
  OK(qcodec_writer_add_tensor, writer, &small, NULL);
  tensor.name = "pushed";
  parameters.position = 0;
  OK(qcodec_writer_add_pushed, writer, &tensor, scheme, next_piece, &parameters);
  tensor.name = "pushed.lossless";
  parameters.position = 0;
  OK(qcodec_writer_add_pushed, writer, &tensor, NULL, next_piece, &parameters);
  qcodec_scheme_free(scheme);
  qcodec_written written;
  memset(&written, 0, sizeof written);
  OK(qcodec_writer_commit, writer, &written);
  CHECK(written.file_bytes == bytes->size && written.stored_bytes < written.file_bytes);
  CHECK(written.tensors == 8 && written.elements == 6 * (uint64_t)COUNT + 4);
  CHECK(written.source_bytes == 6 * (uint64_t)sizeof weights + 12 + 8);
  qcodec_writer_free(writer);
  free(parameters.bytes);
}

static void test_writer_places(const Memory *expected) {
  // A file, a descriptor and a function take the same bytes.
  Memory parameters = parameters_in_memory();
  qcodec_writer *writer = NULL;
  const char *path = path_of("file.qckpt");
  OK(qcodec_writer_create, path, NULL, &writer);
  fill(writer, &parameters);
  CHECK(!exists(path));
  qcodec_written written;
  OK(qcodec_writer_commit, writer, &written);
  CHECK(exists(path));
  qcodec_writer_abort(writer);
  qcodec_writer_free(writer);
  CHECK(exists(path));

  int descriptor = open(path_of("descriptor.qckpt"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  OK(qcodec_writer_create_fd, descriptor, NULL, &writer);
  fill(writer, &parameters);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  struct stat status;
  CHECK(fstat(descriptor, &status) == 0 && (uint64_t)status.st_size == written.file_bytes);
  unsigned char *bytes = memory(written.file_bytes), *others = memory(written.file_bytes);
  CHECK(pread(descriptor, bytes, written.file_bytes, 0) == (ssize_t)written.file_bytes);
  close(descriptor);
  descriptor = open(path, O_RDONLY);
  CHECK(read(descriptor, others, written.file_bytes) == (ssize_t)written.file_bytes);
  close(descriptor);
  CHECK(memcmp(bytes, others, written.file_bytes) == 0);
  free(bytes);
  free(others);
  CHECK(expected->size > written.file_bytes);

  // What is aborted, or freed without a commit, leaves the previous file, and nothing else.
  for (int way = 0; way < 3; way++) {
    static const char *const targets[] = {"file.qckpt", "new.qckpt"};
    for (int i = 0; i < 2; i++) {
      OK(qcodec_writer_create, path_of(targets[i]), NULL, &writer);
      fill(writer, &parameters);
      if (way != 1) qcodec_writer_abort(writer);
      if (way == 2) {
        EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
        qcodec_writer_abort(writer);
      }
      qcodec_writer_free(writer);
    }
    CHECK(is_clean("new.qckpt"));
    CHECK(stat(path, &status) == 0 && (uint64_t)status.st_size == written.file_bytes);
  }
  free(parameters.bytes);
  qcodec_writer_abort(NULL);
  qcodec_writer_free(NULL);

  // Places that cannot be.
  EXPECT(QCODEC_IO, qcodec_writer_create, path_of("no/such/folder"), NULL, &writer);
  CHECK(writer == NULL);
  EXPECT(QCODEC_IO, qcodec_writer_create, folder, NULL, &writer);
  EXPECT(QCODEC_IO, qcodec_writer_create, "", NULL, &writer);
  REFUSED(qcodec_writer_create, NULL, NULL, &writer);
  REFUSED(qcodec_writer_create, BAD_TEXT, NULL, &writer);
  REFUSED(qcodec_writer_create, path, NULL, NULL);
  EXPECT(QCODEC_IO, qcodec_writer_create_fd, -1, NULL, &writer);
  EXPECT(QCODEC_IO, qcodec_writer_create_fd, 1 << 20, NULL, &writer);
  EXPECT(QCODEC_IO, qcodec_writer_create_fd, INT32_MIN, NULL, &writer);
  REFUSED(qcodec_writer_create_fd, 1, NULL, NULL);
  REFUSED(qcodec_writer_create_function, NULL, NULL, NULL, &writer);
  REFUSED(qcodec_writer_create_function, write_memory, NULL, NULL, NULL);
}

static void test_writer_options(void) {
  Memory sink = memory_of(1 << 20);
  qcodec_writer *writer = NULL;
  qcodec_writer_options options;
#define BAD_OPTION(member, value)                                                  \
  do {                                                                             \
    qcodec_writer_options_init(&options);                                          \
    options.member = (value);                                                      \
    REFUSED(qcodec_writer_create_function, write_memory, &sink, &options, &writer); \
    REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);        \
    REFUSED(qcodec_writer_create_fd, 1, &options, &writer);                        \
  } while (0)
  BAD_OPTION(struct_size, 0);
  BAD_OPTION(struct_size, sizeof options - 1);
  BAD_OPTION(struct_size, sizeof options + 8);
  BAD_OPTION(struct_size, SIZE_MAX);
  BAD_OPTION(compression, -1);
  BAD_OPTION(compression, 3);
  BAD_OPTION(compression, 256);
  BAD_OPTION(zstd_level, 23);
  BAD_OPTION(zstd_level, INT32_MIN);
  BAD_OPTION(measure_epsilon, -1);
  BAD_OPTION(measure_epsilon, INFINITY);
  CHECK(is_clean("new.qckpt") && sink.size == 0);

  // Every compression, and as many threads as there are numbers.
  Memory parameters = parameters_in_memory();
  for (int32_t compression = 0; compression <= 2; compression++) {
    qcodec_writer_options_init(&options);
    options.compression = compression;
    options.zstd_level = 3;
    options.threads = compression == 2 ? INT32_MIN : 2;
    sink.size = 0;
    OK(qcodec_writer_create_function, write_memory, &sink, &options, &writer);
    fill(writer, &parameters);
    OK(qcodec_writer_commit, writer, NULL);
    qcodec_writer_free(writer);
  }

  // What is not finite is refused, or kept.
  memcpy(scratch, weights, sizeof weights);
  scratch[4] = INFINITY;
  qcodec_scheme *scheme = dynamic8();
  qcodec_tensor tensor = tensor_of("t", scratch);
  for (int keep = 0; keep < 2; keep++) {
    qcodec_writer_options_init(&options);
    options.keep_nonfinite = keep;
    sink.size = 0;
    OK(qcodec_writer_create_function, write_memory, &sink, &options, &writer);
    EXPECT(keep ? QCODEC_OK : QCODEC_NON_FINITE_VALUE, qcodec_writer_add_tensor, writer, &tensor, scheme);
    EXPECT(keep ? QCODEC_OK : QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
    qcodec_writer_free(writer);
  }
  qcodec_scheme_free(scheme);
  free(parameters.bytes);
  free(sink.bytes);
}

static void test_metadata(void) {
  Memory sink = memory_of(1 << 16);
  qcodec_writer *writer = NULL;
  OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
  REFUSED(qcodec_writer_set_metadata, NULL, "{}", 2);
  REFUSED(qcodec_writer_set_metadata, writer, NULL, 2);
  REFUSED(qcodec_writer_set_metadata, writer, "[]", 2);
  REFUSED(qcodec_writer_set_metadata, writer, "{}", SIZE_MAX);
  EXPECT(QCODEC_LIMIT_EXCEEDED, qcodec_writer_set_metadata, writer, "{}", HUGE_SIZE);
  EXPECT(QCODEC_LIMIT_EXCEEDED, qcodec_writer_set_metadata, writer, "{}", ((size_t)256 << 20) + 1);
  EXPECT(QCODEC_INVALID_JSON, qcodec_writer_set_metadata, writer, NULL, 0);
  EXPECT(QCODEC_INVALID_JSON, qcodec_writer_set_metadata, writer, "{}", 1);
  EXPECT(QCODEC_INVALID_JSON, qcodec_writer_set_metadata, writer, "{}", 3);
  EXPECT(QCODEC_INVALID_JSON, qcodec_writer_set_metadata, writer, "{\"\xC3\x28\": 1}", 9);
  REFUSED(qcodec_writer_set_member, NULL, "m", "1", 1);
  REFUSED(qcodec_writer_set_member, writer, NULL, "1", 1);
  REFUSED(qcodec_writer_set_member, writer, BAD_TEXT, "1", 1);
  REFUSED(qcodec_writer_set_member, writer, "metadata", "1", 1);
  REFUSED(qcodec_writer_set_member, writer, "policy", "1", 1);
  REFUSED(qcodec_writer_set_member, writer, "m", NULL, 1);
  REFUSED(qcodec_writer_set_member, writer, "m", "1", SIZE_MAX);
  EXPECT(QCODEC_LIMIT_EXCEEDED, qcodec_writer_set_member, writer, "m", "1", HUGE_SIZE);
  EXPECT(QCODEC_INVALID_JSON, qcodec_writer_set_member, writer, "m", "x", 1);
  OK(qcodec_writer_set_member, writer, "m", "1", 1);
  OK(qcodec_writer_set_member, writer, "m", "{\"last\": \"counts\"}", 18);
  OK(qcodec_writer_commit, writer, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_set_metadata, writer, "{}", 2);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_set_member, writer, "m", "1", 1);
  qcodec_writer_free(writer);

  // A checkpoint without tensors.
  qcodec_reader *reader = NULL;
  char *text = NULL;
  size_t length = 0;
  OK(qcodec_reader_open_function, read_memory, &sink, sink.size, &reader);
  CHECK(qcodec_reader_count(reader) == 0);
  OK(qcodec_reader_member, reader, "m", &text, &length);
  CHECK(text != NULL && strstr(text, "counts") != NULL && strlen(text) == length);
  qcodec_string_free(text);
  OK(qcodec_reader_member, reader, "metadata", &text, NULL);
  CHECK(text != NULL && strcmp(text, "null") == 0);
  qcodec_string_free(text);
  OK(qcodec_verify, reader, NULL, NULL, NULL);
  OK(qcodec_reader_read, reader, NULL, 0, 1);
  qcodec_reader_free(reader);
  free(sink.bytes);
}

/// Adds by a policy that must be refused; the writer goes on.
static void refuse_add(int32_t code, qcodec_writer *writer, const qcodec_policy *policy, qcodec_tensor tensor) {
  EXPECT(code, qcodec_writer_add, writer, &tensor, 1, policy, NULL);
  qcodec_scheme *scheme = dynamic8();
  EXPECT(code, qcodec_writer_add_tensor, writer, &tensor, NULL);
  qcodec_scheme_free(scheme);
}

static void test_refused_tensors(void) {
  Memory sink = memory_of(1 << 20);
  qcodec_writer *writer = NULL;
  qcodec_policy *policy = NULL;
  OK(qcodec_policy_preset, NULL, &policy);
  OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
  qcodec_tensor good = tensor_of("there", weights), bad;
  OK(qcodec_writer_add, writer, &good, 1, policy, NULL);
  refuse_add(QCODEC_DUPLICATE_NAME, writer, policy, good);
  good.name = "not there";
#define BAD_TENSOR(code, member, value)      \
  do {                                       \
    bad = good;                              \
    bad.member = (value);                    \
    refuse_add((code), writer, policy, bad); \
  } while (0)
  char *endless = memory(65538);
  memset(endless, 'n', 65537);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, name, NULL);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, name, BAD_TEXT);
  BAD_TENSOR(QCODEC_INVALID_NAME, name, "");
  BAD_TENSOR(QCODEC_INVALID_NAME, name, endless);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, dtype, 0);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, dtype, 24);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, dtype, INT32_MIN);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, role, 6);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, role, -1);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, shape, NULL);
  BAD_TENSOR(QCODEC_INVALID_SHAPE, dims, 33);
  BAD_TENSOR(QCODEC_INVALID_SHAPE, dims, SIZE_MAX);
  BAD_TENSOR(QCODEC_INVALID_SHAPE, dims, HUGE_SIZE);
  BAD_TENSOR(QCODEC_SHAPE_MISMATCH, dims, 1);
  BAD_TENSOR(QCODEC_SHAPE_MISMATCH, size, sizeof weights - 1);
  BAD_TENSOR(QCODEC_SHAPE_MISMATCH, size, 0);
  BAD_TENSOR(QCODEC_SHAPE_MISMATCH, size, INT64_MAX);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, size, UINT64_MAX);
  BAD_TENSOR(QCODEC_INVALID_ARGUMENT, data, NULL);
  static const uint64_t absurd[2] = {UINT64_MAX, UINT64_MAX};
  BAD_TENSOR(QCODEC_LIMIT_EXCEEDED, shape, absurd);
  static const uint64_t half[2] = {1ull << 32, 1ull << 30};
  BAD_TENSOR(QCODEC_LIMIT_EXCEEDED, shape, half);
  static const uint64_t one[2] = {1, 1};
  bad = good;
  bad.shape = one;
  bad.dtype = QCODEC_F4;
  bad.size = 1;
  refuse_add(QCODEC_INVALID_SHAPE, writer, policy, bad);
  free(endless);

  REFUSED(qcodec_writer_add, NULL, &good, 1, policy, NULL);
  REFUSED(qcodec_writer_add, writer, NULL, 1, policy, NULL);
  REFUSED(qcodec_writer_add, writer, &good, 1, NULL, NULL);
  REFUSED(qcodec_writer_add, writer, &good, SIZE_MAX, policy, NULL);
  REFUSED(qcodec_writer_add, writer, &good, HUGE_SIZE, policy, NULL);
  OK(qcodec_writer_add, writer, NULL, 0, policy, NULL);
  qcodec_tensor twice[2] = {good, good};
  EXPECT(QCODEC_DUPLICATE_NAME, qcodec_writer_add, writer, twice, 2, policy, NULL);
  REFUSED(qcodec_writer_add_tensor, NULL, &good, NULL);
  REFUSED(qcodec_writer_add_tensor, writer, NULL, NULL);
  qcodec_scheme *update = scheme_of(QCODEC_MAP_LINEAR, 8, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_UPDATE);
  qcodec_scheme *row = scheme_of(QCODEC_MAP_LINEAR, 8, 1, QCODEC_SCALING_ROW, QCODEC_DOMAIN_VALUE);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_tensor, writer, &good, update);
  bad = good;
  bad.dtype = QCODEC_I32;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_tensor, writer, &bad, row);

  Memory parameters = parameters_in_memory();
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_pushed, writer, &good, row, next_piece, &parameters);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_pushed, writer, &good, update, next_piece, &parameters);
  REFUSED(qcodec_writer_add_pushed, NULL, &good, NULL, next_piece, &parameters);
  REFUSED(qcodec_writer_add_pushed, writer, NULL, NULL, next_piece, &parameters);
  REFUSED(qcodec_writer_add_pushed, writer, &good, NULL, NULL, &parameters);
  bad.dims = 33;
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_writer_add_pushed, writer, &bad, NULL, next_piece, &parameters);
  bad.dims = 2;
  bad.shape = absurd;
  EXPECT(QCODEC_LIMIT_EXCEEDED, qcodec_writer_add_pushed, writer, &bad, NULL, next_piece, &parameters);
  bad = good;
  bad.name = "there";
  EXPECT(QCODEC_DUPLICATE_NAME, qcodec_writer_add_pushed, writer, &bad, NULL, next_piece, &parameters);
  CHECK(parameters.calls == 0);

  // None of that has harmed the checkpoint.
  OK(qcodec_writer_add, writer, &good, 1, policy, NULL);
  qcodec_written written;
  OK(qcodec_writer_commit, writer, &written);
  CHECK(written.tensors == 2);

  // After the end.
  good.name = "late";
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_add, writer, &good, 1, policy, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_add_tensor, writer, &good, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_add_pushed, writer, &good, NULL, next_piece, &parameters);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, &written);
  REFUSED(qcodec_writer_commit, NULL, &written);
  qcodec_writer_free(writer);
  qcodec_scheme_free(row);
  qcodec_scheme_free(update);
  qcodec_policy_free(policy);
  free(parameters.bytes);
  free(sink.bytes);
}

static void test_failing_callbacks(void) {
  Memory sink = memory_of(1 << 20), parameters = parameters_in_memory();
  qcodec_writer *writer = NULL;
  qcodec_tensor tensor = tensor_of("t", NULL);
  tensor.read = read_memory;
  tensor.context = &parameters;
  parameters.status = 7;
  qcodec_scheme *scheme = dynamic8();
  for (int way = 0; way < 4; way++) {
    parameters.calls = 0;
    parameters.position = 0;
    parameters.countdown = way == 3 ? 5 : 0;
    OK(qcodec_writer_create, path_of("new.qckpt"), NULL, &writer);
    if (way < 2) {
      EXPECT(QCODEC_IO, qcodec_writer_add_tensor, writer, &tensor, way == 0 ? NULL : scheme);
    } else {
      EXPECT(QCODEC_IO, qcodec_writer_add_pushed, writer, &tensor, scheme, next_piece, &parameters);
    }
    CHECK(strstr(qcodec_error_message(last), "7") != NULL && strcmp(qcodec_error_tensor(last), "t") == 0);
    EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
    qcodec_writer_free(writer);
    CHECK(is_clean("new.qckpt"));
  }
  static const size_t claims[] = {0, SIZE_MAX, HUGE_SIZE, 1 << 21};
  for (int i = 0; i < 4; i++) {
    size_t claim = claims[i];
    OK(qcodec_writer_create, path_of("new.qckpt"), NULL, &writer);
    EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_pushed, writer, &tensor, NULL, next_claim, &claim);
    qcodec_writer_free(writer);
  }
  // A write that fails, at once and in the end, gives the checkpoint up.
  parameters.status = 0;
  sink.status = -3;
  for (int32_t countdown = 0; countdown < 2; countdown++) {
    sink.calls = 0;
    sink.size = 0;
    sink.countdown = countdown;
    enum { LARGE = 3 << 20 };
    unsigned char *large = memory(LARGE);
    uint64_t state = 3;
    for (size_t i = 0; i < LARGE; i++) large[i] = (unsigned char)(uniform(&state) * 256);
    uint64_t length = LARGE;
    qcodec_tensor big = {
      .name = "big", .dtype = QCODEC_U8, .shape = &length, .dims = 1, .data = large, .size = LARGE};
    OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
    EXPECT(QCODEC_IO, qcodec_writer_add_tensor, writer, &big, NULL);
    CHECK(strstr(qcodec_error_message(last), "-3") != NULL);
    EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_add_tensor, writer, &tensor, NULL);
    qcodec_writer_free(writer);
    free(large);
  }
  sink.calls = 0;
  sink.countdown = 0;
  OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
  OK(qcodec_writer_add_tensor, writer, &tensor, NULL);
  EXPECT(QCODEC_IO, qcodec_writer_commit, writer, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  qcodec_scheme_free(scheme);
  free(parameters.bytes);
  free(sink.bytes);
}

static void test_roles(void) {
  // A stated role counts where the name tells nothing; a policy drops by it.
  static const char document[] =
    "{\"name\": \"n\", \"rules\": [{\"match\": {\"role\": \"momentum\"}, \"action\": \"drop\"}]}";
  Memory sink = memory_of(1 << 20);
  qcodec_writer *writer = NULL;
  qcodec_policy *policy = NULL;
  qcodec_reader *reader = NULL;
  OK(qcodec_policy_parse, document, strlen(document), &policy);
  OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
  qcodec_tensor tensors[3] = {tensor_of("x", weights), tensor_of("y", weights), tensor_of("z.exp_avg", first)};
  tensors[0].role = QCODEC_ROLE_MOMENTUM;
  tensors[1].role = QCODEC_ROLE_MASTER_WEIGHT;
  tensors[2].role = QCODEC_ROLE_MOMENTUM;
  uint8_t dropped[3] = {9, 9, 9};
  OK(qcodec_writer_add, writer, tensors, 3, policy, dropped);
  CHECK(dropped[0] == 1 && dropped[1] == 0 && dropped[2] == 0);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  OK(qcodec_reader_open_function, read_memory, &sink, sink.size, &reader);
  qcodec_tensor_info info;
  CHECK(qcodec_reader_count(reader) == 2);
  OK(qcodec_reader_info, reader, 0, &info);
  CHECK(info.role == QCODEC_ROLE_MASTER_WEIGHT);
  OK(qcodec_reader_info, reader, 1, &info);
  CHECK(info.role == QCODEC_ROLE_FIRST_MOMENT);
  // What the policy dropped is not missing.
  OK(qcodec_verify_tensors, reader, tensors, 3, NULL, NULL);
  qcodec_reader_free(reader);
  qcodec_policy_free(policy);
  free(sink.bytes);
}

// MARK: Imports

static void test_imports(void) {
  Memory sink = memory_of(1 << 20);
  qcodec_writer *writer = NULL;
  OK(qcodec_writer_create_function, write_memory, &sink, NULL, &writer);
  qcodec_tensor tensor = tensor_of("dynamic", NULL);
  tensor.role = QCODEC_ROLE_MOMENTUM;
  // dynamic 8-bit, blocks of 256
  qcodec_scheme *dynamic = dynamic8();
  enum { BLOCKS = (COUNT + 255) / 256 };
  static float scales[BLOCKS], sums[ROWS + COLUMNS];
  static unsigned char codes[COUNT], halves[COUNT / 2];
  for (int i = 0; i < BLOCKS; i++) scales[i] = 0.5f + (float)i;
  for (int i = 0; i < ROWS + COLUMNS; i++) sums[i] = 1 + (float)(i % 7);
  for (int i = 0; i < COUNT; i++) codes[i] = (unsigned char)(i * 31);
  for (int i = 0; i < COUNT / 2; i++) halves[i] = (unsigned char)(i * 7);
  OK(qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  // a table of another system
  float table[16] = {0.5f, -3, 2, 0, 1, -1, 0.25f, 7, NAN, 0, 0, 0, 0.1f, 0.2f, 0.3f, -0.4f};
  qcodec_scheme *custom = NULL;
  OK(qcodec_scheme_create_custom, table, 16, 1, 1, QCODEC_SCALING_ROW, 0, &custom);
  for (int i = 0; i < COUNT / 2; i++) halves[i] &= 0x77;
  tensor.name = "custom";
  tensor.dtype = QCODEC_BF16;
  OK(qcodec_writer_add_import, writer, &tensor, custom, sums, ROWS * 4, halves, sizeof halves);
  // the 4-bit scheme of row and column maxima
  qcodec_scheme *rank1 = scheme_of(QCODEC_MAP_LINEAR_NOZERO, 4, 0, QCODEC_SCALING_RANK1, 0);
  tensor.name = "rank1";
  tensor.dtype = QCODEC_F32;
  OK(qcodec_writer_add_import, writer, &tensor, rank1, sums, sizeof sums, halves, sizeof halves);

  // Refusals before anything is written.
  tensor.name = "bad";
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales - 4, codes, sizeof codes);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes + 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_import, writer, &tensor, dynamic, NULL, 0, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, NULL, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, NULL, dynamic, scales, sizeof scales, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, &tensor, NULL, scales, sizeof scales, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, &tensor, dynamic, NULL, sizeof scales, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, NULL, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, &tensor, dynamic, scales, SIZE_MAX, codes, sizeof codes);
  REFUSED(qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, HUGE_SIZE);
  qcodec_scheme *log = scheme_of(QCODEC_MAP_LOG, 8, 0, QCODEC_SCALING_BLOCK, 0);
  qcodec_scheme *update = scheme_of(QCODEC_MAP_CUBIC, 8, 1, QCODEC_SCALING_BLOCK, QCODEC_DOMAIN_UPDATE);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_import, writer, &tensor, log, scales, sizeof scales, codes, sizeof codes);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_import, writer, &tensor, update, scales, sizeof scales, codes, sizeof codes);
  qcodec_scheme_free(update);
  qcodec_scheme_free(log);
  tensor.dtype = QCODEC_F64;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  tensor.dtype = QCODEC_F32;
  tensor.dims = 33;
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  tensor.dims = 2;
  OK(qcodec_writer_commit, writer, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  qcodec_writer_free(writer);

  // What is not finite, or has a code of a NaN entry.
  OK(qcodec_writer_create, path_of("new.qckpt"), NULL, &writer);
  scales[3] = INFINITY;
  EXPECT(QCODEC_INVALID_SCALE, qcodec_writer_add_import, writer, &tensor, dynamic, scales, sizeof scales, codes, sizeof codes);
  scales[3] = 3.5f;
  qcodec_writer_free(writer);
  OK(qcodec_writer_create, path_of("new.qckpt"), NULL, &writer);
  halves[5] = 0x18;
  EXPECT(QCODEC_INVALID_CODE, qcodec_writer_add_import, writer, &tensor, custom, sums, ROWS * 4, halves, sizeof halves);
  uint64_t element = 0;
  CHECK(qcodec_error_element(last, &element) == 0 || element == 11);
  halves[5] = 5 * 7 & 0x77;
  qcodec_writer_free(writer);
  CHECK(is_clean("new.qckpt"));

  // Read back: codes and scales as they were, values as a table says.
  qcodec_reader *reader = NULL;
  OK(qcodec_reader_open_function, read_memory, &sink, sink.size, &reader);
  OK(qcodec_verify, reader, NULL, NULL, NULL);
  int64_t number = qcodec_reader_find(reader, "dynamic");
  size_t scales_size = 0, codes_size = 0;
  OK(qcodec_reader_code_sizes, reader, (size_t)number, &scales_size, &codes_size);
  CHECK(scales_size == sizeof scales && codes_size == sizeof codes);
  float *scales_read = memory(scales_size);
  unsigned char *codes_read = memory(codes_size);
  OK(qcodec_reader_read_codes, reader, (size_t)number, scales_read, scales_size, codes_read, codes_size, 2);
  CHECK(memcmp(scales, scales_read, scales_size) == 0 && memcmp(codes, codes_read, codes_size) == 0);
  float entries[256];
  CHECK(qcodec_scheme_table(dynamic, entries, 256) == 256);
  qcodec_read_request request = {(size_t)number, scratch, sizeof scratch};
  OK(qcodec_reader_read, reader, &request, 1, 0);
  int differing = 0;
  for (int i = 0; i < COUNT; i++) differing += scratch[i] != entries[codes[i]] * scales[i / 256];
  CHECK(differing == 0);
  qcodec_tensor_info info;
  OK(qcodec_reader_info, reader, (size_t)number, &info);
  CHECK(info.is_quantized == 1 && info.role == QCODEC_ROLE_MOMENTUM && isnan(info.measured.guaranteed_max_abs_error));
  CHECK(info.measured.max_abs_error == 0 && info.measured.zeros_created == 0);
  qcodec_scheme *stored = NULL;
  char *text = NULL;
  OK(qcodec_reader_scheme, reader, (size_t)number, &stored);
  OK(qcodec_scheme_text, stored, &text);
  CHECK(text != NULL && strstr(text, "unknown") != NULL);
  qcodec_string_free(text);
  qcodec_scheme_free(stored);

  number = qcodec_reader_find(reader, "rank1");
  OK(qcodec_reader_code_sizes, reader, (size_t)number, &scales_size, NULL);
  OK(qcodec_reader_code_sizes, reader, (size_t)number, NULL, &codes_size);
  CHECK(scales_size == sizeof sums && codes_size == sizeof halves);
  request.tensor = (size_t)number;
  OK(qcodec_reader_read, reader, &request, 1, 0);
  CHECK(qcodec_scheme_table(rank1, entries, 16) == 16);
  differing = 0;
  for (int i = 0; i < COUNT; i++) {
    int code = i % 2 ? halves[i / 2] & 15 : halves[i / 2] >> 4;
    float scale = fminf(sums[i / COLUMNS], sums[ROWS + i % COLUMNS]);
    differing += scratch[i] != entries[code] * scale;
  }
  CHECK(differing == 0);

  // Sizes and arguments of reading codes.
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_reader_read_codes, reader, 0, scales_read, 1, codes_read, 1, 1);
  REFUSED(qcodec_reader_read_codes, reader, 0, NULL, 4, codes_read, 1, 1);
  REFUSED(qcodec_reader_read_codes, reader, 0, scales_read, 4, NULL, 1, 1);
  REFUSED(qcodec_reader_read_codes, reader, 0, scales_read, SIZE_MAX, codes_read, 1, 1);
  REFUSED(qcodec_reader_read_codes, NULL, 0, scales_read, 4, codes_read, 1, 1);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_read_codes, reader, 3, scales_read, 4, codes_read, 1, 1);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_code_sizes, reader, SIZE_MAX, &scales_size, &codes_size);
  REFUSED(qcodec_reader_code_sizes, NULL, 0, &scales_size, &codes_size);
  qcodec_reader_free(reader);
  free(scales_read);
  free(codes_read);
  qcodec_scheme_free(dynamic);
  qcodec_scheme_free(custom);
  qcodec_scheme_free(rank1);
  free(sink.bytes);
}

// MARK: Reading

static const char *const NAMES[] = {"layer.exp_avg", "layer.exp_avg_sq", "layer.weight",    "odd",
                                    "one",           "pushed",           "pushed.lossless", "step"};

static void test_reader(qcodec_reader *reader) {
  CHECK(qcodec_reader_count(reader) == 8);
  CHECK(qcodec_reader_count(NULL) == 0);
  char name[64];
  for (size_t i = 0; i < 8; i++) {
    CHECK(qcodec_reader_find(reader, NAMES[i]) == (int64_t)i);
    CHECK(qcodec_reader_name(reader, i, name, sizeof name) == strlen(NAMES[i]) && strcmp(name, NAMES[i]) == 0);
  }
  CHECK(qcodec_reader_find(reader, "none") == -1 && qcodec_reader_find(reader, "") == -1);
  CHECK(qcodec_reader_find(reader, NULL) == -1 && qcodec_reader_find(NULL, "one") == -1);
  CHECK(qcodec_reader_find(reader, BAD_TEXT) == -1);
  memset(name, 'x', sizeof name);
  CHECK(qcodec_reader_name(reader, 4, NULL, 0) == 3 && qcodec_reader_name(reader, 4, NULL, 64) == 3);
  CHECK(qcodec_reader_name(reader, 4, name, 0) == 3 && name[0] == 'x');
  CHECK(qcodec_reader_name(reader, 4, name, 1) == 3 && name[0] == 0 && name[1] == 'x');
  CHECK(qcodec_reader_name(reader, 4, name, 3) == 3 && strcmp(name, "on") == 0 && name[3] == 'x');
  CHECK(qcodec_reader_name(reader, 4, name, SIZE_MAX) == 3 && strcmp(name, "one") == 0);
  CHECK(qcodec_reader_name(reader, 8, name, 64) == 0 && qcodec_reader_name(reader, SIZE_MAX, name, 64) == 0);
  CHECK(qcodec_reader_name(NULL, 0, name, 64) == 0);

  qcodec_tensor_info info;
  OK(qcodec_reader_info, reader, 0, &info);
  CHECK(info.dtype == QCODEC_F32 && info.role == QCODEC_ROLE_FIRST_MOMENT && info.is_quantized == 1);
  CHECK(info.dims == 2 && info.shape[0] == ROWS && info.shape[1] == COLUMNS && info.shape[2] == 0);
  CHECK(info.elements == COUNT && info.source_bytes == sizeof first && info.stored_bytes < sizeof first / 3);
  CHECK(info.second_moment == 1 && info.measured.guaranteed_max_rel_error > 0);
  OK(qcodec_reader_info, reader, 1, &info);
  CHECK(info.second_moment == -1 && info.role == QCODEC_ROLE_SECOND_MOMENT);
  OK(qcodec_reader_info, reader, 7, &info);
  CHECK(info.is_quantized == 0 && info.dims == 0 && info.elements == 1 && info.dtype == QCODEC_I64);
  OK(qcodec_reader_info, reader, 4, &info);
  CHECK(info.role == QCODEC_ROLE_MOMENTUM);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_info, reader, 8, &info);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_info, reader, SIZE_MAX, &info);
  REFUSED(qcodec_reader_info, reader, 0, NULL);
  REFUSED(qcodec_reader_info, NULL, 0, &info);

  qcodec_scheme *scheme = (qcodec_scheme *)name;
  OK(qcodec_reader_scheme, reader, 2, &scheme);
  CHECK(scheme == NULL);
  OK(qcodec_reader_scheme, reader, 0, &scheme);
  char *text = NULL;
  OK(qcodec_scheme_text, scheme, &text);
  CHECK(text != NULL && strstr(text, "cubic") && strstr(text, "update"));
  qcodec_string_free(text);
  qcodec_scheme_free(scheme);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_scheme, reader, 8, &scheme);
  REFUSED(qcodec_reader_scheme, NULL, 0, &scheme);
  REFUSED(qcodec_reader_scheme, reader, 0, NULL);
  REFUSED(qcodec_reader_code_sizes, reader, 2, NULL, NULL);
  REFUSED(qcodec_reader_read_codes, reader, 2, NULL, 0, NULL, 0, 1);
}

/// Reads several tensors at once, then rows of each; any number of threads runs it at a time.
static void read_all(qcodec_reader *reader) {
  float *values[3] = {memory(sizeof first), memory(sizeof first), memory(sizeof first)};
  float odd[3], rows[3 * COLUMNS];
  int64_t step = 0;
  qcodec_read_request requests[5] = {
    {0, values[0], sizeof first}, {1, values[1], sizeof first}, {2, values[2], sizeof first},
    {3, odd, sizeof odd}, {7, &step, sizeof step}};
  qcodec_error *error = NULL;
  qcodec_status status = qcodec_reader_read(reader, requests, 5, 2, &error);
  int good = status == QCODEC_OK && step == 17 && memcmp(values[2], weights, sizeof weights) == 0;
  good &= isnan(odd[0]) && isinf(odd[1]) && signbit(odd[2]) && odd[2] == 0;
  for (int i = 0; i < COUNT && good; i++) {
    good &= fabsf(values[1][i] - second[i]) <= 0.1f * second[i];
    good &= fabsf(values[0][i] - first[i]) <= 0.05f * sqrtf(second[i]);
  }
  for (uint64_t row = 0; row + 3 <= ROWS && good; row += 41) {
    for (int tensor = 0; tensor < 3; tensor++) {
      status = qcodec_reader_read_rows(reader, (size_t)tensor, row, 3, rows, sizeof rows, 1, &error);
      good &= status == QCODEC_OK && memcmp(rows, values[tensor] + row * COLUMNS, sizeof rows) == 0;
    }
  }
  if (!good) fprintf(stderr, "a thread read wrongly: %s\n", qcodec_error_description(error));
  qcodec_error_free(error);
  for (int i = 0; i < 3; i++) free(values[i]);
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  CHECK(good);
  pthread_mutex_unlock(&lock);
}

static void *read_in_thread(void *reader) {
  for (int i = 0; i < 3; i++) read_all(reader);
  return NULL;
}

/// No thread outlives a call, so that a child goes on where its parent was.
static void test_fork(qcodec_reader *reader) {
  pid_t child = fork();
  if (child == 0) {
    int before = failures;
    read_all(reader);
    test_environment();
    _exit(failures == before ? 0 : 1);
  }
  int status = 1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static qcodec_cancellation *asked_for = NULL;
static void cancel_on_signal(int number) {
  (void)number;
  qcodec_cancellation_cancel(asked_for);
}

static void *cancel_in_thread(void *cancellation) {
  qcodec_cancellation_cancel(cancellation);
  return NULL;
}

/// Ends the calls of this thread by another thread, and by a signal.
static void test_cancellation(qcodec_reader *reader) {
  REFUSED(qcodec_cancellation_create, NULL);
  qcodec_cancellation_cancel(NULL);
  CHECK(qcodec_cancellation_is_cancelled(NULL) == 0);
  qcodec_cancellation_free(NULL);
  for (int by_signal = 0; by_signal < 2; by_signal++) {
    OK(qcodec_cancellation_create, &asked_for);
    qcodec_cancellation_use(asked_for);
    qcodec_cancellation_use(asked_for);
    CHECK(!qcodec_cancellation_is_cancelled(asked_for));
    read_all(reader);
    qcodec_writer *writer = NULL;
    OK(qcodec_writer_create, path_of("cancelled.qckpt"), NULL, &writer);
    qcodec_tensor tensor = tensor_of("w", weights);
    OK(qcodec_writer_add_tensor, writer, &tensor, NULL);
    if (by_signal) {
      CHECK(signal(SIGUSR1, cancel_on_signal) != SIG_ERR);
      CHECK(raise(SIGUSR1) == 0);
      signal(SIGUSR1, SIG_DFL);
    } else {
      pthread_t thread;
      CHECK(pthread_create(&thread, NULL, cancel_in_thread, asked_for) == 0);
      pthread_join(thread, NULL);
    }
    CHECK(qcodec_cancellation_is_cancelled(asked_for) == 1);
    qcodec_read_request request = {1, scratch, sizeof scratch};
    EXPECT(QCODEC_CANCELLED, qcodec_reader_read, reader, &request, 1, 2);
    EXPECT(QCODEC_CANCELLED, qcodec_verify, reader, NULL, NULL, NULL);
    EXPECT(QCODEC_CANCELLED, qcodec_writer_commit, writer, NULL);
    EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
    qcodec_writer_free(writer);
    CHECK(is_clean("cancelled.qckpt"));
    // What a thread uses lives until it uses it no more.
    qcodec_cancellation_free(asked_for);
    EXPECT(QCODEC_CANCELLED, qcodec_reader_read, reader, &request, 1, 2);
    qcodec_cancellation_use(NULL);
    OK(qcodec_reader_read, reader, &request, 1, 2);
  }
}

static void test_reading(qcodec_reader *reader) {
  read_all(reader);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, read_in_thread, reader) == 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);

  // Pushed and given whole are the same.
  float given[COUNT], pushed[COUNT];
  qcodec_read_request requests[2] = {{4, given, sizeof given}, {5, pushed, sizeof pushed}};
  OK(qcodec_reader_read, reader, requests, 2, 0);
  CHECK(memcmp(given, pushed, sizeof given) == 0);
  requests[1].tensor = 4;
  OK(qcodec_reader_read, reader, requests, 2, INT32_MIN);
  CHECK(memcmp(given, pushed, sizeof given) == 0);

  requests[1].size -= 1;
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_reader_read, reader, requests, 2, 0);
  requests[1].size = SIZE_MAX;
  REFUSED(qcodec_reader_read, reader, requests, 2, 0);
  requests[1].size = sizeof pushed;
  requests[1].target = NULL;
  REFUSED(qcodec_reader_read, reader, requests, 2, 0);
  requests[1].target = pushed;
  requests[1].tensor = 8;
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_read, reader, requests, 2, 0);
  requests[1].tensor = SIZE_MAX;
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_read, reader, requests, 2, 0);
  OK(qcodec_reader_read, reader, NULL, 0, 0);
  REFUSED(qcodec_reader_read, reader, NULL, 1, 0);
  REFUSED(qcodec_reader_read, reader, requests, SIZE_MAX, 0);
  REFUSED(qcodec_reader_read, reader, requests, HUGE_SIZE, 0);
  REFUSED(qcodec_reader_read, NULL, requests, 1, 0);

  size_t bytes = 2 * COLUMNS * 4;
  OK(qcodec_reader_read_rows, reader, 7, 0, 1, pushed, 8, 1);
  OK(qcodec_reader_read_rows, reader, 0, ROWS, 0, NULL, 0, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_reader_read_rows, reader, 0, 0, 2, pushed, bytes - 1, 1);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_reader_read_rows, reader, 2, 0, 2, pushed, bytes + 1, 1);
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_read_rows, reader, 9, 0, 2, pushed, bytes, 1);
  for (size_t tensor = 0; tensor < 8; tensor++) {
    REFUSED(qcodec_reader_read_rows, reader, tensor, ROWS - 1, 2, pushed, bytes, 1);
    REFUSED(qcodec_reader_read_rows, reader, tensor, UINT64_MAX, 2, pushed, bytes, 1);
    REFUSED(qcodec_reader_read_rows, reader, tensor, UINT64_MAX - 2, 2, pushed, bytes, 1);
    REFUSED(qcodec_reader_read_rows, reader, tensor, 1, UINT64_MAX - 1, pushed, bytes, 1);
  }
  REFUSED(qcodec_reader_read_rows, reader, 0, 0, 2, NULL, bytes, 1);
  REFUSED(qcodec_reader_read_rows, reader, 0, 0, 2, pushed, SIZE_MAX, 1);
  REFUSED(qcodec_reader_read_rows, NULL, 0, 0, 2, pushed, bytes, 1);
}

static void test_documents(qcodec_reader *reader) {
  char *text = NULL;
  size_t length = 0;
  OK(qcodec_reader_member, reader, "metadata", &text, &length);
  CHECK(text != NULL && strlen(text) == length && strstr(text, "größe") != NULL);
  qcodec_string_free(text);
  OK(qcodec_reader_member, reader, "policy", &text, NULL);
  CHECK(text != NULL && strstr(text, "adam8") != NULL);
  qcodec_string_free(text);
  OK(qcodec_reader_member, reader, "mine", &text, &length);
  CHECK(text != NULL && text[0] == '[' && strstr(text, "null") != NULL);
  qcodec_string_free(text);
  OK(qcodec_reader_member, reader, "", &text, &length);
  CHECK(text != NULL && strcmp(text, "null") == 0 && length == 4);
  qcodec_string_free(text);
  REFUSED(qcodec_reader_member, reader, NULL, &text, &length);
  REFUSED(qcodec_reader_member, reader, BAD_TEXT, &text, &length);
  REFUSED(qcodec_reader_member, reader, "mine", NULL, &length);
  REFUSED(qcodec_reader_member, NULL, "mine", &text, &length);
  OK(qcodec_reader_summary, reader, &text);
  CHECK(text != NULL && strstr(text, "\"tensor_count\"") && strstr(text, "pushed.lossless"));
  qcodec_string_free(text);
  REFUSED(qcodec_reader_summary, reader, NULL);
  REFUSED(qcodec_reader_summary, NULL, &text);
}

static void test_openers(Memory *bytes) {
  const char *path = path_of("whole.qckpt");
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL && fwrite(bytes->bytes, 1, bytes->size, file) == bytes->size && fclose(file) == 0);
  qcodec_reader *reader = NULL;
  OK(qcodec_reader_open, path, &reader);
  read_all(reader);
  qcodec_reader_free(reader);
  int descriptor = open(path, O_RDONLY);
  OK(qcodec_reader_open_fd, descriptor, &reader);
  CHECK(close(descriptor) == 0);
  read_all(reader);
  qcodec_reader_free(reader);
  qcodec_reader_free(NULL);

  EXPECT(QCODEC_IO, qcodec_reader_open, path_of("none.qckpt"), &reader);
  CHECK(reader == NULL);
  EXPECT(QCODEC_IO, qcodec_reader_open, "", &reader);
  REFUSED(qcodec_reader_open, NULL, &reader);
  REFUSED(qcodec_reader_open, BAD_TEXT, &reader);
  REFUSED(qcodec_reader_open, path, NULL);
  REFUSED(qcodec_reader_open_fd, -1, &reader);
  REFUSED(qcodec_reader_open_fd, 1 << 20, &reader);
  int ends[2];
  CHECK(pipe(ends) == 0);
  EXPECT(QCODEC_IO, qcodec_reader_open_fd, ends[0], &reader);
  close(ends[0]);
  close(ends[1]);
  REFUSED(qcodec_reader_open_function, NULL, NULL, bytes->size, &reader);
  REFUSED(qcodec_reader_open_function, read_memory, bytes, UINT64_MAX, &reader);
  REFUSED(qcodec_reader_open_function, read_memory, bytes, bytes->size, NULL);
  EXPECT(QCODEC_IO, qcodec_reader_open_function, read_memory, bytes, INT64_MAX, &reader);
  file = fopen(path_of("text"), "wb");
  CHECK(file != NULL && fputs("no checkpoint", file) >= 0 && fclose(file) == 0);
  EXPECT(QCODEC_NOT_A_CHECKPOINT, qcodec_reader_open, path_of("text"), &reader);

  // A file cut anywhere is no checkpoint, whatever function delivers it.
  for (size_t size = 0; size < bytes->size; size += size < 200 ? 1 : 9973) {
    Memory cut = {.bytes = bytes->bytes, .size = size, .lock = PTHREAD_MUTEX_INITIALIZER};
    CHECK(qcodec_reader_open_function(read_memory, &cut, size, &reader, NULL) != QCODEC_OK && reader == NULL);
  }
  // A byte that differs in a chunk: an error with its place, and what is whole can be read.
  Memory damaged = memory_of(bytes->size);
  memcpy(damaged.bytes, bytes->bytes, bytes->size);
  damaged.size = bytes->size;
  size_t place = 600;
  damaged.bytes[place] ^= 1;
  OK(qcodec_reader_open_function, read_memory, &damaged, damaged.size, &reader);
  EXPECT(QCODEC_CHUNK_CORRUPT, qcodec_verify, reader, NULL, NULL, NULL);
  uint64_t offset = 0;
  CHECK(qcodec_error_offset(last, &offset) == 1 && offset <= place && qcodec_error_tensor(last) != NULL);
  int whole = 0, hit = 0;
  for (size_t tensor = 0; tensor < 7; tensor++) {
    if (tensor == 3) continue;
    qcodec_status status = qcodec_reader_read_rows(reader, tensor, 0, ROWS, scratch, sizeof scratch, 1, NULL);
    whole += status == QCODEC_OK;
    hit += status == QCODEC_CHUNK_CORRUPT;
  }
  CHECK(whole >= 4 && hit >= 1 && whole + hit == 6);
  // The function fails after opening.
  damaged.status = 5;
  damaged.countdown = damaged.calls;
  EXPECT(QCODEC_IO, qcodec_reader_read_rows, reader, 2, 0, ROWS, scratch, sizeof scratch, 1);
  EXPECT(QCODEC_IO, qcodec_verify, reader, NULL, NULL, NULL);
  qcodec_reader_free(reader);
  // And before.
  EXPECT(QCODEC_IO, qcodec_reader_open_function, read_memory, &damaged, damaged.size, &reader);
  free(damaged.bytes);
}

// MARK: Verification

/// Writes the weights alone, by a step moved, with a base where there is one.
static void write_step(const char *path, float step, const qcodec_reader *base, const char *name) {
  qcodec_writer_options options;
  qcodec_writer_options_init(&options);
  CHECK(options.base == NULL && options.base_name == NULL);
  options.base = base;
  options.base_name = name;
  qcodec_writer *writer = NULL;
  OK(qcodec_writer_create, path, &options, &writer);
  for (int i = 0; i < COUNT; i++) scratch[i] = i < COUNT / 2 ? weights[i] : weights[i] + step;
  qcodec_tensor moved = tensor_of("moved", scratch), still = tensor_of("still", first);
  OK(qcodec_writer_add_tensor, writer, &moved, NULL);
  OK(qcodec_writer_add_tensor, writer, &still, NULL);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
}

/// Reads what write_step wrote, or expects that it cannot be read.
static void read_step(qcodec_reader *reader, float step, int32_t code) {
  float *values = memory(sizeof weights);
  qcodec_read_request request = {.tensor = 0, .target = values, .size = sizeof weights};
  EXPECT(code, qcodec_reader_read, reader, &request, 1, 2);
  for (int i = 0; code == QCODEC_OK && i < COUNT; i++) {
    CHECK(values[i] == (i < COUNT / 2 ? weights[i] : weights[i] + step));
  }
  request.tensor = 1;
  EXPECT(code, qcodec_reader_read, reader, &request, 1, 2);
  CHECK(code != QCODEC_OK || memcmp(values, first, sizeof first) == 0);
  free(values);
}

static void test_bases(void) {
  const char *paths[] = {path_of("base0.qckpt"), path_of("base1.qckpt"), path_of("base2.qckpt")};
  qcodec_reader *base = NULL, *reader = NULL, *other = NULL;
  char *json = NULL;
  write_step(paths[0], 0, NULL, NULL);
  OK(qcodec_reader_open, paths[0], &base);
  OK(qcodec_reader_base, base, &json);
  CHECK(strcmp(json, "null") == 0);
  qcodec_string_free(json);
  write_step(paths[1], 0x1p-12f, base, "base0.qckpt");

  // Beside the file; on a descriptor, from the folder that is told.
  OK(qcodec_reader_open, paths[1], &reader);
  OK(qcodec_reader_base, reader, &json);
  CHECK(strstr(json, "\"name\":\"base0.qckpt\"") != NULL && strstr(json, "\"found\":true") != NULL);
  qcodec_string_free(json);
  read_step(reader, 0x1p-12f, QCODEC_OK);
  write_step(paths[2], 0x1p-11f, reader, "base1.qckpt");
  qcodec_reader_free(reader);
  int descriptor = open(paths[1], O_RDONLY);
  char place[4100];
  snprintf(place, sizeof place, "%s/", folder);
  OK(qcodec_reader_open_fd_at, descriptor, place, &reader);
  read_step(reader, 0x1p-12f, QCODEC_OK);
  qcodec_reader_free(reader);
  OK(qcodec_reader_open_fd_at, descriptor, NULL, &reader);
  read_step(reader, 0, QCODEC_BASE_MISSING);
  // With the base at hand, whichever is freed first.
  OK(qcodec_reader_with_base, reader, base, &other);
  qcodec_reader_free(reader);
  qcodec_reader_free(base);
  read_step(other, 0x1p-12f, QCODEC_OK);
  REFUSED(qcodec_reader_with_base, other, NULL, &reader);
  REFUSED(qcodec_reader_with_base, NULL, other, &reader);
  REFUSED(qcodec_reader_with_base, other, other, NULL);
  qcodec_reader_free(other);
  REFUSED(qcodec_reader_open_fd_at, descriptor, BAD_TEXT, &reader);
  REFUSED(qcodec_reader_open_fd_at, -1, place, &reader);
  CHECK(close(descriptor) == 0);

  // Elsewhere it is named, also where it is one behind the base; another in its place is none.
  const char *moved = path_of("moved.qckpt");
  CHECK(rename(paths[0], moved) == 0);
  OK(qcodec_reader_open_base, paths[2], moved, &reader);
  read_step(reader, 0x1p-11f, QCODEC_OK);
  qcodec_reader_free(reader);
  OK(qcodec_reader_open, paths[1], &reader);
  read_step(reader, 0, QCODEC_BASE_MISSING);
  qcodec_reader_free(reader);
  CHECK(rename(paths[2], paths[0]) == 0);
  OK(qcodec_reader_open, paths[1], &reader);
  read_step(reader, 0, QCODEC_BASE_MISMATCH);
  OK(qcodec_reader_base, reader, &json);
  CHECK(strstr(json, "\"found\":false") != NULL);
  qcodec_string_free(json);
  REFUSED(qcodec_reader_base, NULL, &json);
  REFUSED(qcodec_reader_base, reader, NULL);
  REFUSED(qcodec_reader_open_base, NULL, moved, &other);
  REFUSED(qcodec_reader_open_base, paths[1], NULL, &other);
  EXPECT(QCODEC_IO, qcodec_reader_open_base, paths[1], path_of("none"), &other);

  // Nothing is written over a base.
  qcodec_writer_options options;
  qcodec_writer_options_init(&options);
  options.base = reader;
  qcodec_writer *writer = NULL;
  EXPECT(QCODEC_WOULD_OVERWRITE_INPUT, qcodec_writer_create, paths[1], &options, &writer);
  options.base_name = "/absolute";
  REFUSED(qcodec_writer_create, paths[2], &options, &writer);
  options.base = NULL;
  REFUSED(qcodec_writer_create, paths[2], &options, &writer);
  CHECK(writer == NULL && is_clean("base2.qckpt"));
  qcodec_reader_free(reader);
}

// MARK: Checkpoints that stand alone

/// The contents of a file, to be freed.
static Memory file_of(const char *path) {
  struct stat status;
  if (stat(path, &status) != 0) abort();
  Memory result = memory_of((size_t)status.st_size);
  int descriptor = open(path, O_RDONLY);
  CHECK(read(descriptor, result.bytes, result.capacity) == (ssize_t)result.capacity);
  result.size = result.capacity;
  close(descriptor);
  return result;
}

static int are_equal(const Memory *one, const Memory *other) {
  return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

static void test_flattening(void) {
  static char paths[3][4200], whole[4200], flat[4200];
  for (int i = 0; i < 3; i++) snprintf(paths[i], sizeof paths[i], "%s/flat%d.qckpt", folder, i);
  snprintf(whole, sizeof whole, "%s/whole.qckpt", folder);
  snprintf(flat, sizeof flat, "%s/flat.qckpt", folder);
  qcodec_reader *readers[3] = {NULL, NULL, NULL};
  write_step(paths[0], 0, NULL, NULL);
  OK(qcodec_reader_open, paths[0], &readers[0]);
  write_step(paths[1], 0x1p-12f, readers[0], "flat0.qckpt");
  OK(qcodec_reader_open, paths[1], &readers[1]);
  write_step(paths[2], 0x1p-11f, readers[1], "flat1.qckpt");
  OK(qcodec_reader_open, paths[2], &readers[2]);
  write_step(whole, 0x1p-11f, NULL, NULL);
  Memory expected = file_of(whole), given = file_of(paths[2]);

  // A file, a descriptor and a function take the bytes that there would have been without a base.
  qcodec_flattened done;
  memset(&done, 0xEE, sizeof done);
  OK(qcodec_flatten, readers[2], flat, 2, &done);
  CHECK(done.input_bytes == given.size && done.output_bytes == expected.size && done.bases == 2);
  CHECK(done.chunks == 2 && done.base_chunks == 1 && done.difference_chunks == 1);
  Memory found = file_of(flat);
  CHECK(are_equal(&found, &expected));
  free(found.bytes);
  OK(qcodec_flatten, readers[2], flat, 0, NULL);
  int descriptor = open(path_of("flat.fd"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  OK(qcodec_flatten_fd, readers[2], descriptor, 1, &done);
  CHECK(close(descriptor) == 0);
  found = file_of(path_of("flat.fd"));
  CHECK(are_equal(&found, &expected));
  free(found.bytes);
  Memory sink = memory_of(1 << 20);
  OK(qcodec_flatten_function, readers[2], write_memory, &sink, 2, &done);
  CHECK(are_equal(&sink, &expected) && done.output_bytes == sink.size);
  // What stands alone stays as it is.
  OK(qcodec_flatten, readers[0], flat, 1, &done);
  CHECK(done.bases == 0 && done.base_chunks == 0 && done.difference_chunks == 0);
  Memory first_step = file_of(paths[0]);
  found = file_of(flat);
  CHECK(are_equal(&found, &first_step));
  free(found.bytes);
  free(first_step.bytes);

  // Nothing is written over a base or the checkpoint itself; what fails leaves what is there.
  done.chunks = 77;
  for (int i = 0; i < 3; i++) EXPECT(QCODEC_WOULD_OVERWRITE_INPUT, qcodec_flatten, readers[2], paths[i], 1, &done);
  EXPECT(QCODEC_IO, qcodec_flatten, readers[2], path_of("no/such/folder"), 1, &done);
  EXPECT(QCODEC_IO, qcodec_flatten_fd, readers[2], -1, 1, &done);
  sink.size = 0;
  sink.status = 5;
  sink.countdown = sink.calls;
  EXPECT(QCODEC_IO, qcodec_flatten_function, readers[2], write_memory, &sink, 1, &done);
  CHECK(strstr(qcodec_error_message(last), "5") != NULL && done.chunks == 77);
  REFUSED(qcodec_flatten, NULL, flat, 1, &done);
  REFUSED(qcodec_flatten, readers[2], NULL, 1, &done);
  REFUSED(qcodec_flatten, readers[2], BAD_TEXT, 1, &done);
  REFUSED(qcodec_flatten_fd, NULL, 1, 1, &done);
  REFUSED(qcodec_flatten_function, NULL, write_memory, &sink, 1, &done);
  REFUSED(qcodec_flatten_function, readers[2], NULL, &sink, 1, &done);
  qcodec_cancellation *cancellation = NULL;
  OK(qcodec_cancellation_create, &cancellation);
  qcodec_cancellation_use(cancellation);
  qcodec_cancellation_cancel(cancellation);
  EXPECT(QCODEC_CANCELLED, qcodec_flatten, readers[2], path_of("new.qckpt"), 2, &done);
  qcodec_cancellation_use(NULL);
  qcodec_cancellation_free(cancellation);
  CHECK(is_clean("new.qckpt"));
  for (int i = 0; i < 3; i++) qcodec_reader_free(readers[i]);
  Memory before = file_of(flat);
  CHECK(rename(paths[0], path_of("flat.moved")) == 0);
  OK(qcodec_reader_open, paths[2], &readers[2]);
  EXPECT(QCODEC_BASE_MISSING, qcodec_flatten, readers[2], flat, 1, &done);
  CHECK(qcodec_error_tensor(last) != NULL);
  qcodec_reader_free(readers[2]);
  OK(qcodec_reader_open_base, paths[2], path_of("flat.moved"), &readers[2]);
  found = file_of(flat);
  CHECK(are_equal(&found, &before));
  free(found.bytes);
  OK(qcodec_flatten, readers[2], flat, 1, NULL);
  found = file_of(flat);
  CHECK(are_equal(&found, &expected));
  qcodec_reader_free(readers[2]);
  CHECK(rename(whole, paths[0]) == 0);
  OK(qcodec_reader_open, paths[2], &readers[2]);
  EXPECT(QCODEC_BASE_MISMATCH, qcodec_flatten, readers[2], flat, 1, &done);
  qcodec_reader_free(readers[2]);
  free(found.bytes);
  free(before.bytes);
  free(given.bytes);
  free(expected.bytes);
  free(sink.bytes);
}

// MARK: Bounds

static qcodec_writer_options bounded(int32_t kind, double value, int32_t is_of_rms) {
  qcodec_writer_options options;
  qcodec_writer_options_init(&options);
  options.bound = kind;
  options.bound_value = value;
  options.bound_is_of_rms = is_of_rms;
  return options;
}

/// Adds a pair of moments and parameters under the bound of a writer.
static qcodec_status add_bounded(qcodec_writer *writer, Memory *parameters, qcodec_error **error) {
  qcodec_tensor tensors[3] = {
    tensor_of("layer.exp_avg", first), tensor_of("layer.exp_avg_sq", second), tensor_of("layer.weight", NULL)};
  tensors[2].read = read_memory;
  tensors[2].context = parameters;
  uint8_t dropped[3] = {9, 9, 9};
  qcodec_status status = qcodec_writer_add(writer, tensors, 3, NULL, dropped, error);
  if (status == QCODEC_OK) CHECK(dropped[0] == 0 && dropped[1] == 0 && dropped[2] == 0);
  return status;
}

static double update_of(float m, float v, double epsilon) { return m == 0 ? 0 : (double)m / (sqrt((double)v) + epsilon); }

/// The root mean square of a tensor, or of the updates of the pair.
static double rms_of(const float *values, const float *others) {
  double sum = 0;
  for (int i = 0; i < COUNT; i++) {
    double value = others == NULL ? (double)values[i] : update_of(values[i], others[i], 1e-8);
    sum += value * value;
  }
  return sqrt(sum / COUNT);
}

/// Reads what add_bounded wrote and holds each element against the bound of the options.
static void check_bounded(const Memory *file, const qcodec_writer_options *options) {
  qcodec_reader *reader = NULL;
  OK(qcodec_reader_open_function, read_memory, (void *)file, file->size, &reader);
  float *found[3];
  const float *given[3] = {first, second, weights};
  for (size_t i = 0; i < 3; i++) {
    found[i] = memory(sizeof first);
    qcodec_read_request request = {.tensor = i, .target = found[i], .size = sizeof first};
    OK(qcodec_reader_read, reader, &request, 1, 2);
  }
  int kept = 1, changed = 0;
  for (int tensor = 0; tensor < 3; tensor++) {
    double limit = options->bound_value;
    if (options->bound_is_of_rms != 0) {
      limit *= options->bound == QCODEC_BOUND_UPDATE ? rms_of(first, second) : rms_of(given[tensor], NULL);
    }
    for (int i = 0; i < COUNT; i++) {
      double x = (double)given[tensor][i], error = fabs(x - (double)found[tensor][i]);
      if (options->bound == QCODEC_BOUND_ABSOLUTE) kept &= error <= limit;
      if (options->bound == QCODEC_BOUND_RELATIVE) kept &= error <= limit * fabs(x);
      if (options->bound != QCODEC_BOUND_UPDATE) continue;
      if (tensor == 2) kept &= error == 0;
      double u = update_of(first[i], second[i], options->bound_epsilon);
      if (tensor == 0) kept &= fabs(u - update_of(found[0][i], found[1][i], options->bound_epsilon)) <= limit;
    }
    changed |= memcmp(found[tensor], given[tensor], sizeof first) != 0;
  }
  CHECK(kept && changed);
  char *json = NULL;
  OK(qcodec_reader_member, reader, "error_bound", &json, NULL);
  CHECK(strstr(json, options->bound_is_of_rms != 0 ? "\"rms\"" : "\"one\"") != NULL);
  qcodec_string_free(json);
  OK(qcodec_reader_member, reader, "policy", &json, NULL);
  CHECK(strcmp(json, "null") == 0);
  qcodec_string_free(json);
  qcodec_tensor tensors[3] = {
    tensor_of("layer.exp_avg", first), tensor_of("layer.exp_avg_sq", second), tensor_of("layer.weight", weights)};
  OK(qcodec_verify_tensors, reader, tensors, 3, NULL, NULL);
  for (int i = 0; i < 3; i++) free(found[i]);
  qcodec_reader_free(reader);
}

static void test_kept_bounds(void) {
  static const struct { int32_t kind; double value; int32_t is_of_rms; } cases[] = {
    {QCODEC_BOUND_ABSOLUTE, 1e-3, 0}, {QCODEC_BOUND_ABSOLUTE, 0.05, 1}, {QCODEC_BOUND_RELATIVE, 0.01, 0},
    {QCODEC_BOUND_UPDATE, 0.1, 0}, {QCODEC_BOUND_UPDATE, 0.15, 1}};
  Memory parameters = parameters_in_memory();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    qcodec_writer_options options = bounded(cases[i].kind, cases[i].value, cases[i].is_of_rms);
    Memory files[2] = {memory_of(1 << 20), memory_of(1 << 20)};
    for (int turn = 0; turn < 2; turn++) {
      qcodec_writer *writer = NULL;
      options.threads = 1 + turn;
      OK(qcodec_writer_create_function, write_memory, &files[turn], &options, &writer);
      OK(add_bounded, writer, &parameters);
      OK(qcodec_writer_commit, writer, NULL);
      qcodec_writer_free(writer);
    }
    CHECK(are_equal(&files[0], &files[1]));
    check_bounded(&files[0], &options);
    free(files[0].bytes);
    free(files[1].bytes);
  }
  free(parameters.bytes);
}

static void test_refused_bounds(void) {
  qcodec_writer *writer = NULL;
  Memory sink = memory_of(1 << 20);
  static const double values[] = {0, -1, INFINITY, -INFINITY, NAN};
  for (int32_t kind = QCODEC_BOUND_ABSOLUTE; kind <= QCODEC_BOUND_UPDATE; kind++) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
      qcodec_writer_options options = bounded(kind, values[i], 0);
      REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
      REFUSED(qcodec_writer_create_function, write_memory, &sink, &options, &writer);
    }
  }
  qcodec_writer_options options = bounded(QCODEC_BOUND_RELATIVE, 1, 0);
  REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  options = bounded(QCODEC_BOUND_RELATIVE, 0.1, 1);
  REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  static const int32_t kinds[] = {-1, 4, 257, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    options = bounded(kinds[i], 0.1, 0);
    REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  }
  for (size_t i = 1; i < sizeof values / sizeof *values; i++) {
    options = bounded(QCODEC_BOUND_UPDATE, 0.1, 0);
    options.bound_epsilon = values[i];
    REFUSED(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  }
  CHECK(writer == NULL && sink.calls == 0 && is_clean("new.qckpt"));

  // Options that end before there were bounds have none, whatever lies behind them.
  options = bounded(QCODEC_BOUND_ABSOLUTE, -1, 0);
  options.struct_size = offsetof(qcodec_writer_options, bound);
  OK(qcodec_writer_create_function, write_memory, &sink, &options, &writer);
  Memory parameters = parameters_in_memory();
  fill(writer, &parameters);
  REFUSED(add_bounded, writer, &parameters);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  free(parameters.bytes);
  free(sink.bytes);
}

static void test_bounded_additions(void) {
  qcodec_writer *writer = NULL;
  qcodec_policy *policy = NULL;
  qcodec_scheme *scheme = dynamic8();
  Memory parameters = parameters_in_memory();
  qcodec_writer_options options = bounded(QCODEC_BOUND_ABSOLUTE, 1e-3, 0);
  OK(qcodec_policy_preset, "adam8", &policy);
  OK(qcodec_writer_create, path_of("bounded.qckpt"), &options, &writer);

  // Nothing but the bound says how values are stored; a refusal leaves the writer as it was.
  qcodec_tensor tensor = tensor_of("more", weights);
  REFUSED(qcodec_writer_add, writer, &tensor, 1, policy, NULL);
  REFUSED(qcodec_writer_add_tensor, writer, &tensor, scheme);
  REFUSED(qcodec_writer_add_pushed, writer, &tensor, scheme, next_piece, &parameters);
  tensor.size -= 4;
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add, writer, &tensor, 1, NULL, NULL);
  tensor.size += 4;
  OK(add_bounded, writer, &parameters);
  EXPECT(QCODEC_DUPLICATE_NAME, add_bounded, writer, &parameters);
  OK(qcodec_writer_add_tensor, writer, &tensor, NULL);
  tensor.name = "pushed";
  OK(qcodec_writer_add_pushed, writer, &tensor, NULL, next_piece, &parameters);
  REFUSED(qcodec_writer_set_member, writer, "error_bound", "{}", 2);
  OK(qcodec_writer_commit, writer, NULL);
  EXPECT(QCODEC_WRITER_CLOSED, add_bounded, writer, &parameters);
  qcodec_writer_free(writer);
  qcodec_policy_free(policy);
  qcodec_scheme_free(scheme);

  // What is not finite has no bound: an error with its place, after which the checkpoint is given up, or kept.
  memcpy(scratch, weights, sizeof scratch);
  scratch[777] = NAN;
  tensor.data = scratch;
  uint64_t element = 0;
  OK(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  EXPECT(QCODEC_NON_FINITE_VALUE, qcodec_writer_add, writer, &tensor, 1, NULL, NULL);
  CHECK(strcmp(qcodec_error_tensor(last), "pushed") == 0);
  CHECK(qcodec_error_element(last, &element) == 1 && element == 777);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  CHECK(is_clean("new.qckpt"));
  options.keep_nonfinite = 1;
  OK(qcodec_writer_create, path_of("kept.qckpt"), &options, &writer);
  OK(qcodec_writer_add, writer, &tensor, 1, NULL, NULL);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);

  // A call that is ended, and sources that fail.
  qcodec_cancellation *cancellation = NULL;
  OK(qcodec_cancellation_create, &cancellation);
  OK(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  qcodec_cancellation_use(cancellation);
  qcodec_cancellation_cancel(cancellation);
  EXPECT(QCODEC_CANCELLED, add_bounded, writer, &parameters);
  qcodec_cancellation_use(NULL);
  qcodec_cancellation_free(cancellation);
  EXPECT(QCODEC_WRITER_CLOSED, qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);
  CHECK(is_clean("new.qckpt"));
  parameters.status = 9;
  parameters.countdown = parameters.calls;
  OK(qcodec_writer_create, path_of("new.qckpt"), &options, &writer);
  EXPECT(QCODEC_IO, add_bounded, writer, &parameters);
  CHECK(strcmp(qcodec_error_tensor(last), "layer.weight") == 0);
  qcodec_writer_free(writer);
  CHECK(is_clean("new.qckpt"));
  free(parameters.bytes);
}

static void test_verification(qcodec_reader *reader) {
  qcodec_verify_options options;
  memset(&options, 0xEE, sizeof options);
  qcodec_verify_options_init(&options);
  CHECK(options.struct_size == sizeof options && isnan(options.max_rel_l2) && isnan(options.max_abs));
  CHECK(isnan(options.max_update_error) && isnan(options.max_update_abs));
  CHECK(options.epsilon == 1e-8 && options.threads == 0);
  qcodec_verify_options_init(NULL);
  char *report = NULL;
  OK(qcodec_verify, reader, NULL, NULL, NULL);
  OK(qcodec_verify, reader, NULL, &options, &report);
  CHECK(report != NULL && strstr(report, "\"ok\"") != NULL);
  qcodec_string_free(report);
  report = NULL;

  // Against itself as a file, and against the tensors that went in.
  OK(qcodec_verify, reader, path_of("whole.qckpt"), NULL, NULL);
  EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify, reader, path_of("file.qckpt"), NULL, &report);
  CHECK(report != NULL && strstr(report, "the original has no such tensor") != NULL);
  qcodec_string_free(report);
  EXPECT(QCODEC_IO, qcodec_verify, reader, path_of("none.safetensors"), NULL, NULL);
  REFUSED(qcodec_verify, reader, BAD_TEXT, NULL, NULL);
  REFUSED(qcodec_verify, NULL, NULL, NULL, NULL);

  int64_t step = 17;
  float odd[3] = {NAN, -INFINITY, -0.0f};
  uint64_t three = 3;
  Memory parameters = parameters_in_memory();
  qcodec_tensor tensors[8];
  for (int i = 0; i < 8; i++) tensors[i] = tensor_of(NAMES[i], weights);
  tensors[0].data = first;
  tensors[1].data = second;
  tensors[2].data = NULL;
  tensors[2].read = read_memory;
  tensors[2].context = &parameters;
  tensors[3].data = odd;
  tensors[3].size = sizeof odd;
  tensors[3].shape = &three;
  tensors[3].dims = 1;
  tensors[7] = (qcodec_tensor){.name = "step", .dtype = QCODEC_I64, .data = &step, .size = sizeof step};
  OK(qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  options.max_update_error = 0.05;
  options.max_rel_l2 = 0.1;
  options.max_abs = 1;
  options.max_update_abs = 1;
  options.threads = 2;
  OK(qcodec_verify_tensors, reader, tensors, 8, &options, &report);
  CHECK(report != NULL && strstr(report, "\"update_error\"") != NULL);
  qcodec_string_free(report);

  // Each limit, and each difference.
#define EXCEEDED(member)                                                                     \
  do {                                                                                       \
    qcodec_verify_options_init(&options);                                                    \
    options.member = 1e-12;                                                                  \
    EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify_tensors, reader, tensors, 8, &options, NULL); \
    options.member = -1;                                                                     \
    REFUSED(qcodec_verify_tensors, reader, tensors, 8, &options, NULL);                      \
    REFUSED(qcodec_verify, reader, NULL, &options, NULL);                                    \
  } while (0)
  EXCEEDED(max_rel_l2);
  EXCEEDED(max_abs);
  EXCEEDED(max_update_error);
  EXCEEDED(max_update_abs);
  qcodec_verify_options_init(&options);
  options.epsilon = NAN;
  REFUSED(qcodec_verify, reader, NULL, &options, NULL);
  options.epsilon = -1;
  REFUSED(qcodec_verify, reader, NULL, &options, NULL);
  qcodec_verify_options_init(&options);
  options.struct_size = 1;
  REFUSED(qcodec_verify, reader, NULL, &options, NULL);
  REFUSED(qcodec_verify_tensors, reader, tensors, 8, &options, NULL);

  float *changed = memory(sizeof second);
  memcpy(changed, second, sizeof second);
  changed[777] *= 2;
  tensors[1].data = changed;
  EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify_tensors, reader, tensors, 8, NULL, &report);
  uint64_t element = 0;
  CHECK(qcodec_error_element(last, &element) == 1 && element == 777);
  CHECK(qcodec_error_tensor(last) != NULL && strcmp(qcodec_error_tensor(last), "layer.exp_avg_sq") == 0);
  CHECK(report != NULL && strstr(report, "777") != NULL);
  qcodec_string_free(report);
  free(changed);
  tensors[1].data = second;
  parameters.bytes[3] ^= 0x40;
  EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  parameters.status = 9;
  EXPECT(QCODEC_IO, qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  tensors[2].read = NULL;
  REFUSED(qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  tensors[2] = tensor_of(NAMES[2], weights);
  EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify_tensors, reader, tensors, 7, NULL, NULL);
  EXPECT(QCODEC_BOUND_VIOLATED, qcodec_verify_tensors, reader, NULL, 0, NULL, NULL);
  REFUSED(qcodec_verify_tensors, reader, NULL, 1, NULL, NULL);
  REFUSED(qcodec_verify_tensors, reader, tensors, SIZE_MAX, NULL, NULL);
  REFUSED(qcodec_verify_tensors, reader, tensors, HUGE_SIZE, NULL, NULL);
  REFUSED(qcodec_verify_tensors, NULL, tensors, 8, NULL, NULL);
  tensors[0].size -= 4;
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  tensors[0].size += 4;
  tensors[0].dims = 33;
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  tensors[0].dims = 2;
  tensors[0].dtype = 77;
  REFUSED(qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  tensors[0].dtype = QCODEC_F32;
  tensors[0].name = NULL;
  REFUSED(qcodec_verify_tensors, reader, tensors, 8, NULL, NULL);
  free(parameters.bytes);
}

// MARK: Optimizers

enum { TRAINED = 100 * 70 };
static const uint64_t TRAINED_SHAPE[] = {100, 70};

/// A tensor of parameters, gradients and room for moments, which a test fills and frees.
typedef struct {
  float *parameters, *gradients;
  qcodec_optimizer_tensor tensor;
} Trained;

static Trained trained(const qcodec_step_options *options, const qcodec_scheme *first, const qcodec_scheme *second) {
  Trained result = {.parameters = memory(4 * TRAINED), .gradients = memory(4 * TRAINED)};
  for (int i = 0; i < TRAINED; i++) {
    result.parameters[i] = (float)((i * 37) % 101 - 50) / 100;
    result.gradients[i] = (float)((i * 53) % 97 - 48) / 5000;
  }
  result.tensor = (qcodec_optimizer_tensor){
    .name = "w", .shape = TRAINED_SHAPE, .dims = 2, .parameter_dtype = QCODEC_F32, .gradient_dtype = QCODEC_F32,
    .parameters = result.parameters, .gradients = result.gradients, .first_scheme = first, .second_scheme = second};
  size_t sizes[3];
  OK(qcodec_moment_sizes, options, &result.tensor, sizes);
  void **moments[3] = {&result.tensor.first, &result.tensor.second, &result.tensor.greatest};
  size_t *places[3] = {&result.tensor.first_size, &result.tensor.second_size, &result.tensor.greatest_size};
  for (int i = 0; i < 3; i++) {
    *places[i] = sizes[i];
    *moments[i] = sizes[i] ? memory(sizes[i]) : NULL;
  }
  OK(qcodec_moments_clear, options, &result.tensor);
  return result;
}

static void free_trained(Trained *t) {
  free(t->parameters), free(t->gradients);
  free(t->tensor.first), free(t->tensor.second), free(t->tensor.greatest);
}

static void test_rules(void) {
  for (int32_t rule = QCODEC_ADAM; rule <= QCODEC_LARS; rule++) {
    qcodec_step_options options = {0};
    qcodec_step_options_init(&options, rule);
    CHECK(options.struct_size == sizeof options && options.rule == rule && options.step == 1);
    CHECK(options.gradient_factor == 1 && options.learning_rate > 0);
    Trained one = trained(&options, NULL, NULL), other = trained(&options, NULL, NULL);
    for (uint64_t step = 1; step <= 3; step++) {
      options.step = step;
      OK(qcodec_optimizer_step, &options, &one.tensor, 1, 1);
      OK(qcodec_optimizer_step, &options, &other.tensor, 1, 3);
    }
    CHECK(memcmp(one.parameters, other.parameters, 4 * TRAINED) == 0);
    // Every parameter moves against its gradient.
    int wrong = 0;
    for (int i = 0; i < TRAINED; i++) {
      float before = (float)((i * 37) % 101 - 50) / 100;
      if (one.gradients[i] != 0 && before == 0) wrong += one.parameters[i] * one.gradients[i] >= 0;
    }
    CHECK(wrong == 0);
    free_trained(&one), free_trained(&other);
  }
  qcodec_step_options untouched = {.rule = 5};
  qcodec_step_options_init(&untouched, 99);
  CHECK(untouched.struct_size == 0);
  qcodec_step_options_init(NULL, QCODEC_ADAM);
}

static void test_named_steps(const qcodec_scheme *first, const qcodec_scheme *second) {
  qcodec_step_options options;
  qcodec_step_options_init(&options, QCODEC_ADAM);
  options.learning_rate = 0.01;
  Trained one = trained(&options, first, second), other = trained(&options, first, second);
  for (uint64_t step = 1; step <= 4; step++) {
    options.step = step;
    OK(qcodec_optimizer_step, &options, &one.tensor, 1, 0);
    OK(qcodec_adamw_step, 0.01, 0.9, 0.999, 1e-8, 0.01, step, &other.tensor, 1, 0);
  }
  CHECK(memcmp(one.parameters, other.parameters, 4 * TRAINED) == 0);
  CHECK(memcmp(one.tensor.first, other.tensor.first, one.tensor.first_size) == 0);
  // The moments are streams like any others.
  float *m = memory(4 * TRAINED), *v = memory(4 * TRAINED);
  OK(qcodec_decode, second, QCODEC_F32, TRAINED_SHAPE, 2, one.tensor.second, one.tensor.second_size, v, 4 * TRAINED, 0);
  OK(qcodec_decode_first_moment, first, second, TRAINED_SHAPE, 2, one.tensor.first, one.tensor.first_size,
     one.tensor.second, one.tensor.second_size, m, 4 * TRAINED, 0);
  int wrong = 0;
  for (int i = 0; i < TRAINED; i++) {
    double g = one.gradients[i], exact_m = g * (1 - pow(0.9, 4)), exact_v = g * g * (1 - pow(0.999, 4));
    // Four roundings each: of 1 % of a block's greatest quotient, and of 2 %.
    wrong += fabs(m[i] - exact_m) > 0.25 * sqrt(exact_v);
    wrong += fabs(v[i] - exact_v) > 0.08 * exact_v;
  }
  CHECK(wrong == 0);
  free(m), free(v);
  free_trained(&one), free_trained(&other);

  qcodec_step_options_init(&options, QCODEC_SGD);
  Trained sgd = trained(&options, NULL, NULL);
  OK(qcodec_sgd_step, 0.1, 0.9, 0.0, 1, &sgd.tensor, 1, 0);
  CHECK(fabsf(sgd.parameters[1] - (-0.13f - 0.1f * sgd.gradients[1])) < 1e-6f);
  free_trained(&sgd);
  qcodec_step_options_init(&options, QCODEC_LION);
  Trained lion = trained(&options, NULL, NULL);
  OK(qcodec_lion_step, 0.125, 0.9, 0.99, 0.0, 1, &lion.tensor, 1, 0);
  CHECK(fabsf(lion.parameters[1] + 0.13f) == 0.125f || fabsf(fabsf(lion.parameters[1] + 0.13f) - 0.125f) < 1e-6f);
  free_trained(&lion);
}

static void test_refused_steps(const qcodec_scheme *first, const qcodec_scheme *second) {
  qcodec_step_options options;
  qcodec_step_options_init(&options, QCODEC_ADAM);
  Trained t = trained(&options, first, second);
  size_t sizes[3];
  REFUSED(qcodec_moment_sizes, NULL, &t.tensor, sizes);
  REFUSED(qcodec_moment_sizes, &options, NULL, sizes);
  REFUSED(qcodec_moment_sizes, &options, &t.tensor, NULL);
  REFUSED(qcodec_moments_clear, NULL, &t.tensor);
  REFUSED(qcodec_moments_clear, &options, NULL);
  REFUSED(qcodec_optimizer_step, NULL, &t.tensor, 1, 0);
  REFUSED(qcodec_optimizer_step, &options, NULL, 1, 0);
  REFUSED(qcodec_optimizer_step, &options, &t.tensor, HUGE_SIZE, 0);
  OK(qcodec_optimizer_step, &options, NULL, 0, 0);
  qcodec_step_options unset = options;
  unset.struct_size = 3;
  REFUSED(qcodec_optimizer_step, &unset, &t.tensor, 1, 0);
  unset = options;
  unset.rule = 7;
  REFUSED(qcodec_optimizer_step, &unset, &t.tensor, 1, 0);
  unset = options;
  unset.step = 0;
  REFUSED(qcodec_optimizer_step, &unset, &t.tensor, 1, 0);
  unset = options;
  unset.beta1 = 1;
  REFUSED(qcodec_optimizer_step, &unset, &t.tensor, 1, 0);
  unset = options;
  unset.gradient_factor = NAN;
  REFUSED(qcodec_optimizer_step, &unset, &t.tensor, 1, 0);
  REFUSED(qcodec_adamw_step, -1, 0.9, 0.999, 1e-8, 0, 1, &t.tensor, 1, 0);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_lion_step, 1, 0.9, 0.99, 0, 1, &t.tensor, 1, 0);
  REFUSED(qcodec_sgd_step, NAN, 0.9, 0, 1, NULL, 0, 0);
  REFUSED(qcodec_lion_step, 1, 0.9, 2, 0, 1, NULL, 0, 0);

  qcodec_optimizer_tensor bad = t.tensor;
  bad.first_size -= 1;
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_optimizer_step, &options, &bad, 1, 0);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_moments_clear, &options, &bad);
  bad = t.tensor;
  bad.parameters = NULL;
  REFUSED(qcodec_optimizer_step, &options, &bad, 1, 0);
  bad = t.tensor;
  bad.gradient_dtype = QCODEC_F64;
  REFUSED(qcodec_optimizer_step, &options, &bad, 1, 0);
  bad = t.tensor;
  bad.parameter_dtype = 77;
  REFUSED(qcodec_optimizer_step, &options, &bad, 1, 0);
  bad = t.tensor;
  bad.dims = 33;
  EXPECT(QCODEC_INVALID_SHAPE, qcodec_optimizer_step, &options, &bad, 1, 0);
  bad = t.tensor;
  bad.second_scheme = first;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_optimizer_step, &options, &bad, 1, 0);
  bad = t.tensor;
  bad.name = "\xff";
  REFUSED(qcodec_optimizer_step, &options, &bad, 1, 0);

  float *before = memory(4 * TRAINED);
  memcpy(before, t.parameters, 4 * TRAINED);
  OK(qcodec_optimizer_check, &options, &t.tensor, 1, 0);
  REFUSED(qcodec_optimizer_check, NULL, &t.tensor, 1, 0);
  REFUSED(qcodec_optimizer_check, &options, NULL, 1, 0);
  t.gradients[4321] = INFINITY;
  EXPECT(QCODEC_NON_FINITE_VALUE, qcodec_optimizer_check, &options, &t.tensor, 1, 0);
  EXPECT(QCODEC_NON_FINITE_VALUE, qcodec_optimizer_step, &options, &t.tensor, 1, 0);
  uint64_t element = 0;
  CHECK(qcodec_error_element(last, &element) == 1 && element == 4321);
  CHECK(qcodec_error_tensor(last) != NULL && strcmp(qcodec_error_tensor(last), "w") == 0);
  t.gradients[4321] = 0;
  memset(t.tensor.second, 0xFF, 4);
  EXPECT(QCODEC_INVALID_SCALE, qcodec_optimizer_step, &options, &t.tensor, 1, 0);
  CHECK(memcmp(before, t.parameters, 4 * TRAINED) == 0);
  free(before);
  free_trained(&t);
}

/// What an optimizer keeps is stored as it is, and read back as it was.
static void test_streams(const qcodec_scheme *first, const qcodec_scheme *second) {
  qcodec_step_options options;
  qcodec_step_options_init(&options, QCODEC_ADAM);
  Trained t = trained(&options, first, second);
  for (uint64_t step = 1; step <= 3; step++) {
    options.step = step;
    OK(qcodec_optimizer_step, &options, &t.tensor, 1, 0);
  }
  qcodec_tensor m = {.name = "m", .role = QCODEC_ROLE_FIRST_MOMENT, .shape = TRAINED_SHAPE, .dims = 2};
  qcodec_tensor v = {.name = "v", .role = QCODEC_ROLE_SECOND_MOMENT, .shape = TRAINED_SHAPE, .dims = 2};
  qcodec_tensor alone = v;
  alone.name = "alone";
  const size_t size = t.tensor.first_size, other = t.tensor.second_size;
  Memory bytes = memory_of(1 << 20);
  qcodec_writer *writer = NULL;
  OK(qcodec_writer_create_function, write_memory, &bytes, NULL, &writer);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_stream, writer, &m, first, t.tensor.first, size, NULL, NULL, NULL, 0);
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_writer_add_stream, writer, &v, second, t.tensor.second, other, &m, second,
         t.tensor.second, other);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_stream, writer, &m, first, t.tensor.first, size - 1, &v, second,
         t.tensor.second, other);
  EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_writer_add_stream, writer, &m, first, t.tensor.first, size, &v, second,
         t.tensor.second, other - 1);
  REFUSED(qcodec_writer_add_stream, writer, NULL, first, t.tensor.first, size, NULL, NULL, NULL, 0);
  REFUSED(qcodec_writer_add_stream, writer, &m, NULL, t.tensor.first, size, NULL, NULL, NULL, 0);
  REFUSED(qcodec_writer_add_stream, writer, &m, first, NULL, size, &v, second, t.tensor.second, other);
  REFUSED(qcodec_writer_add_stream, NULL, &m, first, t.tensor.first, size, NULL, NULL, NULL, 0);
  OK(qcodec_writer_add_stream, writer, &m, first, t.tensor.first, size, &v, second, t.tensor.second, other);
  OK(qcodec_writer_add_stream, writer, &alone, second, t.tensor.second, other, NULL, NULL, NULL, 0);
  OK(qcodec_writer_commit, writer, NULL);
  qcodec_writer_free(writer);

  qcodec_reader *reader = NULL;
  OK(qcodec_reader_open_function, read_memory, &bytes, bytes.size, &reader);
  uint8_t *stream = memory(size > other ? size : other);
  const char *names[] = {"m", "v", "alone"};
  for (int i = 0; i < 3; i++) {
    const void *wanted = i == 0 ? t.tensor.first : t.tensor.second;
    const size_t bytes_of = i == 0 ? size : other;
    const size_t tensor = (size_t)qcodec_reader_find(reader, names[i]);
    OK(qcodec_reader_read_stream, reader, tensor, stream, bytes_of, 0);
    CHECK(memcmp(stream, wanted, bytes_of) == 0);
    EXPECT(QCODEC_SHAPE_MISMATCH, qcodec_reader_read_stream, reader, tensor, stream, bytes_of - 1, 0);
    REFUSED(qcodec_reader_read_stream, reader, tensor, NULL, bytes_of, 0);
  }
  EXPECT(QCODEC_TENSOR_NOT_FOUND, qcodec_reader_read_stream, reader, 3, stream, size, 0);
  REFUSED(qcodec_reader_read_stream, NULL, 0, stream, size, 0);
  char *report = NULL;
  OK(qcodec_verify, reader, NULL, NULL, &report);
  qcodec_string_free(report);
  free(stream);
  qcodec_reader_free(reader);
  free(bytes.bytes);
  free_trained(&t);
}

/// The schemes that a policy has for moments serve a step; names and sizes keep 32-bit state.
static void test_moment_schemes(void) {
  qcodec_step_options options;
  qcodec_step_options_init(&options, QCODEC_ADAM);
  qcodec_policy *policy = NULL;
  OK(qcodec_policy_preset, "live4", &policy);
  qcodec_optimizer_tensor tensor = {.name = "layers.0.weight", .shape = TRAINED_SHAPE, .dims = 2};
  qcodec_scheme *first = NULL, *second = NULL;
  OK(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  CHECK(first != NULL && second != NULL);
  Trained t = trained(&options, first, second);
  OK(qcodec_optimizer_step, &options, &t.tensor, 1, 0);
  free_trained(&t);
  qcodec_scheme_free(first);
  qcodec_scheme_free(second);
  tensor.name = "tok_embeddings.weight";
  OK(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  CHECK(first == NULL && second == NULL);
  tensor.name = NULL;
  tensor.dims = 1;
  OK(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  CHECK(first == NULL && second == NULL);
  tensor.dims = 2;
  options.rule = QCODEC_LION;
  OK(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  CHECK(first != NULL && second == NULL);
  qcodec_scheme_free(first);
  REFUSED(qcodec_policy_moment_schemes, NULL, &options, &tensor, &first, &second);
  REFUSED(qcodec_policy_moment_schemes, policy, NULL, &tensor, &first, &second);
  REFUSED(qcodec_policy_moment_schemes, policy, &options, NULL, &first, &second);
  REFUSED(qcodec_policy_moment_schemes, policy, &options, &tensor, NULL, &second);
  REFUSED(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, NULL);
  tensor.name = BAD_TEXT;
  REFUSED(qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  tensor.name = "w";
  qcodec_policy_free(policy);
  static const char dropping[] = "{\"extends\": \"live8\", \"drop\": \"*\"}";
  OK(qcodec_policy_parse, dropping, strlen(dropping), &policy);
  EXPECT(QCODEC_INVALID_POLICY, qcodec_policy_moment_schemes, policy, &options, &tensor, &first, &second);
  qcodec_policy_free(policy);
}

/// A second moment that is a factor of each row and column.
static void test_factored(const qcodec_scheme *first, const qcodec_scheme *of_value) {
  qcodec_step_options options;
  qcodec_step_options_init(&options, QCODEC_ADAM);
  float *parameters = memory(4 * TRAINED), *gradients = memory(4 * TRAINED);
  for (int i = 0; i < TRAINED; i++) parameters[i] = 1, gradients[i] = (float)(1 + i / 70) / 100;
  qcodec_optimizer_tensor tensor = {
    .name = "w", .shape = TRAINED_SHAPE, .dims = 2, .parameter_dtype = QCODEC_F32, .gradient_dtype = QCODEC_F32,
    .parameters = parameters, .gradients = gradients, .first_scheme = of_value, .second_is_factored = 1};
  size_t sizes[3];
  OK(qcodec_moment_sizes, &options, &tensor, sizes);
  CHECK(sizes[1] == 4 * 170 && sizes[2] == 0);
  tensor.first = memory(sizes[0]), tensor.first_size = sizes[0];
  tensor.second = memory(sizes[1]), tensor.second_size = sizes[1];
  OK(qcodec_moments_clear, &options, &tensor);
  OK(qcodec_optimizer_step, &options, &tensor, 1, 0);
  // Of rank one, the squares are the product of their factors: the first step of AdamW moves by its rate.
  for (int i = 0; i < TRAINED; i++) CHECK(fabs((double)parameters[i] - (1 - 1e-5 - 1e-3)) < 1e-6);
  const float *factors = tensor.second;
  for (int row = 0; row < 100; row++) {
    const double square = (1 + row) / 100.0 * ((1 + row) / 100.0);
    CHECK(fabs((double)factors[row] - 0.001 * square) < 1e-8);
  }
  ((float *)tensor.second)[3] = -1;
  EXPECT(QCODEC_INVALID_SCALE, qcodec_optimizer_check, &options, &tensor, 1, 0);
  options.is_amsgrad = 1;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_moment_sizes, &options, &tensor, sizes);
  options.is_amsgrad = 0, tensor.first_scheme = first;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_moment_sizes, &options, &tensor, sizes);
  tensor.first_scheme = NULL, tensor.dims = 1;
  EXPECT(QCODEC_UNSUPPORTED_SCHEME, qcodec_moment_sizes, &options, &tensor, sizes);
  free(tensor.first), free(tensor.second), free(parameters), free(gradients);
}

static void test_norms(void) {
  const float values[] = {3, -4, 12};
  double squared = 0;
  OK(qcodec_squared_norm, QCODEC_F32, values, sizeof values, 0, &squared);
  CHECK(squared == 169);
  OK(qcodec_squared_norm, QCODEC_BF16, NULL, 0, 0, &squared);
  CHECK(squared == 0);
  REFUSED(qcodec_squared_norm, QCODEC_F32, values, sizeof values, 0, NULL);
  REFUSED(qcodec_squared_norm, QCODEC_F32, NULL, 4, 0, &squared);
  REFUSED(qcodec_squared_norm, QCODEC_F32, values, 5, 0, &squared);
  REFUSED(qcodec_squared_norm, QCODEC_I32, values, 4, 0, &squared);
  REFUSED(qcodec_squared_norm, 77, values, 4, 0, &squared);
}

static void test_optimizers(void) {
  qcodec_scheme *first = NULL, *second = NULL;
  OK(qcodec_scheme_parse, "{\"map\":\"cubic\",\"bits\":8,\"domain\":\"update\",\"block\":256}", &first);
  OK(qcodec_scheme_parse, "{\"map\":\"log\",\"bits\":8,\"block\":512}", &second);
  test_rules();
  test_named_steps(first, second);
  test_refused_steps(first, second);
  test_streams(first, second);
  test_moment_schemes();
  qcodec_scheme *of_value = NULL;
  OK(qcodec_scheme_parse, "{\"map\": \"dynamic\", \"bits\": 8, \"signed\": true}", &of_value);
  test_factored(first, of_value);
  qcodec_scheme_free(of_value);
  test_norms();
  qcodec_scheme_free(first);
  qcodec_scheme_free(second);
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  folder = arguments[1];
  make_material();
  test_versions();
  test_errors();
  test_types();
  test_schemes();
  test_custom_schemes();
  test_sizes();
  test_coding();
  test_three_bits();
  test_environment();
  test_moments();
  test_bases();
  test_flattening();
  test_kept_bounds();
  test_refused_bounds();
  test_bounded_additions();
  test_optimizers();
  test_policies();
  Memory bytes = memory_of(1 << 20);
  write_checkpoint(&bytes);
  test_writer_places(&bytes);
  test_writer_options();
  test_metadata();
  test_refused_tensors();
  test_failing_callbacks();
  test_roles();
  test_imports();
  qcodec_reader *reader = NULL;
  OK(qcodec_reader_open_function, read_memory, &bytes, bytes.size, &reader);
  test_reader(reader);
  test_reading(reader);
  test_fork(reader);
  test_cancellation(reader);
  test_documents(reader);
  test_openers(&bytes);
  test_verification(reader);
  qcodec_reader_free(reader);
  free(bytes.bytes);
  qcodec_error_free(last);
  printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
