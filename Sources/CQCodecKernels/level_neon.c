#if defined(__aarch64__)

#include "levels.h"

#define KERNEL(name) name##_neon
#include "body/all.h"

#endif
