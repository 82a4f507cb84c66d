// The log map: codes evenly spaced in the bit pattern between a block's ends.

typedef struct {
  uint32_t base, top;
  int zeros;
  double steps, span;
} KERNEL(log_block);
#define log_block_t KERNEL(log_block)

INLINE log_block_t log_block(uint32_t low, uint32_t high, int bits) {
  log_block_t b;
  b.base = low & 0x7FFFFFFFu, b.top = high, b.zeros = low >> 31;
  b.steps = (double)((1 << bits) - 1 - b.zeros), b.span = (double)(b.top - b.base);
  return b;
}

/// The patterns of 16 values of k, rounded from k · (D / K).
INLINE u32x16 log_patterns(const log_block_t *b, u32x16 k) {
  return rint64x16(double16(k) * (b->span / b->steps)) + b->base;
}

INLINE f32x16 log_values(const log_block_t *b, u32x16 code) {
  u32x16 zeros = (u32x16)(uint32_t)b->zeros;
  u32x16 pattern = log_patterns(b, code - zeros);
  return (f32x16)select16(code < zeros, (u32x16)0u, pattern);
}

/// The codes of 16 values. A float32 estimate decides all but those near half steps, which take the exact float64.
INLINE u32x16 log_codes(const log_block_t *b, f32x16 x) {
  u32x16 pattern = magnitude16(x), above = pattern - b->base;
  double factor = b->span == 0 ? 0 : b->steps / b->span;
  i32x16 zero = pattern == 0;
  f32x16 estimate = __builtin_convertvector((i32x16)above, f32x16) * (float)factor;
  estimate = selectf16(zero, (f32x16)0.0f, estimate);
  i32x16 nearest = rint16(estimate);
  f32x16 rest = estimate - __builtin_convertvector(nearest, f32x16);
  // The estimate is off by less than 255 · 2^-22.
  u32x16 k = (u32x16)nearest;
  if (__builtin_expect(any16((i32x16)(magnitude16(rest) > 0x3EFFF000u)), 0)) k = rint64x16(double16(above) * factor);
  return select16(zero, (u32x16)0u, k + (uint32_t)b->zeros);
}

static int KERNEL(encode_log)(
  const float *x, size_t count, size_t block, int bits, int dtype, float *ends, uint8_t *codes,
  qcodec_statistics *statistics
) {
  measures_t measures;
  if (statistics) {
    measures_begin(&measures, statistics);
    measures.greatest = (f64x16)0.0;
  }
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    for (size_t ahead = 0; ahead < size; ahead += 16) __builtin_prefetch(x + start + block + ahead);
    // Zero, less one, wraps round and is never the least.
    u32x16 least = (u32x16)0xFFFFFFFFu, greatest = (u32x16)0u, raw = (u32x16)0u;
    i32x16 zero = (i32x16)0;
    size_t i = 0;
    for (; i + 16 <= size; i += 16) {
      u32x16 pattern = bits16(load16(x + start + i)), magnitude = pattern & 0x7FFFFFFFu;
      raw = max16(raw, pattern);
      greatest = max16(greatest, magnitude);
      least = min16(least, magnitude - 1);
      zero |= magnitude == 0;
    }
    uint32_t all = greatest16(raw), top = greatest16(greatest), bottom = least16(least);
    int zeros = any16(zero);
    for (; i < size; i++) {
      uint32_t pattern;
      memcpy(&pattern, x + start + i, 4);
      uint32_t magnitude = pattern & 0x7FFFFFFFu;
      all = pattern > all ? pattern : all, top = magnitude > top ? magnitude : top;
      bottom = magnitude - 1 < bottom ? magnitude - 1 : bottom;
      zeros |= magnitude == 0;
    }
    if (top >= 0x7F800000u || all > 0x80000000u) {
      return (top >= 0x7F800000u ? qcodec_found_nonfinite : 0) | (all > 0x80000000u ? qcodec_found_negative : 0);
    }
    uint32_t low = bottom + 1 | (uint32_t)zeros << 31;
    memcpy(ends + start / block * 2, &low, 4);
    memcpy(ends + start / block * 2 + 1, &top, 4);
    log_block_t b = log_block(low, top, bits);
    for (i = 0; i < size; i += TILE) {
      int tile = size - i < TILE ? (int)(size - i) : TILE;
      float padded[TILE];
      const float *source = x + start + i;
      if (__builtin_expect(tile < TILE, 0)) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, source, 4 * (size_t)tile);
        source = padded;
      }
      uint8_t bytes[TILE];
#pragma clang loop unroll(full)
      for (int v = 0; v < 4; v++) {
        u32x16 code = log_codes(&b, load16(source + 16 * v));
        store_bytes16(bytes + 16 * v, __builtin_convertvector(code, u8x16));
        if (statistics && 16 * v < tile) {
          int lanes = tile - 16 * v < 16 ? tile - 16 * v : 16;
          measure16(&measures, load16(source + 16 * v), round_to(log_values(&b, code), dtype), lanes);
        }
      }
      uint8_t *target = codes + (start + i) * (size_t)bits / 8;
      if (bits == 8) {
        memcpy(target, bytes, (size_t)tile);
      } else {
        for (int k = tile; k < TILE; k++) bytes[k] = 0;
        uint8_t packed[TILE / 2];
        pack64(bytes, packed);
        memcpy(target, packed, (size_t)(tile + 1) / 2);
      }
    }
  }
  if (statistics) {
    measures_end(&measures, statistics);
    double worst = __builtin_reduce_max(measures.greatest);
    statistics->max_abs_error = worst > statistics->max_abs_error ? worst : statistics->max_abs_error;
  }
  return 0;
}

static void KERNEL(decode_log)(
  const uint8_t *codes, const float *ends, size_t first, size_t count, size_t block, int bits, float *values
) {
  for (size_t done = 0; done < count;) {
    size_t place = first + done, rest = block - place % block, run = count - done < rest ? count - done : rest;
    uint32_t low, high;
    memcpy(&low, ends + place / block * 2, 4);
    memcpy(&high, ends + place / block * 2 + 1, 4);
    log_block_t b = log_block(low, high, bits);
    float sixteen[16];
    if (bits == 4) {
      const u32x16 all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
      store16(sixteen, log_values(&b, all));
    }
    for (size_t i = 0; i < run;) {
      size_t at = place + i;
      if (run - i >= 16 && (bits == 8 || at % 2 == 0)) {
        u32x16 code;
        if (bits == 8) {
          code = __builtin_convertvector(load_bytes16(codes + at), u32x16);
          store16(values + done + i, log_values(&b, code));
        } else {
          uint64_t packed;
          memcpy(&packed, codes + at / 2, 8);
          packed = __builtin_bswap64(packed);
          const u32x16 shifts = {28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0};
          code.lo = (__typeof__(code.lo))(uint32_t)(packed >> 32);
          code.hi = (__typeof__(code.hi))(uint32_t)packed;
          store16(values + done + i, lookup16(sixteen, code >> shifts & 15u));
        }
        i += 16;
      } else {
        uint32_t code = bits == 8 ? codes[at] : at % 2 ? codes[at / 2] & 15u : codes[at / 2] >> 4;
        f32x16 value = log_values(&b, (u32x16)code);
        values[done + i] = value[0];
        i += 1;
      }
    }
    done += run;
  }
}
