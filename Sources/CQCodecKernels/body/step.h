// The rules of optimizers, sixteen elements at a time.

/// Sixteen elements: a parameter, its gradient and its moments.
typedef struct {
  f32x16 parameter, gradient, first, second, greatest;
} KERNEL(lanes);

/// m = β · m + (1 − β) · g.
INLINE f32x16 average16(f32x16 average, float beta, float rest, f32x16 value) {
  return average * beta + value * rest;
}

/// √v · factor + ε.
INLINE f32x16 denominator16(f32x16 second, const qcodec_step *s) {
  return __builtin_elementwise_sqrt(second) * s->root_factor + s->epsilon;
}

/// The gradient as the rule sees it: scaled, and with the weight decay that is coupled.
INLINE f32x16 decayed16(const qcodec_step *s, f32x16 gradient, f32x16 parameter) {
  return gradient * s->gradient_factor + parameter * s->coupled_decay;
}

/// The direction of LAMB, before its length is set.
INLINE f32x16 lamb_direction16(const qcodec_step *s, const KERNEL(lanes) *e) {
  return e->first * s->first_factor / denominator16(e->second, s) + e->parameter * s->decay;
}

/// Moves moments on; those that a rule does not have are as they were.
INLINE void move_moments16(int rule, int keeps_greatest, const qcodec_step *s, KERNEL(lanes) *e) {
  e->gradient = decayed16(s, e->gradient, e->parameter);
  if (rule == qcodec_optimizer_adam || rule == qcodec_optimizer_lamb) {
    e->first = average16(e->first, s->beta1, s->rest1, e->gradient);
    if (!s->second_is_given) e->second = e->second * s->beta2 + e->gradient * e->gradient * s->rest2;
    if (keeps_greatest) e->greatest = greater16(e->greatest, e->second);
  } else if (rule == qcodec_optimizer_rmsprop) {
    e->second = e->second * s->beta2 + e->gradient * e->gradient * s->rest2;
    e->gradient = e->gradient / denominator16(e->second, s);
    e->first = e->first * s->beta1 + e->gradient;
  } else if (rule == qcodec_optimizer_adagrad) {
    e->second = e->second + e->gradient * e->gradient;
  } else if (rule == qcodec_optimizer_sgd) {
    e->gradient = e->gradient * s->trust;
    e->first = average16(e->first, s->beta1, s->rest1, e->gradient);
  }
}

/// Moves parameters on, and the moment of Lion, whose parameters go by the one before.
INLINE void move_parameters16(int rule, int keeps_greatest, const qcodec_step *s, KERNEL(lanes) *e) {
  f32x16 p = e->parameter * s->kept;
  if (rule == qcodec_optimizer_adam) {
    f32x16 denominator = denominator16(keeps_greatest ? e->greatest : e->second, s);
    e->parameter = p - e->first * s->rate / denominator;
  } else if (rule == qcodec_optimizer_lamb) {
    e->parameter = p - lamb_direction16(s, e) * s->rate;
  } else if (rule == qcodec_optimizer_rmsprop) {
    e->parameter = p - e->first * s->rate;
  } else if (rule == qcodec_optimizer_adagrad) {
    e->parameter = p - e->gradient * s->rate / denominator16(e->second, s);
  } else if (rule == qcodec_optimizer_sgd) {
    e->parameter = p - (e->first * s->first_factor + e->gradient * s->gradient_share) * s->rate;
  } else if (rule == qcodec_optimizer_lion) {
    f32x16 direction = average16(e->first, s->beta1, s->rest1, e->gradient);
    // The sign of a direction, of zero none.
    u32x16 sign = bits16(direction) & 0x80000000u;
    f32x16 unit = (f32x16)(sign | bits16((f32x16)1.0f));
    e->parameter = p - selectf16(direction == 0, (f32x16)0.0f, unit) * s->rate;
    e->first = average16(e->first, s->beta2, s->rest2, e->gradient);
  }
}

/// Elements by which memory is asked for ahead.
#define AHEAD 1024
