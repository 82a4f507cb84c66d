/// Steps of optimizers over moments that the caller keeps. Part of qcodec.h, whose conventions hold.
#ifndef QCODEC_OPTIMIZERS_H
#define QCODEC_OPTIMIZERS_H

#include "qcodec_tensors.h"

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Optimizers

/// The rules by which parameters move; see qcodec_step_options.
enum qcodec_rule {
  QCODEC_ADAM = 0,
  QCODEC_SGD = 1,
  QCODEC_LION = 2,
  QCODEC_ADAGRAD = 3,
  QCODEC_RMSPROP = 4,
  QCODEC_LAMB = 5,
  QCODEC_LARS = 6
};

/// A rule and a step; which members a rule has stands beside them, the others mean nothing to it.
typedef struct {
  /// sizeof(qcodec_step_options), set by qcodec_step_options_init: later members may come.
  size_t struct_size;
  /// A qcodec_rule.
  int32_t rule;
  /// adam: whether weight decay acts on parameters (AdamW) rather than on gradients (Adam).
  int32_t is_decoupled;
  /// adam: whether parameters go by the greatest second moment so far.
  int32_t is_amsgrad;
  /// sgd: whether parameters go by the momentum of the step that follows.
  int32_t is_nesterov;
  /// Whether the objective is to be maximized.
  int32_t is_maximizing;
  /// Whether qcodec_optimizer_check has looked over these tensors as they are, with a factor no smaller: then the step does
  /// not look again.
  int32_t is_checked;
  /// The step's number, from 1 on.
  uint64_t step;
  /// What gradients are multiplied by: the inverse of a loss scale, the factor of clipping.
  double gradient_factor;
  double learning_rate;
  /// adam, lion, lamb.
  double beta1, beta2;
  /// adam, adagrad, rmsprop, lamb, lars.
  double epsilon;
  double weight_decay;
  /// sgd, rmsprop, lars.
  double momentum;
  /// sgd.
  double dampening;
  /// rmsprop: how much of the second moment a step keeps.
  double alpha;
  /// adagrad.
  double learning_rate_decay;
  /// lars.
  double trust_coefficient;
} qcodec_step_options;

/// Sets a rule's defaults, PyTorch's where it has the rule; of Adam those of AdamW. The step is 1. Nothing for another rule.
void qcodec_step_options_init(qcodec_step_options *options, int32_t rule);

/// A tensor that takes a step. Moments are streams of their schemes, as qcodec_encode and qcodec_encode_moments write them
/// for float32, or float32 where a scheme is NULL; no other thread uses any of it during the call.
typedef struct {
  /// For errors and as the key of stochastic rounding; may be NULL.
  const char *name;
  const uint64_t *shape;
  size_t dims;
  /// QCODEC_F32, QCODEC_F16 or QCODEC_BF16.
  int32_t parameter_dtype, gradient_dtype;
  void *parameters;
  const void *gradients;
  /// Signed; in the update domain where both moments are in blocks.
  const qcodec_scheme *first_scheme;
  /// Unsigned; the greatest second moment's too.
  const qcodec_scheme *second_scheme;
  /// Not 0: the second moment, of Adam without AMSGrad, is kept as a float32 factor of each row and then of each column,
  /// whatever its scheme. Rows are the leading axes, cut where there are fewest of both.
  int32_t second_is_factored;
  /// The moments that the rule has, exactly qcodec_moment_sizes bytes each; NULL and 0 for the others.
  void *first, *second, *greatest;
  size_t first_size, second_size, greatest_size;
} qcodec_optimizer_tensor;

/// Bytes of the first, second and greatest second moment of a tensor under a rule: exact. The tensor's shape and schemes
/// count alone. Gives QCODEC_UNSUPPORTED_SCHEME for schemes that moments cannot have.
qcodec_status qcodec_moment_sizes(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor, size_t sizes[3], qcodec_error **error);

/// Puts the moments of a tensor that has taken no step in place.
qcodec_status qcodec_moments_clear(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor, qcodec_error **error);

/// Takes a step: moves the parameters and moments of every tensor on. Moments in blocks that round to nearest are decoded,
/// moved on and encoded in one pass.
///
/// Before anything moves it gives QCODEC_NON_FINITE_VALUE for gradients that are not finite or above 2^58,
/// QCODEC_INVALID_SCALE and QCODEC_INVALID_CODE for moments that no encoder writes, QCODEC_SHAPE_MISMATCH for moments of
/// another size, QCODEC_INVALID_ARGUMENT. QCODEC_UPDATE_NOT_FINITE names a tensor a moment of which overflowed: it and others
/// have moved in part.
qcodec_status qcodec_optimizer_step(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads,
  qcodec_error **error);

/// Gives what qcodec_optimizer_step gives before anything moves; moves nothing. Who takes a step in several calls checks all of
/// it first, so that it is taken whole or not at all.
qcodec_status qcodec_optimizer_check(
  const qcodec_step_options *options, const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads,
  qcodec_error **error);

/// A step of AdamW, of which no other option is set.
qcodec_status qcodec_adamw_step(
  double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, uint64_t step,
  const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads, qcodec_error **error);

/// A step of SGD with momentum.
qcodec_status qcodec_sgd_step(
  double learning_rate, double momentum, double weight_decay, uint64_t step, const qcodec_optimizer_tensor *tensors,
  size_t count, int32_t threads, qcodec_error **error);

/// A step of Lion.
qcodec_status qcodec_lion_step(
  double learning_rate, double beta1, double beta2, double weight_decay, uint64_t step,
  const qcodec_optimizer_tensor *tensors, size_t count, int32_t threads, qcodec_error **error);

/// The squared length of values, summed in float64: the square of a gradient's norm, for clipping. It is the same at every
/// number of threads. dtype: QCODEC_F32, QCODEC_F16 or QCODEC_BF16.
qcodec_status qcodec_squared_norm(
  int32_t dtype, const void *values, size_t size, int32_t threads, double *squared, qcodec_error **error);

/// The schemes under which a policy has an optimizer keep a parameter's moments, by the tensor's name and shape alone; NULL for
/// float32 and for moments that the rule does not have. "live8" and "live4" are made for it: embeddings, by name, and tensors
/// under 4,096 elements keep 32-bit state. Gives QCODEC_INVALID_POLICY where the policy drops a moment.
qcodec_status qcodec_policy_moment_schemes(
  const qcodec_policy *policy, const qcodec_step_options *options, const qcodec_optimizer_tensor *tensor,
  qcodec_scheme **first, qcodec_scheme **second, qcodec_error **error);

#ifdef __cplusplus
}
#endif

#endif
