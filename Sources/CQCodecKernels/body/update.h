// What encoding did to a first moment in the update domain, whose quotients were encoded in blocks.

/// One tile: the errors of values, and of quotients into `scaled`; returns the greatest rank of its codes.
INLINE uint32_t measure_update_tile(
  measures_t *m, const qcodec_table *table, const qcodec_radii *radii, const float *x, const float *u, const float *divisors,
  const uint8_t *codes, float scale, int count, int dtype, f64x16 *scaled, u32x16 *patterns
) {
  f32x16 values[4];
  decode_tile(table, codes, 0, scale, values);
  uint32_t rank = 0;
  if (count == TILE) rank = greatest_rank64(radii, codes);
  else for (int i = 0; i < count; i++) rank = radii->rank[codes[i]] > rank ? radii->rank[codes[i]] : rank;
  for (int v = 0; 16 * v < count; v++) {
    float own_x[16] = {0}, own_u[16] = {0}, own_d[16];
    f32x16 source, quotient, divisor;
    int lanes = count - 16 * v;
    if (__builtin_expect(lanes < 16, 0)) {
      for (int i = 0; i < 16; i++) own_d[i] = 1;
      memcpy(own_x, x + 16 * v, 4 * (size_t)lanes);
      memcpy(own_u, u + 16 * v, 4 * (size_t)lanes);
      memcpy(own_d, divisors + 16 * v, 4 * (size_t)lanes);
      source = load16(own_x), quotient = load16(own_u), divisor = load16(own_d);
      for (int i = lanes; i < 16; i++) values[v][i] = 0;
    } else {
      source = load16(x + 16 * v), quotient = load16(u + 16 * v), divisor = load16(divisors + 16 * v);
      lanes = 16;
    }
    f64x16 error = __builtin_elementwise_abs(widen16(quotient) - widen16(values[v]));
    *scaled = larger16(*scaled, error);
    f32x16 value = round_to(values[v] * divisor + 0.0f, dtype);
    *patterns = max16(*patterns, magnitude16(value));
    measure16(m, source, value, lanes);
  }
  return rank;
}

static int KERNEL(measure_update)(
  const qcodec_table *table, const float *x, const float *u, const float *divisors, size_t count, size_t block, int dtype,
  const float *scales, const uint8_t *codes, qcodec_statistics *s
) {
  measures_t measures;
  measures_begin(&measures, s);
  measures.greatest = (f64x16)0.0;
  u32x16 patterns = (u32x16)0u;
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    float scale = scales[start / block], least = INFINITY, greatest = 0;
    f64x16 scaled = (f64x16)0.0;
    uint32_t rank = 0;
    f32x16 low = (f32x16)INFINITY, high = (f32x16)0.0f;
    size_t i = 0;
    for (; i + 16 <= size; i += 16) {
      f32x16 d = load16(divisors + start + i);
      low = __builtin_elementwise_min(low, d), high = __builtin_elementwise_max(high, d);
    }
    least = __builtin_reduce_min(low), greatest = __builtin_reduce_max(high);
    for (; i < size; i++) {
      least = divisors[start + i] < least ? divisors[start + i] : least;
      greatest = divisors[start + i] > greatest ? divisors[start + i] : greatest;
    }
    for (i = 0; i < size; i += TILE) {
      int tile = size - i < TILE ? (int)(size - i) : TILE;
      uint8_t bytes[TILE] = {0};
      if (tile == TILE) {
        codes_of_tile(codes, table->bits, start + i, bytes);
      } else {
        for (int k = 0; k < tile; k++) {
          size_t at = start + i + (size_t)k;
          bytes[k] = table->bits == 8 ? codes[at] : at % 2 ? codes[at / 2] & 15 : codes[at / 2] >> 4;
        }
      }
      size_t at = start + i;
      uint32_t own = measure_update_tile(
        &measures, table, s->radii, x + at, u + at, divisors + at, bytes, scale, tile, dtype, &scaled, &patterns);
      rank = own > rank ? own : rank;
    }
    double magnitude = __builtin_fabs((double)scale);
    if (magnitude != 0) {
      double error = __builtin_reduce_max(scaled) / magnitude;
      s->max_scaled_error = error > s->max_scaled_error ? error : s->max_scaled_error;
    }
    double quotient = magnitude * s->radii->radii[rank] + 0x1p-140;
    double absolute = quotient * (double)greatest + s->slack, relative = quotient + s->slack / (double)least;
    s->absolute_bound = absolute > s->absolute_bound ? absolute : s->absolute_bound;
    s->relative_bound = relative > s->relative_bound ? relative : s->relative_bound;
  }
  measures_end(&measures, s);
  double worst = __builtin_reduce_max(measures.greatest);
  s->max_abs_error = worst > s->max_abs_error ? worst : s->max_abs_error;
  return greatest16(patterns) >= 0x7F800000u ? qcodec_found_nonfinite : 0;
}
