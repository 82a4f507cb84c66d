// Encoding and decoding with scales of rows and columns: an element's is formed where it is needed.

/// The scales of consecutive elements: the row's, or its lesser with the columns', where these have any.
typedef struct {
  float row;
  const float *columns;
  /// factor / scale of the row and of the columns; 0 and NULL where codes are not estimated.
  float row_inverse;
  const float *inverses;
} KERNEL(reach);

/// The scales of sixteen elements of a run, from its element `i`.
INLINE f32x16 scales16(KERNEL(reach) reach, size_t i) {
  return reach.columns ? lesser16(load16(reach.columns + i), (f32x16)reach.row) : (f32x16)reach.row;
}

/// Codes of 64 elements, each held to 0…last, packed.
INLINE void pack_codes64(const i32x16 code[4], int last, int bits, uint8_t *target) {
#if defined(LEVEL_AVX512)
  // Packing works in lanes of four elements: lane l has the quads l of all four vectors.
  __m512i low = _mm512_packus_epi32((__m512i)code[0], (__m512i)code[1]);
  __m512i high = _mm512_packus_epi32((__m512i)code[2], (__m512i)code[3]);
  __m512i bytes = _mm512_min_epu8(_mm512_packus_epi16(low, high), _mm512_set1_epi8((char)last));
  if (bits == 8) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(target, _mm512_permutexvar_epi32(order, bytes));
    return;
  }
  // 16 · first + second of each pair; a quad makes bytes 0 and 2 of its four.
  const __m512i order = _mm512_castsi256_si512(_mm256_setr_epi8(
    0, 2, 16, 18, 32, 34, 48, 50, 4, 6, 20, 22, 36, 38, 52, 54, 8, 10, 24, 26, 40, 42, 56, 58, 12, 14, 28, 30, 44, 46,
    60, 62));
  __m512i pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x0110));
  _mm256_storeu_si256((__m256i *)target, _mm512_castsi512_si256(_mm512_permutexvar_epi8(order, pairs)));
#elif defined(LEVEL_AVX2)
  __m256i half[2];
#pragma clang loop unroll(full)
  for (int h = 0; h < 2; h++) {
    __m256i low = _mm256_packus_epi32((__m256i)code[2 * h].lo, (__m256i)code[2 * h].hi);
    __m256i high = _mm256_packus_epi32((__m256i)code[2 * h + 1].lo, (__m256i)code[2 * h + 1].hi);
    // Packing works in lanes of four elements: the lower lane has the even quads, the upper the odd ones.
    half[h] = _mm256_min_epu8(_mm256_packus_epi16(low, high), _mm256_set1_epi8((char)last));
    if (bits == 8) {
      const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      _mm256_storeu_si256((__m256i *)(target + 32 * h), _mm256_permutevar8x32_epi32(half[h], order));
    } else {
      // 16 · first + second of each pair.
      half[h] = _mm256_maddubs_epi16(half[h], _mm256_set1_epi16(0x0110));
    }
  }
  if (bits == 8) return;
  // Even and odd quads, two bytes each, beside one another, then interleaved.
  const __m256i order = _mm256_setr_epi8(
    0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
  __m256i pairs = _mm256_permute4x64_epi64(_mm256_packus_epi16(half[0], half[1]), 0xD8);
  _mm256_storeu_si256((__m256i *)target, _mm256_shuffle_epi8(pairs, order));
#else
  uint8_t bytes[TILE];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    i32x16 held = __builtin_elementwise_min(__builtin_elementwise_max(code[v], (i32x16)0), (i32x16)last);
    store_bytes16(bits == 8 ? target + 16 * v : bytes + 16 * v, __builtin_convertvector(held, u8x16));
  }
  if (bits == 4) pack64(bytes, target);
#endif
}

/// Whether codes of a table may be estimated (`estimate64`).
INLINE int is_estimated(const qcodec_table *table) {
  return table->search == qcodec_search_uniform && table->factor >= 4 && table->factor <= (float)(1 << table->bits) &&
         table->offset == __builtin_rintf(table->offset);
}

/// factor / scale to nearest, or infinite where the scale is so small that it may overflow. A scale of zero has the
/// greatest finite inverse: it is the least of scales, and zero times it is zero.
INLINE float inverse_of(float scale, float factor) {
  float inverse = scale < 0x1p-118f ? INFINITY : factor / scale;
  return scale == 0 ? 0x1.fffffep127f : inverse;
}

/// The codes of 64 elements of a table of even spacing, packed, by the inverses of scales instead of by quotients.
/// Returns 0 where a code may be wrong: then none counts.
///
/// Why the others are right. Let q = x / s, |q| ≤ 1, and y = fl(q), which decides. inverse = (factor / s)(1 + a) and
/// p = x · inverse · (1 + b), |a|, |b| ≤ 2^-24: the larger of two inverses is that of the lesser scale, for rounding
/// keeps order. So |p − y · factor| ≤ 3.01 · 2^-24 · factor, which is below 2^-18 with 16 entries (factor ≤ 16) and
/// below 2^-14.4 with 256 (factor ≤ 256). p + offset is rounded to an integer in one step (offset is one), and what is
/// left of p is exact. Thresholds lie within 2^-16 of half steps (`is_uniform`), so that beyond 2^-15, or 2^-13, from a
/// half step p and y lie on the same side of each. An overflowing inverse makes p infinite or NaN, and so what is left.
INLINE int estimate64(
  const qcodec_table *table, int bits, const float *x, size_t i, KERNEL(reach) reach, KERNEL(sorts) *sorts,
  uint8_t *target
) {
  const float magic = 12582912.0f + table->offset;
  u32x16 doubt = (u32x16)0u;
  i32x16 code[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    f32x16 value = load16(x + 16 * v), inverse = (f32x16)reach.row_inverse;
    take_sorts(sorts, value);
    if (reach.inverses) {
      f32x16 column = load16(reach.inverses + i + 16 * (size_t)v);
      inverse = greater16(column, inverse);
    }
    f32x16 p = value * inverse, rounded = p + magic;
    doubt = max16(doubt, magnitude16(p - (rounded - magic)));
    code[v] = (i32x16)rounded - 0x4B400000;
  }
  pack_codes64(code, table->distinct - 1, bits, target);
  // 1/2 − 2^-15, 1/2 − 2^-13.
  return !any16((i32x16)(doubt > (bits == 4 ? 0x3EFFFC00u : 0x3EFFF000u)));
}

/// The codes of 64 elements of a run, from its element `i`, packed.
INLINE void encode64(
  const qcodec_table *table, const float levels[4][16], int kind, int bits, const float *x, size_t i,
  KERNEL(reach) reach, KERNEL(sorts) *sorts, uint8_t *target
) {
  if (kind == qcodec_search_uniform && reach.row_inverse != 0) {
    if (__builtin_expect(estimate64(table, bits, x, i, reach, sorts, target), 1)) return;
  }
  f32x16 y[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    f32x16 value = load16(x + 16 * v), scale = scales16(reach, i + 16 * (size_t)v);
    take_sorts(sorts, value);
    y[v] = selectf16(scale == 0, (f32x16)0.0f, value / scale);
  }
  uint8_t bytes[TILE];
  search64(table, levels, kind, y, bits == 8 ? target : bytes);
  if (bits == 4) pack64(bytes, target);
}

/// As encode64 of up to 64 elements, which begin a byte and have 64 scales written out.
INLINE void encode_some(
  const qcodec_table *table, const float levels[4][16], int kind, int bits, const float *x, size_t count,
  const float *scales, KERNEL(sorts) *sorts, uint8_t *target
) {
  float padded[TILE];
  if (count < TILE) {
    memset(padded, 0, sizeof padded);
    memcpy(padded, x, 4 * count);
    x = padded;
  }
  uint8_t packed[TILE];
  KERNEL(reach) reach = {INFINITY, scales, 0, 0};
  encode64(table, levels, kind, bits, x, 0, reach, sorts, packed);
  // What is beyond an odd end has a code too.
  if (bits == 4 && count & 1) packed[count / 2] &= 0xF0;
  memcpy(target, packed, bits == 8 ? count : (count + 1) / 2);
}

/// The reach of a row, from its element 0.
INLINE KERNEL(reach) reach_row(const qcodec_scale_rows *s, size_t row, float factor) {
  KERNEL(reach) reach = {s->rows ? s->rows[row] : INFINITY, s->columns, 0, 0};
  if (factor == 0 || (s->columns && !s->inverses)) return reach;
  // Without a scale of its own a row leaves the choice to the columns.
  reach.row_inverse = s->rows ? inverse_of(reach.row, factor) : 0x1p-126f;
  reach.inverses = s->inverses;
  return reach;
}

/// The scales of up to a tile of elements of several rows, written out; takes `place` and `row` on.
INLINE void spread(const qcodec_scale_rows *s, size_t *place, size_t *row, size_t count, float scales[TILE]) {
  for (size_t done = 0; done < count;) {
    size_t rest = s->length - *place, run = count - done < rest ? count - done : rest;
    float own = s->rows ? s->rows[*row] : INFINITY;
    for (size_t k = 0; k < run; k++) {
      float column = s->columns ? s->columns[*place + k] : own;
      scales[done + k] = column < own ? column : own;
    }
    done += run, *place += run;
    if (*place == s->length) *place = 0, ++*row;
  }
}

/// BAND rows at once, for the columns' sake.
INLINE void encode_band(
  const qcodec_table *table, const float levels[4][16], int kind, int bits, const float *x,
  const qcodec_scale_rows *scales, size_t row, float factor, KERNEL(sorts) *sorts, uint8_t *target
) {
  const size_t length = scales->length, bytes = length * (size_t)bits / 8;
  KERNEL(reach) reach[BAND];
  for (size_t r = 0; r < BAND; r++) reach[r] = reach_row(scales, row + r, factor);
  size_t i = 0;
  for (; i + TILE <= length; i += TILE) {
    for (size_t r = 0; r < BAND; r++) {
      encode64(
        table, levels, kind, bits, x + r * length + i, i, reach[r], sorts, target + r * bytes + i * (size_t)bits / 8);
    }
  }
  for (size_t r = 0; r < BAND && i < length; r++) {
    float own[TILE] = {0};
    size_t place = i, own_row = row + r;
    spread(scales, &place, &own_row, length - i, own);
    encode_some(
      table, levels, kind, bits, x + r * length + i, length - i, own, sorts, target + r * bytes + i * (size_t)bits / 8);
  }
}

INLINE int encode_rows_as(
  const qcodec_table *table, int kind, int bits, const float *x, size_t count, const qcodec_scale_rows *scales,
  int dtype, uint8_t *codes, qcodec_statistics *statistics
) {
  float levels[4][16];
  if (kind == qcodec_search_sixteen) sixteen_levels(table, levels);
  const float factor = kind == qcodec_search_uniform && is_estimated(table) ? table->factor : 0;
  const size_t length = scales->length;
  KERNEL(sorts) sorts = {(i32x16)INT32_MIN, (u32x16)0u};
  size_t place = scales->place, row = 0;
  for (size_t i = 0; i < count;) {
    uint8_t *target = codes + i * (size_t)bits / 8;
    if (!statistics && place == 0 && length % 2 == 0 && length >= TILE && (count - i) / BAND >= length) {
      encode_band(table, levels, kind, bits, x + i, scales, row, factor, &sorts, target);
      i += BAND * length, row += BAND;
      continue;
    }
    size_t tile = count - i < TILE ? count - i : TILE;
    float own[TILE];
    if (tile == TILE && length - place >= TILE) {
      KERNEL(reach) reach = reach_row(scales, row, factor);
      encode64(table, levels, kind, bits, x + i, place, reach, &sorts, target);
      for (int v = 0; statistics && v < 4; v++) store16(own + 16 * v, scales16(reach, place + 16 * (size_t)v));
      place += TILE;
      if (place == length) place = 0, row++;
    } else {
      memset(own, 0, sizeof own);
      spread(scales, &place, &row, tile, own);
      encode_some(table, levels, kind, bits, x + i, tile, own, &sorts, target);
    }
    if (statistics) {
      uint8_t bytes[TILE] = {0}, packed[TILE / 2] = {0};
      const uint8_t *own_codes = target;
      if (bits == 4) {
        memcpy(packed, target, (tile + 1) / 2);
        unpack64(packed, bytes);
        own_codes = bytes;
      } else if (tile < TILE) {
        // Whole tiles are looked at; behind the last codes is the caller's memory.
        memcpy(bytes, target, tile);
        own_codes = bytes;
      }
      KERNEL(measure_scaled)(table, x + i, own, own_codes, tile, dtype, statistics);
    }
    i += tile;
  }
  return found_sorts(&sorts);
}

/// The inverses of columns that codes are estimated by; returns 0 where they are not, and writes none.
static int KERNEL(inverses)(const qcodec_table *table, const float *columns, size_t length, float *inverses) {
  if (!is_estimated(table)) return 0;
  for (size_t i = 0; i < length; i++) inverses[i] = inverse_of(columns[i], table->factor);
  return 1;
}

static int KERNEL(encode_scaled)(
  const qcodec_table *table, const float *x, size_t count, const qcodec_scale_rows *scales, int dtype, uint8_t *codes,
  qcodec_statistics *statistics
) {
  if (table->search == qcodec_search_sixteen) {
    return encode_rows_as(table, qcodec_search_sixteen, 4, x, count, scales, dtype, codes, statistics);
  }
  if (table->search == qcodec_search_buckets) {
    return encode_rows_as(table, qcodec_search_buckets, 8, x, count, scales, dtype, codes, statistics);
  }
  return table->bits == 4
           ? encode_rows_as(table, qcodec_search_uniform, 4, x, count, scales, dtype, codes, statistics)
           : encode_rows_as(table, qcodec_search_uniform, 8, x, count, scales, dtype, codes, statistics);
}

/// entries[code] of sixteen codes of 4 bits, two a byte; the first element of a byte is its high nibble.
INLINE f32x16 entries_packed16(const float *entries, const uint8_t *packed) {
#if defined(LEVEL_AVX512)
  int64_t bytes;
  memcpy(&bytes, packed, 8);
  // Bits 8k + 4 on and 8k on of the eight bytes to the low ends of lanes 2k and 2k + 1; the look-up ignores the rest.
  const __m512i nibbles = _mm512_set_epi64(
    0x383838383C3C3C3C, 0x3030303034343434, 0x282828282C2C2C2C, 0x2020202024242424, 0x181818181C1C1C1C,
    0x1010101014141414, 0x080808080C0C0C0C, 0x0000000004040404);
  return lookup16(entries, (u32x16)_mm512_multishift_epi64_epi8(nibbles, _mm512_set1_epi64(bytes)));
#else
  uint32_t low, high;
  memcpy(&low, packed, 4), memcpy(&high, packed + 4, 4);
  const u32x16 shifts = {4, 0, 12, 8, 20, 16, 28, 24, 4, 0, 12, 8, 20, 16, 28, 24};
  u32x16 words;
  words.lo = (__typeof__(words.lo))low;
  words.hi = (__typeof__(words.hi))high;
  words >>= shifts;
#if !defined(LEVEL_AVX2)
  // There the look-up itself ignores what is above.
  words &= 15u;
#endif
  return lookup16(entries, words);
#endif
}

/// Elements of one row under scales of columns, from element `first` of the codes.
INLINE void decode_columns(
  const qcodec_table *table, const uint8_t *codes, size_t first, float row, const float *columns, size_t count,
  float *values
) {
  size_t i = 0;
  if (table->bits == 8) {
    for (; i + TILE <= count; i += TILE) {
      f32x16 out[4];
      entries64(table, codes + first + i, out);
#pragma clang loop unroll(full)
      for (size_t v = 0; v < 4; v++) {
        f32x16 scale = lesser16(load16(columns + i + 16 * v), (f32x16)row);
        store16(values + i + 16 * v, out[v] * scale + 0.0f);
      }
    }
  } else {
    if (first % 2 && count) values[0] = decode_one(table, codes, first, columns[0] < row ? columns[0] : row), i = 1;
    for (; i + 16 <= count; i += 16) {
      f32x16 scale = lesser16(load16(columns + i), (f32x16)row);
      store16(values + i, entries_packed16(table->entries, codes + (first + i) / 2) * scale + 0.0f);
    }
  }
  for (; i < count; i++) values[i] = decode_one(table, codes, first + i, columns[i] < row ? columns[i] : row);
}

// One row at a time, though columns are read anew for each: several streams of stores cost more than that.
static void KERNEL(decode_scaled)(
  const qcodec_table *table, const uint8_t *codes, size_t first, size_t count, const qcodec_scale_rows *scales,
  float *values
) {
  const KERNEL(entries) entries = entries_of(table);
  size_t place = scales->place;
  for (size_t done = 0, row = 0; done < count; row++, place = 0) {
    size_t rest = scales->length - place, run = count - done < rest ? count - done : rest;
    float scale = scales->rows ? scales->rows[row] : INFINITY;
    if (scales->columns) {
      decode_columns(table, codes, first + done, scale, scales->columns + place, run, values + done);
    } else {
      decode_run(table, &entries, codes, first + done, scale, run, values + done);
    }
    done += run;
  }
}
