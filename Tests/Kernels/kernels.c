// Runs every kernel of one level over the same inputs on every machine, and writes down what comes out: the levels of one
// processor and those of another, emulated one must agree to the bit.
//
//   kernels LEVEL TABLES OUTPUT
//
// TABLES, little-endian, a record a table: int32 bits, signed, rule, distinct; 256 float entries; 256 float thresholds; 256
// double radii. OUTPUT, a record a case: uint32 length of its label, the label, uint64 length of its bytes, the bytes.
// Exit status 0; 2 for bad arguments; 77 where this machine does not run the level.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CQCodecKernels.h"

#pragma STDC FP_CONTRACT OFF

typedef struct {
  int32_t bits, is_signed, rule, distinct;
  float entries[256], thresholds[256];
  double radii[256];
} table_record;

static FILE *output;
static int level;
static qcodec_table *table;
static qcodec_cells cells;
static table_record record;
static int number;

// MARK: Inputs and outputs

static uint64_t state;

static uint64_t random64(void) {
  uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
  z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
  return z ^ z >> 31;
}

static float of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint32_t to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static int is_finite(float value) { return (to_bits(value) & 0x7F800000u) != 0x7F800000u; }
static float magnitude(float value) { return of_bits(to_bits(value) & 0x7FFFFFFFu); }

// Exactly as large as asked for, so that what is read or written beyond it is seen by a sanitizer; never NULL.
static void *room(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (!memory) abort();
  memset(memory, 0xAA, bytes);
  return memory;
}

static char label[256];

static void write_all(const void *bytes, size_t count) {
  if (count && fwrite(bytes, 1, count, output) != count) {
    perror("OUTPUT");
    exit(4);
  }
}

static void emit(const char *part, const void *bytes, size_t count) {
  char whole[320];
  uint32_t length = (uint32_t)snprintf(whole, sizeof whole, "%s %s", label, part);
  uint64_t size = count;
  write_all(&length, sizeof length);
  write_all(whole, length);
  write_all(&size, sizeof size);
  write_all(bytes, count);
}

static void emit_statistics(const char *part, qcodec_statistics statistics) {
  statistics.cells = NULL;
  emit(part, &statistics, sizeof statistics);
}

// Values that try a table: thresholds and their neighbours, the extreme, zeros, subnormals, any pattern, and those between.
static float *values(size_t count, int is_signed, int wide) {
  float *x = room(count * sizeof *x);
  float scale = 1;
  for (size_t i = 0; i < count; i++) {
    if (i % 32 == 0 && wide) scale = of_bits((uint32_t)(random64() % 200 + 20) << 23);
    uint64_t bits = random64();
    float value;
    switch (bits % 8) {
      case 0: value = (const float[]){0, -0.0f, 1, -1, 0x1p-149f, 0x1p-126f, 0x1.fffffep127f, 1e-30f}[bits >> 8 & 7]; break;
      case 1:
      case 2: {
        float near = record.distinct > 1 ? record.thresholds[(bits >> 8) % (uint64_t)(record.distinct - 1)] : 0.5f;
        value = of_bits(to_bits(near) + (uint32_t)(bits >> 40) % 5 - 2) * scale;
        break;
      }
      case 3: value = scale; break;
      case 4: value = of_bits((uint32_t)(bits >> 16)) * 0x1p-10f; break;
      default: value = ((float)(int32_t)(bits >> 40) * 0x1p-23f - 1) * scale;
    }
    if (!is_finite(value)) value = scale;
    x[i] = is_signed ? value : magnitude(value);
  }
  return x;
}

static qcodec_statistics fresh(int with_cells) {
  qcodec_statistics statistics;
  memset(&statistics, 0, sizeof statistics);
  statistics.cells = with_cells ? &cells : NULL;
  statistics.slack = 0x1p-150;
  return statistics;
}

static size_t code_bytes(size_t count, int bits) { return (count * (size_t)bits + 7) / 8; }

// A part of the elements too, which starts inside of a block.
static void decode_blocks(size_t count, size_t block, const uint8_t *codes, const float *scales) {
  float *decoded = room(count * sizeof *decoded);
  qcodec_decode_blocks(level, table, codes, scales, 0, count, block, decoded);
  emit("decoded", decoded, count * sizeof *decoded);
  free(decoded);
  size_t first = count / 3, part = count - first - count / 5;
  float *middle = room(part * sizeof *middle);
  qcodec_decode_blocks(level, table, codes, scales, first, part, block, middle);
  emit("part", middle, part * sizeof *middle);
  free(middle);
}

// MARK: Cases

static void blocks(size_t count, size_t block, int dtype, int nonfinite) {
  snprintf(label, sizeof label, "blocks table %d count %zu block %zu dtype %d bad %d", number, count, block, dtype, nonfinite);
  float *x = values(count, record.is_signed, 1);
  if (nonfinite && count) x[random64() % count] = (const float[]){of_bits(0x7FC00000), of_bits(0xFF800000), -1}[nonfinite - 1];
  size_t scale_count = (count + block - 1) / block;
  float *scales = room(scale_count * sizeof *scales);
  uint8_t *codes = room(code_bytes(count, record.bits));
  qcodec_statistics statistics = fresh(1);
  int found = qcodec_encode_blocks(level, table, x, count, block, record.rule, dtype, scales, codes, &statistics, NULL);
  emit("found", &found, sizeof found);
  if (!found) {
    emit("scales", scales, scale_count * sizeof *scales);
    emit("codes", codes, code_bytes(count, record.bits));
    emit_statistics("statistics", statistics);
    decode_blocks(count, block, codes, scales);
  }
  free(x), free(scales), free(codes);
}

static float *divisors_of(size_t count) {
  float *divisors = room(count * sizeof *divisors);
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = random64();
    divisors[i] = of_bits((uint32_t)(87 + bits % 60) << 23 | (uint32_t)(bits >> 32 & 0x7FFFFF));
  }
  return divisors;
}

static void update(size_t count, size_t block, int dtype) {
  snprintf(label, sizeof label, "update table %d count %zu block %zu dtype %d", number, count, block, dtype);
  float *x = values(count, 1, 1), *divisors = divisors_of(count), *scratch = room(block * sizeof *scratch);
  for (size_t i = 0; i < count; i++) {
    if (magnitude(x[i]) > 1e10f) x[i] = 1e10f;
  }
  size_t scale_count = (count + block - 1) / block;
  float *scales = room(scale_count * sizeof *scales);
  uint8_t *codes = room(code_bytes(count, record.bits));
  qcodec_statistics statistics = fresh(1);
  int found = qcodec_encode_update(
    level, table, x, divisors, count, block, record.rule, dtype, scales, codes, scratch, &statistics, NULL);
  emit("found", &found, sizeof found);
  if (!found) {
    emit("scales", scales, scale_count * sizeof *scales);
    emit("codes", codes, code_bytes(count, record.bits));
    emit_statistics("statistics", statistics);
    float *decoded = room(count * sizeof *decoded);
    qcodec_decode_blocks(level, table, codes, scales, 0, count, block, decoded);
    qcodec_multiply(level, decoded, divisors, count);
    emit("decoded", decoded, count * sizeof *decoded);
    free(decoded);
  }
  free(x), free(divisors), free(scratch), free(scales), free(codes);
}

// kinds: 1 rows, 2 columns, 3 both.
static void scaled(size_t rows, size_t length, int kinds, int dtype) {
  size_t count = rows * length;
  snprintf(label, sizeof label, "scaled table %d shape %zux%zu kinds %d dtype %d", number, rows, length, kinds, dtype);
  float *x = values(count, record.is_signed, 1);
  float *of_rows = kinds & 1 ? room(rows * sizeof *of_rows) : NULL;
  float *of_columns = kinds & 2 ? room(length * sizeof *of_columns) : NULL;
  if (of_rows) memset(of_rows, 0, rows * sizeof *of_rows);
  if (of_columns) memset(of_columns, 0, length * sizeof *of_columns);
  // In two steps, of which the second starts inside of a row.
  size_t step = count / 2;
  int rule = kinds == 3 ? qcodec_rule_magnitude : record.rule;
  qcodec_extremes(level, x, qcodec_dtype_f32, 0, step, length, rule, of_rows, of_columns);
  qcodec_extremes(
    level, x + step, qcodec_dtype_f32, step % length, count - step, length, rule,
    of_rows ? of_rows + step / length : NULL, of_columns);
  for (size_t i = 0; of_rows && rule == qcodec_rule_magnitude && i < rows; i++) of_rows[i] = magnitude(of_rows[i]);
  if (of_rows) emit("rows", of_rows, rows * sizeof *of_rows);
  if (of_columns) emit("columns", of_columns, length * sizeof *of_columns);
  float *inverses = of_columns ? room(length * sizeof *inverses) : NULL;
  int has_inverses = of_columns ? qcodec_inverses(level, table, of_columns, length, inverses) : 0;
  uint8_t *codes = room(code_bytes(count, record.bits));
  for (int with = 0; with <= has_inverses; with++) {
    qcodec_scale_rows scales = {length, 0, of_rows, of_columns, with ? inverses : NULL};
    qcodec_statistics statistics = fresh(1);
    int found = qcodec_encode_scaled(level, table, x, count, &scales, dtype, codes, &statistics);
    // Levels may have inverses or none: what comes out is the same, and written once.
    if (with == has_inverses) {
      emit("found", &found, sizeof found);
      if (!found) emit("codes", codes, code_bytes(count, record.bits));
      if (!found) emit_statistics("statistics", statistics);
    }
    if (found) break;
    float *decoded = room(count * sizeof *decoded);
    qcodec_decode_scaled(level, table, codes, 0, count, &scales, decoded);
    if (with == has_inverses) emit("decoded", decoded, count * sizeof *decoded);
    free(decoded);
    size_t first = count / 3, part = count - first;
    qcodec_scale_rows rest = {length, first % length, of_rows ? of_rows + first / length : NULL, of_columns, NULL};
    float *tail = room(part * sizeof *tail);
    qcodec_decode_scaled(level, table, codes, first, part, &rest, tail);
    if (with == has_inverses) emit("tail", tail, part * sizeof *tail);
    free(tail);
  }
  free(x), free(of_rows), free(of_columns), free(inverses), free(codes);
}

static void logarithmic(size_t count, size_t block, int bits, int dtype, int bad) {
  snprintf(label, sizeof label, "log bits %d count %zu block %zu dtype %d bad %d", bits, count, block, dtype, bad);
  float *x = values(count, 0, 1);
  if (bad && count) x[random64() % count] = bad == 1 ? of_bits(0x7F800001) : -0x1p-149f;
  size_t end_count = (count + block - 1) / block * 2;
  float *ends = room(end_count * sizeof *ends);
  const size_t size = code_bytes(count, bits == 4 ? 4 : 8);
  uint8_t *codes = room(size);
  qcodec_statistics statistics = fresh(0);
  int found = qcodec_encode_log(level, x, count, block, bits, dtype, ends, codes, &statistics, NULL);
  emit("found", &found, sizeof found);
  if (!found) {
    emit("ends", ends, end_count * sizeof *ends);
    emit("codes", codes, size);
    emit_statistics("statistics", statistics);
    float *decoded = room(count * sizeof *decoded);
    qcodec_decode_log(level, codes, ends, 0, count, block, bits, decoded);
    emit("decoded", decoded, count * sizeof *decoded);
    free(decoded);
    size_t first = count / 3, part = count - first;
    float *tail = room(part * sizeof *tail);
    qcodec_decode_log(level, codes, ends, first, part, block, bits, tail);
    emit("tail", tail, part * sizeof *tail);
    free(tail);
  }
  free(x), free(ends), free(codes);
}

static void pair(size_t count, size_t block, size_t second_block, int second_bits, int dtype, int second_dtype) {
  snprintf(
    label, sizeof label, "pair table %d count %zu blocks %zu %zu bits %d dtypes %d %d", number, count, block, second_block,
    second_bits, dtype, second_dtype);
  float *m = values(count, 1, 1), *v = values(count, 0, 1);
  for (size_t i = 0; i < count; i++) {
    // Squares of what m may be, so that quotients are finite.
    if (magnitude(m[i]) > 1e10f) m[i] = 1e10f;
    if (v[i] != 0 && v[i] < 1e-30f) v[i] = 1e-30f;
    if (v[i] > 1e30f) v[i] = 1e30f;
  }
  size_t greater = block > second_block ? block : second_block;
  size_t scale_count = (count + block - 1) / block, end_count = (count + second_block - 1) / second_block * 2;
  float *scales = room(scale_count * sizeof *scales), *ends = room(end_count * sizeof *ends);
  uint8_t *codes = room(code_bytes(count, record.bits)), *second_codes = room(code_bytes(count, second_bits));
  float *scratch = room(2 * greater * sizeof *scratch);
  qcodec_pair both = {table, block, record.rule, dtype, second_block, second_bits, second_dtype, NULL, NULL};
  qcodec_statistics statistics = fresh(1), second_statistics = fresh(0);
  int found = qcodec_encode_pair(
    level, &both, m, v, count, scales, codes, ends, second_codes, scratch, &statistics, &second_statistics);
  emit("found", &found, sizeof found);
  if (!found) {
    emit("scales", scales, scale_count * sizeof *scales);
    emit("codes", codes, code_bytes(count, record.bits));
    emit("ends", ends, end_count * sizeof *ends);
    emit("second codes", second_codes, code_bytes(count, second_bits));
    emit_statistics("statistics", statistics);
    emit_statistics("second statistics", second_statistics);
    float *decoded = room(count * sizeof *decoded), *second = room(count * sizeof *second);
    qcodec_decode_pair(level, &both, scales, codes, ends, second_codes, 0, count, decoded, second);
    emit("decoded", decoded, count * sizeof *decoded);
    emit("second decoded", second, count * sizeof *second);
    qcodec_update_error error;
    memset(&error, 0, sizeof error);
    qcodec_measure_updates(level, m, v, decoded, second, count, 1e-8, &error);
    emit("updates", &error, sizeof error);
    qcodec_decode_pair(level, &both, scales, codes, ends, second_codes, 0, count, decoded, NULL);
    emit("decoded alone", decoded, count * sizeof *decoded);
    free(decoded), free(second);
  }
  free(m), free(v), free(scales), free(ends), free(codes), free(second_codes), free(scratch);
}

static void conversions(void) {
  uint16_t *every = room(65536 * sizeof *every);
  for (int i = 0; i < 65536; i++) every[i] = (uint16_t)i;
  float *wide = room(65536 * sizeof *wide);
  for (int dtype = qcodec_dtype_bf16; dtype <= qcodec_dtype_f16; dtype++) {
    snprintf(label, sizeof label, "widen dtype %d", dtype);
    qcodec_widen(level, every, dtype, 65536, wide);
    emit("values", wide, 65536 * sizeof *wide);
    for (int tail = 1; tail < 40; tail++) {
      uint16_t *few = room((size_t)tail * sizeof *few);
      float *got = room((size_t)tail * sizeof *got);
      memcpy(few, every + 0x3C00, (size_t)tail * sizeof *few);
      qcodec_widen(level, few, dtype, (size_t)tail, got);
      emit("tail", got, (size_t)tail * sizeof *got);
      free(few), free(got);
    }
    snprintf(label, sizeof label, "narrow dtype %d", dtype);
    // Every upper half with lower halves about the ties.
    static const uint32_t lower[] = {0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000};
    for (size_t l = 0; l < sizeof lower / sizeof *lower; l++) {
      for (uint32_t i = 0; i < 65536; i++) wide[i] = of_bits(i << 16 | lower[l]);
      uint16_t *narrow = room(65536 * sizeof *narrow);
      qcodec_narrow(level, wide, dtype, 65536, narrow);
      emit("values", narrow, 65536 * sizeof *narrow);
      free(narrow);
    }
  }
  free(every), free(wide);
}

static void planes(void) {
  for (int width = 2; width <= 8; width *= 2) {
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 37) {
      snprintf(label, sizeof label, "planes %d count %zu", width, count);
      size_t bytes = count * (size_t)width;
      uint8_t *source = room(bytes), *split = room(bytes), *joined = room(bytes);
      for (size_t i = 0; i < bytes; i++) source[i] = (uint8_t)random64();
      qcodec_split_planes(level, source, count, width, split);
      qcodec_join_planes(level, split, count, width, joined);
      emit("split", split, bytes);
      if (memcmp(source, joined, bytes)) {
        fprintf(stderr, "%s: joining does not undo splitting\n", label);
        exit(1);
      }
      free(source), free(split), free(joined);
    }
  }
}

// Codes of every width as a string of bits, and back from any of them on.
static void packing(void) {
  for (int bits = 2; bits <= 8; bits++) {
    if (bits == 7) continue;
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 37) {
      snprintf(label, sizeof label, "packing bits %d count %zu", bits, count);
      uint8_t *codes = room(count), *packed = room(code_bytes(count, bits));
      for (size_t i = 0; i < count; i++) codes[i] = (uint8_t)(random64() & ((1u << bits) - 1));
      qcodec_pack_codes(level, codes, count, bits, packed);
      emit("packed", packed, code_bytes(count, bits));
      for (size_t first = 0; first <= count; first += 1 + first / 9) {
        for (size_t end = first; end <= count; end += 1 + (end - first) * 2) {
          // No longer than what is needed.
          uint8_t *part = room(code_bytes(end, bits)), *own = room(end - first);
          memcpy(part, packed, code_bytes(end, bits));
          qcodec_unpack_codes(level, part, first, end - first, bits, own);
          if (memcmp(own, codes + first, end - first)) {
            fprintf(stderr, "%s: unpacking %zu to %zu does not undo packing\n", label, first, end);
            exit(1);
          }
          free(part), free(own);
        }
      }
      free(codes), free(packed);
    }
  }
}

static void scans(void) {
  for (size_t count = 0; count < 200; count++) {
    for (int bad = 0; bad < 3; bad++) {
      snprintf(label, sizeof label, "scan count %zu bad %d", count, bad);
      float *x = values(count, 0, 1);
      if (bad && count) x[random64() % count] = bad == 1 ? of_bits(0x7F800000) : -1;
      qcodec_range range = {0, 0x7F800000};
      int found = qcodec_scan(level, x, qcodec_dtype_f32, count, &range);
      emit("found", &found, sizeof found);
      if (!(found & qcodec_found_nonfinite)) emit("range", &range, sizeof range);
      float *roots = room(count * sizeof *roots);
      memcpy(roots, x, count * sizeof *roots);
      if (!bad) qcodec_divisors(level, roots, count);
      if (!bad) emit("roots", roots, count * sizeof *roots);
      free(x), free(roots);
    }
  }
}

// Whatever a host has set, callers of kernels get the codec's environment, and the host its own again.
static void environments(void) {
  for (int mode = 0; mode < 5; mode++) {
    qcodec_environment host = qcodec_environment_enter();
    qcodec_environment_simulate(mode);
    uint64_t before = qcodec_environment_current();
    qcodec_environment saved = qcodec_environment_enter();
    volatile float least = 0x1p-126f, half = 0.5f, third = 1.0f / 3;
    float results[] = {least * half, third * third, 1.0f / third};
    qcodec_environment_leave(saved);
    int restored = qcodec_environment_current() == before;
    qcodec_environment_leave(host);
    snprintf(label, sizeof label, "environment %d", mode);
    emit("results", results, sizeof results);
    emit("restored", &restored, sizeof restored);
    if (!restored) {
      fprintf(stderr, "%s: the host's was not restored\n", label);
      exit(1);
    }
  }
}

static void of_table(void) {
  static const size_t counts[] = {1, 2, 31, 32, 33, 63, 64, 65, 127, 257, 1027};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    for (size_t block = 32; block <= 4096; block *= block < 512 ? 4 : 8) {
      blocks(counts[c], block, (int)(c % 3), 0);
      blocks(counts[c], block, 0, 1 + (int)(c % (record.is_signed ? 2 : 3)));
      if (!record.is_signed) continue;
      update(counts[c], block, (int)(c % 3));
      pair(counts[c], block, 32u << c % 5, c % 2 ? 4 : 8, (int)(c % 3), (int)(c / 2 % 3));
    }
  }
  static const size_t shapes[][2] = {{1, 1}, {3, 5}, {33, 65}, {64, 64}, {7, 129}, {40, 301}, {300, 2}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    for (int kinds = 1; kinds <= 3; kinds++) scaled(shapes[s][0], shapes[s][1], kinds, (int)(s % 3));
  }
}

int main(int count, char **arguments) {
  static const char *names[] = {"scalar", "sse2", "avx2", "avx512", "neon"};
  if (count != 4) return fprintf(stderr, "kernels LEVEL TABLES OUTPUT\n"), 2;
  level = -1;
  for (int i = 1; i < 5; i++) {
    if (!strcmp(arguments[1], names[i])) level = i;
  }
  if (level < 0) return fprintf(stderr, "there is no level %s\n", arguments[1]), 2;
  if (!qcodec_level_supported(level)) return 77;
  FILE *tables = fopen(arguments[2], "rb");
  output = fopen(arguments[3], "wb");
  if (!tables || !output) return perror("kernels"), 4;
  qcodec_environment host = qcodec_environment_enter();
  table = aligned_alloc(64, (sizeof *table + 63) / 64 * 64);
  if (!table) abort();
  state = 1;
  while (fread(&record, sizeof record, 1, tables) == 1) {
    int encodes = qcodec_table_prepare(
      table, record.entries, record.thresholds, record.distinct, record.bits, record.is_signed);
    snprintf(label, sizeof label, "table %d", number);
    emit("encodes", &encodes, sizeof encodes);
    qcodec_cells_prepare(&cells, table, record.radii);
    if (encodes) of_table();
    number++;
  }
  if (!number) return fprintf(stderr, "there are no tables\n"), 2;
  for (int bits = 2; bits <= 8; bits++) {
    for (size_t size = 1; size < 700; size += size < 140 ? 1 : 61) {
      for (size_t block = 32; block <= 512; block *= 4) {
        logarithmic(size, block, bits, (int)(size % 3), 0);
        logarithmic(size, block, bits, 0, 1 + (int)(size % 2));
      }
    }
  }
  conversions();
  planes();
  packing();
  scans();
  environments();
  qcodec_environment_leave(host);
  free(table);
  fclose(tables);
  if (fclose(output)) return perror("OUTPUT"), 4;
  return 0;
}
