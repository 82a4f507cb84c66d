// What encoding did, a block at a time once its codes are stored: together with the search for codes no processor's
// window would hold the work of two tiles, and each tile would wait for the one before.
//
// Sums are float64 in sixteen lanes, element i of the chunk in lane i mod 16. What only few elements or blocks can
// change is screened by a bound that is cheaper than itself: radii by the greatest there is, zeros by their code,
// errors of quotients by their float32 rounding, which is monotone.

typedef struct {
  /// Four lanes each.
  f64x4 squared_error[4], squared_source[4];
  /// The greatest squared error: in binary the root of a rounded square is the number itself.
  f64x4 worst[4];
} KERNEL(sums);
#define sums_t KERNEL(sums)

INLINE sums_t sums_begin(const qcodec_statistics *s) {
  sums_t sums = {0};
  memcpy(sums.squared_error, s->squared_error, sizeof sums.squared_error);
  memcpy(sums.squared_source, s->squared_source, sizeof sums.squared_source);
  return sums;
}

INLINE void raise_to(double *greatest, double value) { *greatest = value > *greatest ? value : *greatest; }

/// The greater of two that are neither negative nor NaN.
INLINE f64x4 greater4(f64x4 a, f64x4 b) {
#if defined(LEVEL_AVX512)
  // Compared as integers, by a unit that does not add.
  return (f64x4)__builtin_elementwise_max((u64x4)a, (u64x4)b);
#else
  return a > b ? a : b;
#endif
}

/// Takes sums and their greatest error into the statistics; returns the square of the latter.
INLINE double sums_end(const sums_t *sums, qcodec_statistics *s) {
  memcpy(s->squared_error, sums->squared_error, sizeof sums->squared_error);
  memcpy(s->squared_source, sums->squared_source, sizeof sums->squared_source);
  f64x4 worst = greater4(greater4(sums->worst[0], sums->worst[1]), greater4(sums->worst[2], sums->worst[3]));
  // Patterns of what is not negative order as it does.
  uint64_t pattern = __builtin_reduce_max((u64x4)worst);
  double square = __builtin_bit_cast(double, pattern);
  if (square > s->max_abs_error * s->max_abs_error) s->max_abs_error = __builtin_elementwise_sqrt(square);
  return square;
}

/// A tile of source and decoded values; zeros in both change nothing.
INLINE void sum_values(sums_t *sums, const f32u *x, const f32u *values) {
  through_memory(values);
#pragma clang loop unroll(full)
  for (int q = 0; q < TILE / 4; q++) {
    f64x4 wide = widen4(x + 4 * q), error = wide - widen4(values + 4 * q), square = error * error;
    sums->squared_error[q % 4] += square;
    // The square of a float32 is exact in float64.
    sums->squared_source[q % 4] = MULTIPLY_ADD(wide, wide, sums->squared_source[q % 4]);
    sums->worst[q % 4] = greater4(sums->worst[q % 4], square);
  }
}

/// The same from errors that are exact in float32; the greatest of them is left to the caller.
INLINE void sum_errors(sums_t *sums, const f32u *x, const f32u *errors) {
  through_memory(errors);
#pragma clang loop unroll(full)
  for (int q = 0; q < TILE / 4; q++) {
    f64x4 wide = widen4(x + 4 * q), error = widen4(errors + 4 * q);
    sums->squared_error[q % 4] = MULTIPLY_ADD(error, error, sums->squared_error[q % 4]);
    sums->squared_source[q % 4] = MULTIPLY_ADD(wide, wide, sums->squared_source[q % 4]);
  }
}

INLINE f32x16 round_to(f32x16 v, int dtype) {
  if (dtype == qcodec_dtype_bf16) return (f32x16)(narrow_bf16(v) << 16);
  if (dtype == qcodec_dtype_f16) return widen_f16(narrow_f16(v));
  return v;
}

// MARK: Tiles

/// The codes of up to 64 elements from one byte each, zeros after them.
INLINE void codes_of_part(const uint8_t *packed, int bits, size_t first, size_t count, uint8_t *codes) {
  memset(codes, 0, TILE);
  for (size_t i = 0; i < count; i++) {
    size_t at = first + i;
    codes[i] = bits == 8 ? packed[at] : at % 2 ? packed[at / 2] & 15 : packed[at / 2] >> 4;
  }
}

/// Sixteen codes of 4 bits from an even place, in the lower bits of each word.
INLINE u32x16 nibbles16(const uint8_t *codes) {
  uint64_t packed;
  memcpy(&packed, codes, 8);
  // The first element is the high nibble: bytes swapped, nibbles stand in order from the top.
  packed = __builtin_bswap64(packed);
  const u32x16 shifts = {28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0};
  u32x16 words;
  words.lo = (__typeof__(words.lo))(uint32_t)(packed >> 32);
  words.hi = (__typeof__(words.hi))(uint32_t)packed;
  return words >> shifts & 15u;
}

/// entries[code] of 64 codes.
INLINE void entries_of_tile(const qcodec_table *table, const uint8_t *codes, f32x16 out[4]) {
  if (table->bits == 8) {
    entries64(table, codes, out);
    return;
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    out[v] = lookup16(table->entries, __builtin_convertvector(load_bytes16(codes + 16 * v), u32x16));
  }
}

/// What codes of one scale decode to.
typedef struct {
  const qcodec_table *table;
  const uint8_t *codes;
  size_t size;
  float scale;
  /// With 4 bits: all products.
  float products[16];
} KERNEL(coded_block);
#define coded_block_t KERNEL(coded_block)

INLINE coded_block_t coded_block(const qcodec_table *table, const uint8_t *codes, float scale, size_t size) {
  coded_block_t block;
  block.table = table, block.codes = codes, block.size = size, block.scale = scale;
  if (table->bits == 4) store16(block.products, load16(table->entries) * scale);
  return block;
}

/// entries[code] · scale of the tile at `start` of a block, zeros beyond its end. Not + 0 as decoding has it: no
/// statistic tells a zero's sign.
INLINE void products_of_tile(const coded_block_t *b, size_t start, f32x16 out[4]) {
  size_t count = b->size - start;
  if (__builtin_expect(count < TILE, 0)) {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t codes[TILE];
    codes_of_part(b->codes, b->table->bits, start, count, codes);
    entries_of_tile(b->table, codes, out);
    for (int v = 0; v < 4; v++) out[v] = selectf16(lane + 16 * v < (int)count, out[v] * b->scale, (f32x16)0.0f);
    return;
  }
  if (b->table->bits == 4) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) out[v] = lookup16(b->products, nibbles16(b->codes + start / 2 + 8 * (size_t)v));
    return;
  }
  entries64(b->table, b->codes + start, out);
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) out[v] *= b->scale;
}

/// The tile at `start` of an array; at its end a copy, filled up with zeros.
INLINE const f32u *tile_of(const f32u *x, size_t start, size_t size, f32u *copy) {
  if (__builtin_expect(size - start >= TILE, 1)) return x + start;
  memset(copy, 0, sizeof(float) * TILE);
  memcpy(copy, x + start, sizeof(float) * (size - start));
  return copy;
}

// MARK: Blocks

/// How many codes of a block are `code`.
INLINE size_t count_code(const uint8_t *codes, int bits, size_t size, uint8_t code) {
  typedef _Bool bits64 __attribute__((ext_vector_type(64)));
  size_t bytes = bits == 8 ? size : size / 2, i = 0, count = 0;
  for (; i + 64 <= bytes; i += 64) {
    u8x64 own = *(const u8x64u *)(codes + i), low = bits == 8 ? own : own & 15;
    u8x64 equal = (u8x64)(low == code);
    count += (size_t)__builtin_popcountll(__builtin_bit_cast(uint64_t, __builtin_convertvector(equal, bits64)));
    if (bits == 8) continue;
    equal = (u8x64)(own >> 4 == code);
    count += (size_t)__builtin_popcountll(__builtin_bit_cast(uint64_t, __builtin_convertvector(equal, bits64)));
  }
  for (; i < bytes; i++) {
    count += bits == 8 ? codes[i] == code : (size_t)((codes[i] & 15) == code) + (size_t)(codes[i] >> 4 == code);
  }
  return count + (size_t)(bits == 4 && size % 2 && codes[bytes] >> 4 == code);
}

/// Whether a code is among those of a block.
INLINE int holds_code(const uint8_t *codes, int bits, size_t size, uint8_t code) {
  size_t bytes = bits == 8 ? size : size / 2, i = 0;
  u8x64 found = (u8x64)(uint8_t)0;
  for (; i + 64 <= bytes; i += 64) {
    u8x64 own = *(const u8x64u *)(codes + i);
    if (bits == 8) found |= (u8x64)(own == code);
    else found |= (u8x64)((own & 15) == code) | (u8x64)(own >> 4 == code);
  }
  if (__builtin_reduce_or(found)) return 1;
  for (; i < bytes; i++) {
    if (bits == 8 ? codes[i] == code : (codes[i] & 15) == code || codes[i] >> 4 == code) return 1;
  }
  return bits == 4 && size % 2 && codes[bytes] >> 4 == code;
}

/// Of the codes of a block, the greatest radius beyond `known`; 0 where there is none.
static double KERNEL(greater_radius)(
  const qcodec_cells *cells, const uint8_t *codes, int bits, size_t size, double magnitude, double known
) {
  // Few codes are left that could raise a maximum, or else the first of them are most likely there.
  int rank = cells->last;
  for (; rank > cells->last - 8 && magnitude * cells->radii[rank] > known; rank--) {
    if (holds_code(codes, bits, size, cells->code[rank])) return cells->radii[rank];
  }
  if (magnitude * cells->radii[rank] <= known) return 0;
  uint32_t greatest = 0;
  for (size_t i = 0; i < size; i++) {
    uint32_t code = bits == 8 ? codes[i] : i % 2 ? codes[i / 2] & 15u : codes[i / 2] >> 4;
    greatest = cells->rank[code] > greatest ? cells->rank[code] : greatest;
  }
  return cells->radii[greatest];
}

/// Zeros and signs of a block, element by element; divisors as in the update domain, or NULL.
static void KERNEL(count_changes)(
  const qcodec_table *table, const f32u *x, const f32u *divisors, const uint8_t *codes, float scale, size_t size,
  int dtype, qcodec_statistics *s
) {
  coded_block_t block = coded_block(table, codes, scale, size);
  for (size_t start = 0; start < size; start += TILE) {
    f32x16 values[4];
    products_of_tile(&block, start, values);
    for (size_t i = start; i < size && i < start + TILE; i++) {
      f32x16 value = (f32x16)values[(i - start) / 16][i % 16];
      if (divisors) value = value * divisors[i];
      float decoded = round_to(value, dtype)[0];
      if (x[i] == 0) continue;
      s->zeros_created += decoded == 0;
      s->sign_changes += decoded != 0 && (x[i] < 0) != (decoded < 0);
    }
  }
}

/// Zeros and signs of a block whose least non-zero value is `least`.
INLINE void measure_changes(
  const qcodec_table *table, const f32u *x, const f32u *divisors, const uint8_t *codes, float scale, float least,
  size_t size, int dtype, qcodec_statistics *s
) {
  const qcodec_cells *cells = s->cells;
  size_t created = size;
  if (scale != 0) {
    // Where nothing underflows, values are zero for the zero code alone, which zeros always have, and have their sign.
    if (__builtin_expect(cells->mixed || round_to((f32x16)least, dtype)[0] == 0, 0)) {
      KERNEL(count_changes)(table, x, divisors, codes, scale, size, dtype, s);
      return;
    }
    created = cells->zero < 0 ? 0 : count_code(codes, table->bits, size, (uint8_t)cells->zero);
  }
  if (created == 0) return;
  i32x16 zeros = (i32x16)0;
  size_t i = 0;
  for (; i + 16 <= size; i += 16) zeros += load16(x + i) == 0;
  for (; i < size; i++) created -= x[i] == 0;
  s->zeros_created += created + (uint64_t)(int64_t)__builtin_reduce_add(zeros);
}

/// Takes in a block of one scale; codes as they are stored.
static void KERNEL(measure_block)(
  const qcodec_table *table, const f32u *x, const uint8_t *codes, float scale, size_t size, int dtype,
  qcodec_statistics *s
) {
  sums_t sums = sums_begin(s);
  coded_block_t block = coded_block(table, codes, scale, size);
  for (size_t i = 0; i < size; i += TILE) {
    f32x16 products[4];
    float values[TILE], copy[TILE];
    products_of_tile(&block, i, products);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) store16(values + 16 * v, round_to(products[v], dtype));
    sum_values(&sums, tile_of(x, i, size, copy), values);
  }
  double square = sums_end(&sums, s), magnitude = __builtin_fabs((double)scale);
  // Without a scale there are zeros alone.
  if (magnitude == 0) return;
  // Squares tell that it is not raised, but for their rounding.
  double known = s->max_scaled_error * magnitude;
  if (square > known * known * (1 - 0x1p-50)) {
    raise_to(&s->max_scaled_error, __builtin_elementwise_sqrt(square) / magnitude);
  }
  const qcodec_cells *cells = s->cells;
  if (magnitude * cells->radii[cells->last] > s->scaled_radius) {
    double radius = KERNEL(greater_radius)(cells, codes, table->bits, size, magnitude, s->scaled_radius);
    raise_to(&s->scaled_radius, magnitude * radius);
  }
  measure_changes(table, x, NULL, codes, scale, cells->least * __builtin_fabsf(scale), size, dtype, s);
}

/// The greatest of 64 magnitudes.
INLINE float greatest_magnitude64(const f32u *x) {
  u32x16 greatest = max16(magnitude16(load16(x)), magnitude16(load16(x + 16)));
  greatest = max16(greatest, max16(magnitude16(load16(x + 32)), magnitude16(load16(x + 48))));
  return ((f32x16)(u32x16)greatest16(greatest))[0];
}

/// Whether an error of 64 is above `known` times its scale. Many are equal to it: all zeros under a map without zero.
INLINE int holds_greater(const f32u *x, const f32u *values, const f32u *scales, double known) {
#if defined(LEVEL_AVX2) || defined(LEVEL_AVX512)
  i64x4 above = (i64x4)0;
  for (int q = 0; q < TILE / 4; q++) {
    f64x4 error = __builtin_elementwise_abs(widen4(x + 4 * q) - widen4(values + 4 * q));
    f64x4 magnitude = __builtin_elementwise_abs(widen4(scales + 4 * q));
    // The sign of what is left is exact.
    above |= __builtin_elementwise_fma((f64x4)-known, magnitude, error) > 0;
  }
  return __builtin_reduce_or(above) != 0;
#else
  (void)x, (void)values, (void)scales, (void)known;
  return 1;
#endif
}

/// Takes in up to 64 elements with a scale each; codes one byte each.
static void KERNEL(measure_scaled)(
  const qcodec_table *table, const f32u *x, const f32u *scales, const uint8_t *codes, size_t count, int dtype,
  qcodec_statistics *s
) {
  float values[TILE], copy[TILE], own[TILE];
  sums_t sums = sums_begin(s);
  x = tile_of(x, 0, count, copy), scales = tile_of(scales, 0, count, own);
  const qcodec_cells *cells = s->cells;
  f32x16 entries[4];
  entries_of_tile(table, codes, entries);
  // An error up to `low` times its scale is not above max_scaled_error, for float32 rounds by less than 2^-21 here
  // where nothing is subnormal. Likewise a scale up to `enough` has no radius above scaled_radius.
  float low = (float)(s->max_scaled_error * (1 - 0x1p-20));
  float enough = (float)(s->scaled_radius / cells->radii[cells->last]);
  enough = enough < 0x1p-120f ? -1 : enough * (1 - 0x1p-21f);
  i32x16 doubtful = (i32x16)0, large = (i32x16)0, odd = (i32x16)0;
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    f32x16 source = load16(x + 16 * v), scale = load16(scales + 16 * v);
    // Where the scale is zero so are value and source.
    f32x16 value = round_to(entries[v] * scale, dtype);
    store16(values + 16 * v, value);
    f32x16 magnitude = (f32x16)magnitude16(scale), most = magnitude * low, error = (f32x16)magnitude16(source - value);
    doubtful |= (error > most) | ((most < 0x1p-120f) & (error != 0));
    large |= magnitude > enough;
    odd |= ((value == 0) | ((i32x16)(bits16(source) ^ bits16(value)) < 0)) & (source != 0);
  }
  sum_values(&sums, x, values);
  sums_end(&sums, s);
  if (any16(odd)) {
    i32x16 zeros = (i32x16)0, signs = (i32x16)0;
    for (int v = 0; v < 4; v++) {
      f32x16 source = load16(x + 16 * v), value = load16(values + 16 * v);
      zeros -= value == 0 & source != 0;
      signs -= value != 0 & source != 0 & (i32x16)(bits16(source) ^ bits16(value)) < 0;
    }
    s->zeros_created += (uint64_t)__builtin_reduce_add(zeros), s->sign_changes += (uint64_t)__builtin_reduce_add(signs);
  }
  if (any16(doubtful) && holds_greater(x, values, scales, s->max_scaled_error)) {
    for (size_t i = 0; i < count; i++) {
      double magnitude = __builtin_fabs((double)scales[i]), error = (double)x[i] - (double)values[i];
      if (magnitude != 0) raise_to(&s->max_scaled_error, __builtin_fabs(error) / magnitude);
    }
  }
  if (any16(large)) {
    double most = (double)greatest_magnitude64(scales);
    if (most * cells->radii[greatest_rank64(cells, codes)] <= s->scaled_radius) return;
    if (table->bits == 4 && enough > 0) {
      // Products of rounded factors are off by less than 2^-22 of them.
      float known = (float)s->scaled_radius * (1 - 0x1p-20f);
      i32x16 above = (i32x16)0;
#pragma clang loop unroll(full)
      for (int v = 0; v < 4; v++) {
        u32x16 code = __builtin_convertvector(load_bytes16(codes + 16 * v), u32x16);
        above |= (f32x16)magnitude16(load16(scales + 16 * v)) * lookup16(cells->nearly, code) > known;
      }
      if (!any16(above)) return;
    }
    for (size_t i = 0; i < count; i++) {
      raise_to(&s->scaled_radius, __builtin_fabs((double)scales[i]) * cells->radii[cells->rank[codes[i]]]);
    }
  }
}
