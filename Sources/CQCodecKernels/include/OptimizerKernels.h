/// The kernels of optimizers; part of CQCodecKernels.h, whose conventions hold.
#ifndef QCODEC_OPTIMIZER_KERNELS_H
#define QCODEC_OPTIMIZER_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/// The rules by which parameters and moments move.
enum {
  qcodec_optimizer_adam = 0,
  qcodec_optimizer_sgd = 1,
  qcodec_optimizer_lion = 2,
  qcodec_optimizer_adagrad = 3,
  qcodec_optimizer_rmsprop = 4,
  qcodec_optimizer_lamb = 5,
};

/// One step of a rule. Each product, sum, quotient and root is a float32 of its own:
///
///     g = gradient · gradient_factor + p · coupled_decay
///     adam:     m = m · beta1 + g · rest1;  v = v · beta2 + g · g · rest2;  x = max(x, v) where it is kept
///               p = p · kept − m · rate / (√(x or v) · root_factor + epsilon)
///     lamb:     likewise, p = p · kept − (m · first_factor / (√v · root_factor + epsilon) + p · decay) · rate
///     rmsprop:  v as adam's;  g = g / (√v · root_factor + epsilon);  m = m · beta1 + g;  p = p · kept − m · rate
///     adagrad:  v = v + g · g;  p = p · kept − g · rate / (√v · root_factor + epsilon)
///     sgd:      g = g · trust;  m = m · beta1 + g · rest1;  p = p · kept − (m · first_factor + g · gradient_share) · rate
///     lion:     p = p · kept − sign(m · beta1 + g · rest1) · rate;  m = m · beta2 + g · rest2
typedef struct {
  int rule;
  /// adam: v is what it is to be already.
  int second_is_given;
  float gradient_factor, coupled_decay, kept, decay;
  float beta1, rest1, beta2, rest2;
  float rate, first_factor, root_factor, epsilon, gradient_share, trust;
} qcodec_step;

/// How a moment lies in memory.
enum {
  qcodec_moment_none = 0,
  /// float32, one an element.
  qcodec_moment_floats = 1,
  /// Codes and block scales.
  qcodec_moment_table = 2,
  /// Codes and ends of blocks.
  qcodec_moment_log = 3,
  /// A first moment of the update domain; the second is one under the log map.
  qcodec_moment_update = 4,
  /// A second moment that is the product of its row's and its column's factor, already what it is to be.
  qcodec_moment_factored = 5,
};

/// A moment of a chunk: its codes and scales from the chunk's first element on.
typedef struct {
  int kind;
  const qcodec_table *table;
  size_t block;
  int bits, rule;
  float *scales;
  uint8_t *codes;
  float *floats;
  /// Factored: the factors, and the chunk's first element in the tensor.
  const float *rows, *columns;
  size_t column_count, place;
} qcodec_moment;

/// A chunk of a tensor that takes a step: first moment, second moment, and the greatest second moment.
typedef struct {
  void *parameters;
  const void *gradients;
  int parameter_dtype, gradient_dtype;
  qcodec_moment moments[3];
  /// Elements that are worked on together: a multiple of 64 and of every block.
  size_t tile;
} qcodec_tensor_step;

/// Moves `count` elements of a chunk on, from element `start`, a multiple of the tile. scratch: five tiles of floats.
/// Returns what was found that a moment cannot hold; what lies behind it is as it was.
int qcodec_step_chunk(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t count, float *scratch);

/// Adds the squares of elements to sixteen sums, element i to sum i % 16.
void qcodec_squares(int level, const void *x, int dtype, size_t count, double sums[16]);

/// The squares of what a step of lamb would move parameters by, before its rate; nothing moves. scratch: two tiles.
void qcodec_lamb_squares(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t count, float *scratch,
  double sums[16]);

/// Adds the squares of gradients, as the rule sees them, of whole rows from element `start` on: row r's to row_sums[r] by
/// sixteen sums, of which column c enters sum c % 16, and column c's to column_sums[c], rows in order.
void qcodec_factor_squares(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t rows, size_t columns,
  double *row_sums, double *column_sums);

#pragma GCC visibility pop

#endif
