#if defined(__x86_64__)

#include "levels.h"

#define KERNEL(name) name##_sse2
#include "body/all.h"

#endif
