// The update domain: first moments over the root of their second moments, encoded in blocks.

/// The least and the greatest divisor of a block; divisors are positive, so their patterns order as they do.
typedef struct {
  float least, greatest;
} KERNEL(range);

/// u = x / divisors, and the range of divisors.
INLINE KERNEL(range) divide_block(const f32u *x, const f32u *divisors, size_t size, f32u *u) {
  f32x16 least = (f32x16)INFINITY, greatest = (f32x16)0.0f;
  size_t i = 0;
  for (; i + 16 <= size; i += 16) {
    f32x16 d = load16(divisors + i);
    least = d < least ? d : least, greatest = d > greatest ? d : greatest;
    store16(u + i, load16(x + i) / d);
  }
  KERNEL(range) range = {__builtin_reduce_min(least), __builtin_reduce_max(greatest)};
  for (; i < size; i++) {
    float d = divisors[i];
    range.least = d < range.least ? d : range.least, range.greatest = d > range.greatest ? d : range.greatest;
    u[i] = x[i] / d;
  }
  return range;
}

/// The greatest |u − û| of a block, in float64.
static double KERNEL(worst_quotient)(
  const qcodec_table *table, const f32u *u, const uint8_t *codes, float scale, size_t size
) {
  double worst = 0;
  coded_block_t block = coded_block(table, codes, scale, size);
  for (size_t start = 0; start < size; start += TILE) {
    f32x16 products[4];
    products_of_tile(&block, start, products);
    for (size_t i = start; i < size && i < start + TILE; i++) {
      raise_to(&worst, __builtin_fabs((double)u[i] - (double)products[(i - start) / 16][i % 16]));
    }
  }
  return worst;
}

/// Whether every value of a block is finite in its dtype.
static int KERNEL(values_finite)(
  const qcodec_table *table, const f32u *divisors, const uint8_t *codes, float scale, size_t size, int dtype
) {
  coded_block_t block = coded_block(table, codes, scale, size);
  for (size_t start = 0; start < size; start += TILE) {
    f32x16 products[4];
    float copy[TILE];
    products_of_tile(&block, start, products);
    const f32u *own = tile_of(divisors, start, size, copy);
    for (int v = 0; v < 4; v++) {
      f32x16 value = round_to(products[v] * load16(own + 16 * v), dtype);
      if (any16((i32x16)(magnitude16(value) >= 0x7F800000u))) return 0;
    }
  }
  return 1;
}

/// Takes in a block: x as given, u = x / divisors, codes as they are stored.
static void KERNEL(measure_update)(
  const qcodec_table *table, const f32u *x, const f32u *u, const f32u *divisors, const uint8_t *codes, float scale,
  KERNEL(range) range, size_t size, int dtype, qcodec_statistics *s
) {
  sums_t sums = sums_begin(s);
  u32x16 farthest = (u32x16)0u;
  coded_block_t block = coded_block(table, codes, scale, size);
  for (size_t i = 0; i < size; i += TILE) {
    f32x16 products[4];
    float values[TILE], copy[TILE], copy_u[TILE], copy_d[TILE];
    products_of_tile(&block, i, products);
    const f32u *own_u = tile_of(u, i, size, copy_u), *own_d = tile_of(divisors, i, size, copy_d);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      farthest = max16(farthest, magnitude16(load16(own_u + 16 * v) - products[v]));
      store16(values + 16 * v, round_to(products[v] * load16(own_d + 16 * v), dtype));
    }
    sum_values(&sums, tile_of(x, i, size, copy), values);
  }
  sums_end(&sums, s);
  const qcodec_cells *cells = s->cells;
  double magnitude = __builtin_fabs((double)scale), far = (double)((f32x16)(u32x16)greatest16(farthest))[0];
  // The float32 error is off by less than 2^-23 of it; subnormal ones are exact.
  if (magnitude != 0 && far * (1 + 0x1p-22) > s->max_scaled_error * magnitude) {
    raise_to(&s->max_scaled_error, KERNEL(worst_quotient)(table, u, codes, scale, size) / magnitude);
  }
  // Bounds grow with magnitude · R: none that gives less than both is of interest, with a margin for rounding that is
  // not enough where 2^-140 weighs.
  double greatest = (double)range.greatest, tail = s->slack / (double)range.least;
  double known = ((s->absolute_bound - s->slack) / greatest - 0x1p-140) * (1 - 0x1p-50);
  double other = (s->relative_bound - tail - 0x1p-140) * (1 - 0x1p-50);
  known = other < known ? other : known;
  if (known < 0x1p-130 || magnitude * cells->radii[cells->last] > known) {
    double least = known < 0x1p-130 ? 0 : known;
    double radius = KERNEL(greater_radius)(cells, codes, table->bits, size, magnitude, least);
    double quotient = magnitude * radius + 0x1p-140;
    raise_to(&s->absolute_bound, quotient * greatest + s->slack);
    raise_to(&s->relative_bound, quotient + tail);
  }
  float least = cells->least * __builtin_fabsf(scale) * range.least;
  measure_changes(table, x, divisors, codes, scale, least, size, dtype, s);
}

/// Encodes a block of a first moment; u is room for its quotients. Returns what was found.
static int KERNEL(update_block)(
  const KERNEL(finder) *finder, const f32u *x, const f32u *divisors, size_t size, int rule, int dtype,
  f32u *scale_of_block, uint8_t *codes, f32u *u, qcodec_statistics *s, const qcodec_spacing *spacing
) {
  const qcodec_table *table = finder->table;
  KERNEL(range) range = divide_block(x, divisors, size, u);
  KERNEL(extreme) extreme = find_extreme(u, size);
  if (extreme.found & qcodec_found_nonfinite) return qcodec_found_nonfinite;
  float scale = rounded_scale(rule == qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme));
  if (__builtin_isinf(scale) || space_out(spacing, &scale)) return qcodec_found_nonfinite;
  *scale_of_block = scale;
  encode_block(finder, u, size, scale, codes);
  if (s) KERNEL(measure_update)(table, x, u, divisors, codes, scale, range, size, dtype, s);
  // No entry is beyond ±1, so none of the values is beyond this one.
  f32x16 most = round_to((f32x16)(__builtin_fabsf(scale) * range.greatest), dtype);
  if (__builtin_expect(!__builtin_isinf(most[0]), 1)) return 0;
  return KERNEL(values_finite)(table, divisors, codes, scale, size, dtype) ? 0 : qcodec_found_nonfinite;
}

static int KERNEL(encode_update)(
  const qcodec_table *table, const f32u *x, const f32u *divisors, size_t count, size_t block, int rule, int dtype,
  f32u *scales, uint8_t *codes, f32u *u, qcodec_statistics *s, const qcodec_spacing *spacing
) {
  const KERNEL(finder) finder = KERNEL(finder_of)(table);
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    int found = KERNEL(update_block)(
      &finder, x + start, divisors + start, size, rule, dtype, scales + start / block,
      codes + start * (size_t)table->bits / 8, u, s, spacing);
    if (found) return found;
  }
  return 0;
}

static int KERNEL(encode_pair)(
  const qcodec_pair *pair, const f32u *first, const f32u *second, size_t count, f32u *scales, uint8_t *codes,
  f32u *ends, uint8_t *second_codes, f32u *scratch, qcodec_statistics *s, qcodec_statistics *second_s
) {
  const size_t block = pair->block, second_block = pair->second_block;
  const size_t step = block > second_block ? block : second_block;
  const KERNEL(finder) finder = KERNEL(finder_of)(pair->table);
  f32u *divisors = scratch, *u = scratch + step;
  const int bits = pair->table->bits, second_bits = pair->second_bits, second_dtype = pair->second_dtype;
  for (size_t start = 0; start < count; start += step) {
    size_t end = count - start < step ? count : start + step;
    for (size_t at = start; at < end; at += second_block) {
      size_t size = end - at < second_block ? end - at : second_block;
      for (size_t ahead = 0; ahead < size; ahead += 16) {
        __builtin_prefetch(second + at + second_block + ahead);
        __builtin_prefetch(first + at + second_block + ahead);
      }
      const f32u *x = second + at;
      f32u *own = ends + at / second_block * 2, *d = divisors + (at - start);
      uint8_t *target = second_codes + log_place(at, second_bits);
      const qcodec_spacing *spacing = pair->second_spacing;
      int found = s ? log_encode_block(x, size, second_bits, second_dtype, own, target, d, second_s, spacing)
                    : log_encode_block(x, size, second_bits, second_dtype, own, target, d, NULL, spacing);
      if (found) return found;
    }
    for (size_t at = start; at < end; at += block) {
      size_t size = end - at < block ? end - at : block;
      int found = KERNEL(update_block)(
        &finder, first + at, divisors + (at - start), size, pair->rule, pair->dtype, scales + at / block,
        codes + at * (size_t)bits / 8, u, s, pair->spacing);
      if (found) return found;
    }
  }
  return 0;
}

/// Elements of one block of each moment, from element `first` of the codes.
INLINE void decode_pair_run(
  const qcodec_table *table, const KERNEL(entries) *entries, const log_block_t *b, int zeros, const uint8_t *codes,
  float scale, const uint8_t *second_codes, size_t first, size_t count, int second_bits, f32u *values,
  f32u *second_values
) {
  // As many as stay in the nearest cache, so that loading the table is no matter.
  enum { part = 512 };
  for (size_t i = 0; i < count; i += part) {
    size_t size = count - i < part ? count - i : part;
    float second[part], own[part];
    log_decode_run(b, zeros, second_codes, first + i, size, second_bits, second);
    decode_run(table, entries, codes, first + i, scale, size, own);
    size_t k = 0;
    for (; k + 16 <= size; k += 16) {
      store16(values + i + k, load16(own + k) * divisors16(load16(second + k)) + 0.0f);
    }
    if (k < size) {
      f32x16 quotients = (f32x16)0.0f, seconds = (f32x16)0.0f;
      memcpy(&quotients, own + k, 4 * (size - k));
      memcpy(&seconds, second + k, 4 * (size - k));
      quotients = quotients * divisors16(seconds) + 0.0f;
      memcpy(values + i + k, &quotients, 4 * (size - k));
    }
    if (second_values) memcpy(second_values + i, second, 4 * size);
  }
}

static void KERNEL(decode_pair)(
  const qcodec_pair *pair, const f32u *scales, const uint8_t *codes, const f32u *ends, const uint8_t *second_codes,
  size_t first, size_t count, f32u *values, f32u *second_values
) {
  const KERNEL(entries) entries = entries_of(pair->table);
  for (size_t done = 0; done < count;) {
    size_t place = first + done, run = count - done;
    size_t rest = pair->block - place % pair->block, other = pair->second_block - place % pair->second_block;
    run = run < rest ? run : rest, run = run < other ? run : other;
    log_block_t b = log_block_at(ends, place / pair->second_block, pair->second_bits);
    float scale = scales[place / pair->block];
    f32u *target = values + done, *second_target = second_values ? second_values + done : NULL;
    if (b.zeros) {
      decode_pair_run(
        pair->table, &entries, &b, 1, codes, scale, second_codes, place, run, pair->second_bits, target, second_target);
    } else {
      decode_pair_run(
        pair->table, &entries, &b, 0, codes, scale, second_codes, place, run, pair->second_bits, target, second_target);
    }
    done += run;
  }
}

/// Updates m / (√v + ε); 0 where both are 0, for nothing moves.
INLINE f64x16 updates16(f32x16 m, f32x16 v, double epsilon) {
  f64x16 update = widen16(m) / (__builtin_elementwise_sqrt(widen16(v)) + epsilon);
  i64x16 idle = __builtin_convertvector((m == 0) & (v == 0), i64x16);
  return (f64x16)(~idle & (i64x16)update);
}

static void KERNEL(update_error)(
  const f32u *m, const f32u *v, const f32u *decoded_m, const f32u *decoded_v, size_t count, double epsilon,
  qcodec_update_error *e
) {
  f64x16 errors, updates, worst = (f64x16)0.0;
  memcpy(&errors, e->squared_error, sizeof errors);
  memcpy(&updates, e->squared_update, sizeof updates);
  i32x16 zeroed = (i32x16)0, signs = (i32x16)0;
  for (size_t i = 0; i < count; i += 16) {
    f32x16 own[4] = {0};
    const f32u *sources[4] = {m + i, v + i, decoded_m + i, decoded_v + i};
    for (int k = 0; k < 4; k++) memcpy(&own[k], sources[k], count - i < 16 ? 4 * (count - i) : sizeof own[k]);
    f64x16 update = updates16(own[0], own[1], epsilon);
    f64x16 error = __builtin_elementwise_abs(update - updates16(own[2], own[3], epsilon));
    errors += error * error;
    updates += update * update;
    worst = larger16(worst, error == error ? error : (f64x16)(double)INFINITY);
    zeroed -= own[1] != 0 & own[3] == 0;
    signs -= own[0] != 0 & own[2] != 0 & (i32x16)(bits16(own[0]) ^ bits16(own[2])) < 0;
  }
  memcpy(e->squared_error, &errors, sizeof errors);
  memcpy(e->squared_update, &updates, sizeof updates);
  raise_to(&e->max_abs_error, __builtin_reduce_max(worst));
  e->zeroed += (uint64_t)__builtin_reduce_add(zeroed), e->sign_changes += (uint64_t)__builtin_reduce_add(signs);
}
