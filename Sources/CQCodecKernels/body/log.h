// The log map: codes evenly spaced in the bit pattern between a block's ends. Codes of 4 bits lie two a byte, those of
// every other width one a byte.

typedef struct {
  uint32_t base;
  /// Whether code 0 stands for zero.
  int zeros;
  /// K / D and D / K, and the first in float32 for estimates.
  double factor, step;
  float estimate;
  /// The whole part of D / K and the rest.
  uint32_t whole;
  float rest;
  /// With 4 bits: the values of all codes, and what first moments are divided by for each.
  float values[16], divisors[16];
} KERNEL(log_block);
#define log_block_t KERNEL(log_block)

/// Where the codes of element `index`, an even one, lie among those of a width.
INLINE size_t log_place(size_t index, int bits) { return bits == 4 ? index / 2 : index; }

/// The values of 16 places k: patterns rounded from k · (D / K).
INLINE f32x16 log_steps(const log_block_t *b, int zeros, f32x16 place) {
  if (zeros) return (f32x16)(rint64x16(widen16(place) * b->step) + b->base);
  // K is odd, so that k · D / K is no nearer to a half than 1 / 510: the rest's product with k <= 255 is precise enough
  // in float32. The sum with 1.5 · 2^23 has no bits below one.
  u32x16 k = (u32x16)__builtin_convertvector(place, i32x16);
  u32x16 rounded = (u32x16)MULTIPLY_ADD(place, (f32x16)b->rest, (f32x16)12582912.0f) - 0x4B400000u;
  return (f32x16)(k * b->whole + rounded + b->base);
}

/// What first moments are divided by: the root of a value, 1 where it is zero.
INLINE f32x16 divisors16(f32x16 v) { return selectf16(v > 0, __builtin_elementwise_sqrt(v), (f32x16)1.0f); }

INLINE log_block_t log_block(uint32_t low, uint32_t high, int bits) {
  log_block_t b;
  b.base = low & 0x7FFFFFFFu, b.zeros = (int)(low >> 31);
  double steps = (double)((1 << bits) - 1 - b.zeros), span = (double)(high - b.base);
  b.factor = span == 0 ? 0 : steps / span, b.step = span / steps;
  b.estimate = (float)b.factor;
  b.whole = (high - b.base) / (uint32_t)steps, b.rest = (float)((high - b.base) % (uint32_t)steps) / (float)steps;
  if (bits == 4) {
    const f32x16 codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    f32x16 values = log_steps(&b, b.zeros, codes - (float)b.zeros);
    values = selectf16(codes < (float)b.zeros, (f32x16)0.0f, values);
    store16(b.values, values);
    store16(b.divisors, divisors16(values));
  }
  return b;
}

/// The values of 16 codes of one byte each.
INLINE f32x16 log_values(const log_block_t *b, int zeros, u32x16 code) {
  f32x16 place = __builtin_convertvector((i32x16)code, f32x16);
  if (!zeros) return log_steps(b, 0, place);
  return selectf16(code == 0, (f32x16)0.0f, log_steps(b, 1, place - 1));
}

/// The places k of 16 values as whole float32; 0 for zeros, which only a block with `zeros` holds. A float32 estimate
/// decides all but those near half steps, which take the exact float64.
INLINE f32x16 log_places(const log_block_t *b, int zeros, f32x16 x) {
  u32x16 pattern = zeros ? magnitude16(x) : bits16(x), above = pattern - b->base;
  if (zeros) above = select16(pattern == 0, (u32x16)0u, above);
  f32x16 estimate = __builtin_convertvector((i32x16)above, f32x16) * b->estimate;
  f32x16 nearest = (estimate + 12582912.0f) - 12582912.0f;
  // The estimate is off by less than 255 · 2^-22.
  if (__builtin_expect(any16((i32x16)(magnitude16(estimate - nearest) > 0x3EFFF000u)), 0)) {
    nearest = __builtin_convertvector((i32x16)rint64x16(double16(above) * b->factor), f32x16);
  }
  return nearest;
}

/// The ends of patterns. Zero, less one, wraps round and is never the least.
typedef struct {
  u32x16 least, lowest, greatest;
} KERNEL(log_range);

INLINE KERNEL(log_range) no_range(void) {
  return (KERNEL(log_range)){(u32x16)0xFFFFFFFFu, (u32x16)0xFFFFFFFFu, (u32x16)0u};
}

INLINE void take_range(KERNEL(log_range) *range, f32x16 x) {
  u32x16 pattern = bits16(x);
  range->greatest = max16(range->greatest, pattern);
  range->lowest = min16(range->lowest, pattern);
  range->least = min16(range->least, pattern - 1);
}

/// The ends of a block of which a range has been taken, and the elements from `rest` on have not. Returns what was found.
INLINE int log_ends_of(
  const KERNEL(log_range) *range, const f32u *x, size_t rest, size_t size, uint32_t *low, uint32_t *high
) {
  uint32_t top = greatest16(range->greatest), floor = least16(range->lowest), bottom = least16(range->least);
  for (size_t i = rest; i < size; i++) {
    uint32_t pattern;
    memcpy(&pattern, x + i, 4);
    top = pattern > top ? pattern : top, floor = pattern < floor ? pattern : floor;
    bottom = pattern - 1 < bottom ? pattern - 1 : bottom;
  }
  int zeros = floor == 0;
  if (__builtin_expect(top >= 0x80000000u, 0)) {
    // Rare: negative zeros, which count as zeros, or what is to be refused.
    int negative = top > 0x80000000u, nonfinite = 0;
    top = 0, bottom = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
      uint32_t pattern;
      memcpy(&pattern, x + i, 4);
      uint32_t magnitude = pattern & 0x7FFFFFFFu;
      top = magnitude > top ? magnitude : top, bottom = magnitude - 1 < bottom ? magnitude - 1 : bottom;
      zeros |= magnitude == 0, nonfinite |= magnitude >= 0x7F800000u;
    }
    if (negative || nonfinite) return (negative ? qcodec_found_negative : 0) | (nonfinite ? qcodec_found_nonfinite : 0);
  }
  *low = (bottom + 1) | (uint32_t)zeros << 31, *high = top;
  return top >= 0x7F800000u ? qcodec_found_nonfinite : 0;
}

/// The ends of a block: its least non-zero value, the sign telling of zeros, and its greatest. Returns what was found.
INLINE int log_ends(const f32u *x, size_t size, uint32_t *low, uint32_t *high) {
  KERNEL(log_range) range = no_range();
  size_t i = 0;
  for (; i + 16 <= size; i += 16) take_range(&range, load16(x + i));
  return log_ends_of(&range, x, i, size, low, high);
}

/// Elements of a block that are encoded before they are measured.
#define LOG_PIECE 512

/// Packs the first `count` of 64 codes, one byte each.
INLINE void store_codes(uint8_t *codes, int count, int bits, uint8_t *target) {
  if (count == TILE) {
    if (bits != 4) memcpy(target, codes, TILE);
    else pack64(codes, target);
    return;
  }
  if (bits != 4) {
    memcpy(target, codes, (size_t)count);
    return;
  }
  if (count & 1) codes[count] = 0;
  uint8_t packed[TILE / 2];
  pack64(codes, packed);
  memcpy(target, packed, (size_t)(count + 1) / 2);
}

/// Encodes a piece of a block. Where asked for it gives what first moments are divided by, and what is to be measured:
/// decoded values, or errors where these are exact.
INLINE void log_tiles(
  const log_block_t *b, int zeros, const f32u *x, size_t size, int bits, uint8_t *target, f32u *divisors,
  f32u *measured, int exact
) {
  for (size_t i = 0; i < size; i += TILE) {
    int tile = size - i < TILE ? (int)(size - i) : TILE;
    float copy[TILE], roots[TILE];
    const f32u *source = x + i;
    if (__builtin_expect(tile < TILE, 0)) {
      // Any value of the block will do.
      for (int k = 0; k < TILE; k++) copy[k] = source[k < tile ? k : 0];
      source = copy;
    }
    const int whole = bits != 4 && tile == TILE;
    uint8_t bytes[TILE];
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      f32x16 own = load16(source + 16 * v), place = log_places(b, zeros, own);
      u32x16 code = (u32x16)__builtin_convertvector(place, i32x16);
      i32x16 zero = (i32x16)0;
      if (zeros) {
        zero = own == 0;
        code = select16(zero, (u32x16)0u, code + 1);
      }
      // Stored where they belong: a load of all that was stored in parts would wait for the stores.
      store_bytes16(whole ? target + i + 16 * v : bytes + 16 * v, __builtin_convertvector(code, u8x16));
      if (!divisors && !measured) continue;
      f32x16 value;
      if (bits == 4) {
        value = lookup16(b->values, code);
        if (divisors) store16(roots + 16 * v, lookup16(b->divisors, code));
      } else {
        value = log_steps(b, zeros, place);
        if (zeros) value = selectf16(zero, (f32x16)0.0f, value);
        if (divisors) {
          f32x16 root = __builtin_elementwise_sqrt(value);
          store16(roots + 16 * v, zeros ? selectf16(zero, (f32x16)1.0f, root) : root);
        }
      }
      if (measured) store16(measured + i + 16 * v, exact ? own - value : value);
    }
    if (divisors) memcpy(divisors + i, roots, tile == TILE ? sizeof roots : 4 * (size_t)tile);
    if (!whole) store_codes(bytes, tile, bits, target + log_place(i, bits));
  }
}

/// Takes in a piece of a block: what it decodes to, or its errors where these are exact. No value that is not zero
/// decodes to zero, or to a value of another sign.
static void KERNEL(measure_log)(
  const f32u *x, f32u *measured, size_t size, int dtype, int exact, qcodec_statistics *s
) {
  sums_t sums = sums_begin(s);
  u32x16 farthest = (u32x16)0u;
  for (size_t i = size; i % TILE; i++) measured[i] = 0;
  for (size_t i = 0; i < size; i += TILE) {
    float copy[TILE];
    const f32u *source = tile_of(x, i, size, copy);
    if (exact) {
      sum_errors(&sums, source, measured + i);
      for (size_t v = i; v < i + TILE; v += 16) farthest = max16(farthest, magnitude16(load16(measured + v)));
      continue;
    }
    if (dtype != qcodec_dtype_f32) {
      for (size_t v = i; v < i + TILE; v += 16) store16(measured + v, round_to(load16(measured + v), dtype));
    }
    sum_values(&sums, source, measured + i);
  }
  sums_end(&sums, s);
  if (exact) raise_to(&s->max_abs_error, (double)((f32x16)(u32x16)greatest16(farthest))[0]);
}

/// Encodes a block between its ends: these and its codes, and the rest as log_tiles.
INLINE void log_encode_between(
  uint32_t low, uint32_t high, const f32u *x, size_t size, int bits, int dtype, f32u *ends, uint8_t *codes,
  f32u *divisors, qcodec_statistics *s
) {
  memcpy(ends, &low, 4), memcpy(ends + 1, &high, 4);
  log_block_t b = log_block(low, high, bits);
  // Patterns that differ by at most 2^23 differ by an exact float32: one is at most twice the other, or both are below
  // 2^-125 and multiples of 2^-149. Decoding moves a pattern by half a step and half a unit.
  const int exact = dtype == qcodec_dtype_f32 && b.step <= 0x1p24 - 2;
  float measured[LOG_PIECE];
  for (size_t i = 0; i < size; i += LOG_PIECE) {
    size_t piece = size - i < LOG_PIECE ? size - i : LOG_PIECE;
    f32u *roots = divisors ? divisors + i : NULL, *room = s ? measured : NULL;
    uint8_t *target = codes + log_place(i, bits);
    // The usual kinds have a body of their own each.
    if (b.zeros) log_tiles(&b, 1, x + i, piece, bits, target, roots, room, exact);
    else if (bits != 4 && exact) log_tiles(&b, 0, x + i, piece, 8, target, roots, room, 1);
    else log_tiles(&b, 0, x + i, piece, bits, target, roots, room, exact);
    if (s) KERNEL(measure_log)(x + i, measured, piece, dtype, exact, s);
  }
}

INLINE int64_t floor_divide(int64_t n, int64_t step) { return n / step - (n % step < 0); }

/// The mean pattern of elements that are not zero, of which there is one, rounded down.
INLINE int64_t mean_pattern(const f32u *x, size_t size) {
  i64x16 sum = (i64x16)0ll;
  uint64_t total = 0, count = 0;
  size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    u32x16 pattern = magnitude16(load16(x + i));
    sum += __builtin_convertvector(pattern, i64x16);
    count -= (uint64_t)(int64_t)__builtin_reduce_add((i32x16)(pattern != 0u));
  }
  for (; i < size; i++) {
    uint32_t pattern;
    memcpy(&pattern, x + i, 4);
    total += pattern & 0x7FFFFFFFu, count += (pattern & 0x7FFFFFFFu) != 0;
  }
  for (int k = 0; k < 16; k++) total += (uint64_t)sum[k];
  return (int64_t)(total / count);
}

/// The ends of a block on the tensor's grid, the pattern `lowest` and whole steps from it, with a code for zeros and its mean
/// in the middle; its own ends where these do not hold it. As LogGrid.block.
INLINE void space_log(
  const qcodec_spacing *spacing, const f32u *x, size_t size, int bits, uint32_t *low, uint32_t *high
) {
  // A block of zeros alone is left alone.
  if (!spacing || spacing->step == 0 || *low == 0x80000000u) return;
  const int64_t step = spacing->step, lowest = spacing->lowest, reach = ((1 << bits) - 2) * step;
  const int64_t base = *low & 0x7FFFFFFFu, top = *high, highest = spacing->highest;
  const int64_t bottom = lowest < 0x00800000 ? lowest : 0x00800000;
  // Steps from `lowest` to the lower end: all that hold the block between 2^-126 and the greatest finite value.
  int64_t most = floor_divide((highest - reach < base ? highest - reach : base) - lowest, step);
  int64_t least = -floor_divide(lowest - (top - reach > bottom ? top - reach : bottom), step);
  if (least > most) return;
  int64_t middle = floor_divide(mean_pattern(x, size) - lowest + step / 2, step) - ((1 << bits) - 2) / 2;
  int64_t start = lowest + (least > middle ? least : most < middle ? most : middle) * step;
  *low = (uint32_t)start | 0x80000000u, *high = (uint32_t)(start + reach);
}

/// Encodes a block: its ends and codes, and the rest as log_tiles. Returns what was found.
INLINE int log_encode_block(
  const f32u *x, size_t size, int bits, int dtype, f32u *ends, uint8_t *codes, f32u *divisors, qcodec_statistics *s,
  const qcodec_spacing *spacing
) {
  uint32_t low, high;
  int found = log_ends(x, size, &low, &high);
  if (__builtin_expect(found, 0)) return found;
  space_log(spacing, x, size, bits, &low, &high);
  log_encode_between(low, high, x, size, bits, dtype, ends, codes, divisors, s);
  return 0;
}

static int KERNEL(encode_log)(
  const f32u *x, size_t count, size_t block, int bits, int dtype, f32u *ends, uint8_t *codes,
  qcodec_statistics *statistics, const qcodec_spacing *spacing
) {
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    for (size_t ahead = 0; ahead < size; ahead += 16) __builtin_prefetch(x + start + block + ahead);
    f32u *own = ends + start / block * 2;
    uint8_t *target = codes + log_place(start, bits);
    int found = statistics ? log_encode_block(x + start, size, bits, dtype, own, target, NULL, statistics, spacing)
                           : log_encode_block(x + start, size, bits, dtype, own, target, NULL, NULL, spacing);
    if (found) return found;
  }
  return 0;
}

/// The block that holds element `place` of a chunk.
INLINE log_block_t log_block_at(const f32u *ends, size_t index, int bits) {
  uint32_t low, high;
  memcpy(&low, ends + index * 2, 4);
  memcpy(&high, ends + index * 2 + 1, 4);
  return log_block(low, high, bits);
}

/// Elements of one block, from element `first` of the codes.
INLINE void log_decode_run(
  const log_block_t *b, int zeros, const uint8_t *codes, size_t first, size_t count, int bits, f32u *values
) {
  size_t i = 0;
  if (bits != 4) {
    for (; i + 16 <= count; i += 16) {
      u32x16 code = __builtin_convertvector(load_bytes16(codes + first + i), u32x16);
      store16(values + i, log_values(b, zeros, code));
    }
    for (; i < count; i++) values[i] = log_values(b, zeros, (u32x16)(uint32_t)codes[first + i])[0];
    return;
  }
  if (first % 2 && count) values[0] = b->values[codes[first / 2] & 15], i = 1;
  for (; i + 16 <= count; i += 16) store16(values + i, lookup16(b->values, nibbles16(codes + (first + i) / 2)));
  for (; i < count; i++) {
    size_t at = first + i;
    values[i] = b->values[at % 2 ? codes[at / 2] & 15 : codes[at / 2] >> 4];
  }
}

static void KERNEL(decode_log)(
  const uint8_t *codes, const f32u *ends, size_t first, size_t count, size_t block, int bits, f32u *values
) {
  for (size_t done = 0; done < count;) {
    size_t place = first + done, rest = block - place % block, run = count - done < rest ? count - done : rest;
    log_block_t b = log_block_at(ends, place / block, bits);
    if (b.zeros) log_decode_run(&b, 1, codes, place, run, bits, values + done);
    else log_decode_run(&b, 0, codes, place, run, bits, values + done);
    done += run;
  }
}
