// Steps of optimizers whose moments are coded: each tile of moments is decoded, moved on and encoded while it lies in the
// nearest cache. step.h has the rules, coded.h the usual schemes in fewer passes.

/// Elements of a tile, tile by tile in scratch.
typedef struct {
  f32u *first, *second, *greatest;
} KERNEL(moments);

/// Moves `count` elements of a tile on.
INLINE void move_tile(
  int rule, int keeps_greatest, int has_floats, const qcodec_step *s, const qcodec_tensor_step *t, size_t at,
  size_t count, const KERNEL(moments) *moments
) {
  const int parameter_dtype = has_floats ? qcodec_dtype_f32 : t->parameter_dtype;
  const int gradient_dtype = has_floats ? qcodec_dtype_f32 : t->gradient_dtype;
  const int has_first = rule != qcodec_optimizer_adagrad;
  const int has_second = rule != qcodec_optimizer_lion && rule != qcodec_optimizer_sgd;
  const uint8_t *gradients = t->gradients;
  uint8_t *parameters = t->parameters;
  const size_t width = parameter_dtype == qcodec_dtype_f32 ? 4 : 2;
  const size_t gradient_width = gradient_dtype == qcodec_dtype_f32 ? 4 : 2;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    // The next tile comes from memory while this one is decoded and encoded.
    __builtin_prefetch(parameters + width * (at + i + AHEAD), 1);
    __builtin_prefetch(gradients + gradient_width * (at + i + AHEAD));
    KERNEL(lanes) e = {
      .parameter = load_as(parameters, at + i, parameter_dtype), .gradient = load_as(gradients, at + i, gradient_dtype)};
    if (has_first) e.first = load16(moments->first + i);
    if (has_second) e.second = load16(moments->second + i);
    if (keeps_greatest) e.greatest = load16(moments->greatest + i);
    move_moments16(rule, keeps_greatest, s, &e);
    move_parameters16(rule, keeps_greatest, s, &e);
    if (has_first) store16(moments->first + i, e.first);
    if (has_second) store16(moments->second + i, e.second);
    if (keeps_greatest) store16(moments->greatest + i, e.greatest);
    if (parameter_dtype == qcodec_dtype_f32) store16((f32u *)parameters + at + i, e.parameter);
    else *(u16x16u *)(parameters + 2 * (at + i)) = narrow16(e.parameter, parameter_dtype);
  }
  if (i == count) return;
  const size_t rest = count - i;
  KERNEL(lanes) e = {
    .parameter = load_some_as(parameters, at + i, rest, parameter_dtype),
    .gradient = load_some_as(gradients, at + i, rest, gradient_dtype)};
  if (has_first) memcpy(&e.first, moments->first + i, 4 * rest);
  if (has_second) memcpy(&e.second, moments->second + i, 4 * rest);
  if (keeps_greatest) memcpy(&e.greatest, moments->greatest + i, 4 * rest);
  move_moments16(rule, keeps_greatest, s, &e);
  move_parameters16(rule, keeps_greatest, s, &e);
  if (has_first) memcpy(moments->first + i, &e.first, 4 * rest);
  if (has_second) memcpy(moments->second + i, &e.second, 4 * rest);
  if (keeps_greatest) memcpy(moments->greatest + i, &e.greatest, 4 * rest);
  if (parameter_dtype == qcodec_dtype_f32) {
    memcpy(parameters + 4 * (at + i), &e.parameter, 4 * rest);
  } else {
    u16x16 half = narrow16(e.parameter, parameter_dtype);
    memcpy(parameters + 2 * (at + i), &half, 2 * rest);
  }
}

typedef void (*KERNEL(tile_mover))(
  const qcodec_step *, const qcodec_tensor_step *, size_t, size_t, const KERNEL(moments) *);

#define MOVER(name, rule, keeps_greatest) \
  static void KERNEL(move_##name)( \
    const qcodec_step *s, const qcodec_tensor_step *t, size_t at, size_t count, const KERNEL(moments) *moments \
  ) { \
    if (t->parameter_dtype == qcodec_dtype_f32 && t->gradient_dtype == qcodec_dtype_f32) { \
      move_tile(rule, keeps_greatest, 1, s, t, at, count, moments); \
    } else { \
      move_tile(rule, keeps_greatest, 0, s, t, at, count, moments); \
    } \
  }
MOVER(adam, qcodec_optimizer_adam, 0)
MOVER(amsgrad, qcodec_optimizer_adam, 1)
MOVER(lamb, qcodec_optimizer_lamb, 0)
MOVER(rmsprop, qcodec_optimizer_rmsprop, 0)
MOVER(adagrad, qcodec_optimizer_adagrad, 0)
MOVER(sgd, qcodec_optimizer_sgd, 0)
MOVER(lion, qcodec_optimizer_lion, 0)
#undef MOVER

INLINE KERNEL(tile_mover) mover_of(int rule, int keeps_greatest) {
  switch (rule) {
    case qcodec_optimizer_lamb: return KERNEL(move_lamb);
    case qcodec_optimizer_rmsprop: return KERNEL(move_rmsprop);
    case qcodec_optimizer_adagrad: return KERNEL(move_adagrad);
    case qcodec_optimizer_sgd: return KERNEL(move_sgd);
    case qcodec_optimizer_lion: return KERNEL(move_lion);
    default: return keeps_greatest ? KERNEL(move_amsgrad) : KERNEL(move_adam);
  }
}

// MARK: Coded moments

/// A second moment from its factors.
INLINE void multiply_factors(const qcodec_moment *m, size_t at, size_t count, f32u *values) {
  size_t row = (m->place + at) / m->column_count, column = (m->place + at) % m->column_count;
  for (size_t done = 0, run; done < count; done += run, row++, column = 0) {
    run = m->column_count - column < count - done ? m->column_count - column : count - done;
    const float factor = m->rows[row];
    size_t i = 0;
    for (; i + 16 <= run; i += 16) store16(values + done + i, load16(m->columns + column + i) * factor);
    for (; i < run; i++) values[done + i] = m->columns[column + i] * factor;
  }
}

/// Decodes elements of a moment, or gives where its floats lie.
INLINE f32u *moment_values(const qcodec_moment *m, size_t at, size_t count, f32u *room) {
  switch (m->kind) {
    case qcodec_moment_floats: return m->floats + at;
    case qcodec_moment_log: KERNEL(decode_log)(m->codes, m->scales, at, count, m->block, m->bits, room); return room;
    case qcodec_moment_table: KERNEL(decode_blocks)(m->table, m->codes, m->scales, at, count, m->block, room); return room;
    case qcodec_moment_factored: multiply_factors(m, at, count, room); return room;
    default: return NULL;
  }
}

/// Encodes elements of a moment in place of those that were there; floats lie there already.
INLINE int encode_moment(const qcodec_moment *m, size_t at, size_t count, const f32u *values) {
  uint8_t *codes = m->codes + at * (size_t)m->bits / 8;
  if (m->kind == qcodec_moment_log) {
    return KERNEL(encode_log)(
      values, count, m->block, m->bits, qcodec_dtype_f32, m->scales + at / m->block * 2, codes, NULL, NULL);
  }
  if (m->kind != qcodec_moment_table) return 0;
  return KERNEL(encode_blocks)(
    m->table, values, count, m->block, m->rule, qcodec_dtype_f32, m->scales + at / m->block, codes, NULL,
    NULL);
}

/// Both moments as a pair, whose first is in the update domain.
INLINE qcodec_pair pair_of(const qcodec_tensor_step *t) {
  const qcodec_moment *first = &t->moments[0], *second = &t->moments[1];
  return (qcodec_pair){
    .table = first->table, .block = first->block, .rule = first->rule, .dtype = qcodec_dtype_f32,
    .second_block = second->block, .second_bits = second->bits, .second_dtype = qcodec_dtype_f32};
}

static int KERNEL(optimizer_step)(
  const qcodec_step *s, const qcodec_tensor_step *t, size_t start, size_t count, f32u *scratch
) {
  const qcodec_moment *first = &t->moments[0], *second = &t->moments[1], *greatest = &t->moments[2];
  const size_t tile = t->tile;
  const KERNEL(coded_stepper) coded = coded_stepper_of(s, t);
  if (coded) {
    const size_t whole = count / tile * tile;
    int found = coded(s, t, start, whole, scratch);
    if (found) return found;
    start += whole, count -= whole;
  }
  const int keeps_greatest = greatest->kind != qcodec_moment_none, is_pair = first->kind == qcodec_moment_update;
  const KERNEL(tile_mover) move = mover_of(s->rule, keeps_greatest);
  f32u *room[3] = {scratch, scratch + tile, scratch + 2 * tile}, *work = scratch + 3 * tile;
  for (size_t at = start; at < start + count; at += tile) {
    const size_t size = start + count - at < tile ? start + count - at : tile;
    KERNEL(moments) values = {NULL, NULL, NULL};
    if (is_pair) {
      const qcodec_pair pair = pair_of(t);
      values.first = room[0], values.second = room[1];
      KERNEL(decode_pair)(
        &pair, first->scales, first->codes, second->scales, second->codes, at, size, room[0], room[1]);
    } else {
      values.first = moment_values(first, at, size, room[0]), values.second = moment_values(second, at, size, room[1]);
    }
    values.greatest = moment_values(greatest, at, size, room[2]);
    if (!values.first) {
      // Without momentum each step begins anew.
      values.first = room[0];
      memset(room[0], 0, 4 * size);
    }
    move(s, t, at, size, &values);
    int found = keeps_greatest ? encode_moment(greatest, at, size, values.greatest) : 0;
    if (is_pair) {
      const qcodec_pair pair = pair_of(t);
      found |= KERNEL(encode_pair)(
        &pair, values.first, values.second, size, first->scales + at / first->block,
        first->codes + at * (size_t)first->table->bits / 8, second->scales + at / second->block * 2,
        second->codes + at * (size_t)second->bits / 8, work, NULL, NULL);
    } else {
      found |= encode_moment(first, at, size, values.first) & qcodec_found_nonfinite;
      found |= encode_moment(second, at, size, values.second);
    }
    if (__builtin_expect(found, 0)) return found;
  }
  return 0;
}

// MARK: Norms

/// Σ x² of sixteen elements, each in float64, into sixteen sums.
INLINE void add_squares(f64x16 *sums, f32x16 x) {
  f64x16 wide = widen16(x);
  *sums += wide * wide;
}

static void KERNEL(squares)(const void *x, int dtype, size_t count, double sums[16]) {
  f64x16 own;
  memcpy(&own, sums, sizeof own);
  const uint8_t *source = x;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) add_squares(&own, load_as(source, i, dtype));
  if (i < count) add_squares(&own, load_some_as(source, i, count - i, dtype));
  memcpy(sums, &own, sizeof own);
}

static void KERNEL(lamb_squares)(
  const qcodec_step *s, const qcodec_tensor_step *t, size_t start, size_t count, f32u *scratch, double sums[16]
) {
  const qcodec_moment *first = &t->moments[0], *second = &t->moments[1];
  const size_t tile = t->tile;
  f64x16 own;
  memcpy(&own, sums, sizeof own);
  for (size_t at = start; at < start + count; at += tile) {
    const size_t size = start + count - at < tile ? start + count - at : tile;
    f32u *m = scratch, *v = scratch + tile;
    if (first->kind == qcodec_moment_update) {
      const qcodec_pair pair = pair_of(t);
      KERNEL(decode_pair)(&pair, first->scales, first->codes, second->scales, second->codes, at, size, m, v);
    } else {
      m = moment_values(first, at, size, m), v = moment_values(second, at, size, v);
    }
    for (size_t i = 0; i < size; i += 16) {
      const size_t lanes = size - i < 16 ? size - i : 16;
      KERNEL(lanes) e = {
        .parameter = load_some_as(t->parameters, at + i, lanes, t->parameter_dtype),
        .gradient = load_some_as(t->gradients, at + i, lanes, t->gradient_dtype),
        .first = (f32x16)0.0f, .second = (f32x16)0.0f};
      memcpy(&e.first, m + i, 4 * lanes), memcpy(&e.second, v + i, 4 * lanes);
      move_moments16(qcodec_optimizer_lamb, 0, s, &e);
      add_squares(&own, lamb_direction16(s, &e));
    }
  }
  memcpy(sums, &own, sizeof own);
}

// MARK: Factored second moments

static void KERNEL(factor_squares)(
  const qcodec_step *s, const qcodec_tensor_step *t, size_t start, size_t rows, size_t columns, double *row_sums,
  double *column_sums
) {
  for (size_t r = 0; r < rows; r++) {
    const size_t at = start + r * columns;
    f64x16 row = (f64x16)0.0;
    for (size_t c = 0; c < columns; c += 16) {
      const size_t lanes = columns - c < 16 ? columns - c : 16;
      f32x16 gradient, parameter;
      if (lanes == 16) {
        gradient = load_as(t->gradients, at + c, t->gradient_dtype);
        parameter = load_as(t->parameters, at + c, t->parameter_dtype);
      } else {
        gradient = load_some_as(t->gradients, at + c, lanes, t->gradient_dtype);
        parameter = load_some_as(t->parameters, at + c, lanes, t->parameter_dtype);
      }
      f64x16 wide = widen16(decayed16(s, gradient, parameter)), column;
      wide *= wide;
      row += wide;
      memcpy(&column, column_sums + c, 8 * lanes);
      column += wide;
      memcpy(column_sums + c, &column, 8 * lanes);
    }
    for (int i = 0; i < 16; i++) row_sums[r] += row[i];
  }
}
