#include "CQCodecKernels.h"

#include <stddef.h>

static _Thread_local const void *cancellation = NULL;

const void *qcodec_thread_cancellation(void) { return cancellation; }

const void *qcodec_set_thread_cancellation(const void *object) {
  const void *before = cancellation;
  cancellation = object;
  return before;
}
