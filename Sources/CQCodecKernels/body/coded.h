// Steps over coded moments in one loop: while the divider works for the step, other units decode, and the extremes of the
// new moments are found as they are made; encoding follows block by block. In cache this takes 0.8 of the time of the
// passes in optimizer.h, which serve whatever this does not.

/// What every block of a step needs.
typedef struct {
  const qcodec_step *step;
  const qcodec_tensor_step *tensor;
  KERNEL(entries) entries;
  KERNEL(finder) finder;
} KERNEL(coded);

/// Moves on `count` elements of one block of each moment, a multiple of 64 from element `at` on, and takes in the new
/// moments; `b` is the second moment's block.
INLINE void move_coded(
  int rule, int first_bits, int second_bits, int zeros, const KERNEL(coded) *c, const log_block_t *b, size_t at,
  size_t count, f32u *first, f32u *second, KERNEL(sorts) *sorts, KERNEL(log_range) *range
) {
  const qcodec_tensor_step *t = c->tensor;
  const qcodec_moment *m = &t->moments[0], *v = &t->moments[1];
  const float scale = m->scales[at / m->block];
  const uint8_t *gradients = t->gradients;
  const int dtype = t->gradient_dtype;
  const size_t width = dtype == qcodec_dtype_f32 ? 4 : 2;
  f32u *parameters = (f32u *)t->parameters + at;
  // Copies, which stay in registers.
  KERNEL(sorts) own_sorts = *sorts;
  KERNEL(log_range) own_range = *range;
  for (size_t i = 0; i < count; i += TILE) {
    float own_first[TILE], own_second[TILE];
    if (first_bits == 8) decode_run_8(&c->entries, m->codes, at + i, scale, TILE, own_first);
    else decode_run_4(&c->entries, m->codes, at + i, scale, TILE, own_first);
    if (second_bits) log_decode_run(b, zeros, v->codes, at + i, TILE, second_bits, own_second);
#pragma clang loop unroll(full)
    for (size_t k = 0; k < TILE; k += 16) {
      __builtin_prefetch(parameters + i + k + AHEAD, 1);
      __builtin_prefetch(gradients + width * (at + i + k + AHEAD));
      KERNEL(lanes) e = {
        .parameter = load16(parameters + i + k), .gradient = load_as(gradients, at + i + k, dtype), .first = load16(own_first + k)};
      if (second_bits) e.second = load16(own_second + k);
      move_moments16(rule, 0, c->step, &e);
      move_parameters16(rule, 0, c->step, &e);
      store16(parameters + i + k, e.parameter);
      store16(first + i + k, e.first);
      take_sorts(&own_sorts, e.first);
      if (!second_bits) continue;
      store16(second + i + k, e.second);
      take_range(&own_range, e.second);
    }
  }
  *sorts = own_sorts, *range = own_range;
}

/// Encodes a block of the first moment, of which element `at` is the first. Returns what was found.
INLINE int encode_coded_first(const KERNEL(coded) *c, size_t at, const KERNEL(sorts) *sorts, const f32u *values) {
  const qcodec_moment *m = &c->tensor->moments[0];
  KERNEL(extreme) extreme =
    extreme_between(__builtin_reduce_max(sorts->above), greatest16(sorts->below), values, m->block);
  if (__builtin_expect(extreme.found & qcodec_found_nonfinite, 0)) return qcodec_found_nonfinite;
  float scale = m->rule == qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
  m->scales[at / m->block] = scale;
  encode_block(&c->finder, values, m->block, scale, m->codes + at * (size_t)m->bits / 8);
  return 0;
}

/// The same of the second moment.
INLINE int encode_coded_second(
  const KERNEL(coded) *c, int bits, size_t at, const KERNEL(log_range) *range, const f32u *values
) {
  const qcodec_moment *v = &c->tensor->moments[1];
  uint32_t low, high;
  int found = log_ends_of(range, values, v->block, v->block, &low, &high);
  if (__builtin_expect(found, 0)) return found;
  uint8_t *codes = v->codes + at * (size_t)bits / 8;
  log_encode_between(
    low, high, values, v->block, bits, qcodec_dtype_f32, v->scales + at / v->block * 2, codes, NULL, NULL);
  return 0;
}

/// Moves `count` elements on, whole blocks of both moments; without a second moment `second_bits` is 0.
INLINE int step_coded(
  int rule, int first_bits, int second_bits, const qcodec_step *s, const qcodec_tensor_step *t, size_t start,
  size_t count, f32u *scratch
) {
  const KERNEL(coded) c = {s, t, entries_of(t->moments[0].table), KERNEL(finder_of)(t->moments[0].table)};
  const size_t first_block = t->moments[0].block, second_block = second_bits ? t->moments[1].block : first_block;
  const size_t run = first_block < second_block ? first_block : second_block;
  f32u *first = scratch, *second = scratch + t->tile;
  KERNEL(sorts) sorts = no_sorts();
  KERNEL(log_range) range = no_range();
  log_block_t b = {0};
  for (size_t at = start; at < start + count; at += run) {
    // Blocks are powers of two.
    const size_t m = at & (first_block - 1), v = at & (second_block - 1);
    if (m == 0) sorts = no_sorts();
    if (second_bits && v == 0) range = no_range(), b = log_block_at(t->moments[1].scales, at / second_block, second_bits);
    if (second_bits && b.zeros) {
      move_coded(rule, first_bits, second_bits, 1, &c, &b, at, run, first + m, second + v, &sorts, &range);
    } else {
      move_coded(rule, first_bits, second_bits, 0, &c, &b, at, run, first + m, second + v, &sorts, &range);
    }
    int found = m + run == first_block ? encode_coded_first(&c, at - m, &sorts, first) : 0;
    if (second_bits && v + run == second_block) found |= encode_coded_second(&c, second_bits, at - v, &range, second);
    if (__builtin_expect(found, 0)) return found;
  }
  return 0;
}

typedef int (*KERNEL(coded_stepper))(const qcodec_step *, const qcodec_tensor_step *, size_t, size_t, f32u *);

#define STEPPER(name, rule, first_bits, second_bits) \
  static __attribute__((noinline)) int KERNEL(step_##name)( \
    const qcodec_step *s, const qcodec_tensor_step *t, size_t start, size_t count, f32u *scratch \
  ) { \
    return step_coded(rule, first_bits, second_bits, s, t, start, count, scratch); \
  }
STEPPER(adam_8, qcodec_optimizer_adam, 8, 8)
STEPPER(adam_4, qcodec_optimizer_adam, 4, 4)
STEPPER(sgd_8, qcodec_optimizer_sgd, 8, 0)
STEPPER(sgd_4, qcodec_optimizer_sgd, 4, 0)
STEPPER(lion_8, qcodec_optimizer_lion, 8, 0)
STEPPER(lion_4, qcodec_optimizer_lion, 4, 0)
#undef STEPPER

/// The step in one loop for whole blocks of a tensor; NULL where there is none.
INLINE KERNEL(coded_stepper) coded_stepper_of(const qcodec_step *s, const qcodec_tensor_step *t) {
  const qcodec_moment *first = &t->moments[0], *second = &t->moments[1];
  if (t->parameter_dtype != qcodec_dtype_f32) return NULL;
  if (first->kind != qcodec_moment_table || first->block < TILE) return NULL;
  const int wide = first->bits == 8;
  if (s->rule == qcodec_optimizer_adam) {
    if (t->moments[2].kind != qcodec_moment_none || second->kind != qcodec_moment_log) return NULL;
    if (second->bits != first->bits || second->block < TILE) return NULL;
    return wide ? KERNEL(step_adam_8) : KERNEL(step_adam_4);
  }
  if (s->rule == qcodec_optimizer_sgd) return wide ? KERNEL(step_sgd_8) : KERNEL(step_sgd_4);
  return s->rule == qcodec_optimizer_lion ? (wide ? KERNEL(step_lion_8) : KERNEL(step_lion_4)) : NULL;
}
