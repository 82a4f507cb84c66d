/// The C leaf of qcodec: what Swift has no words for, at present the floating-point environment.
#ifndef CQCODEC_KERNELS_H
#define CQCODEC_KERNELS_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "qcodec does not support big-endian machines"
#endif

/// The control state of the calling thread's floating-point unit, as the machine stores it.
typedef struct {
  uint64_t control;
} qcodec_environment;

/// Returns the calling thread's environment and sets the codec's: round to nearest even, subnormals kept in inputs
/// and results, every exception masked.
qcodec_environment qcodec_environment_enter(void);

/// Restores an environment that `qcodec_environment_enter` returned.
void qcodec_environment_leave(qcodec_environment saved);

/// Sets one of the environments that hosts are known to leave behind; for tests.
/// mode: 0 the codec's own, 1 flush-to-zero and denormals-are-zero, 2 round toward zero, 3 round up, 4 round down.
void qcodec_environment_simulate(int mode);

/// The control bits of the calling thread, for tests that an environment was restored.
uint64_t qcodec_environment_current(void);

/// Processors in the calling thread's affinity mask, or those online where the system has no such mask.
int qcodec_available_processors(void);

#endif
