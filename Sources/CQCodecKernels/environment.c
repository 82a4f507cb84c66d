#include "CQCodecKernels.h"

#if defined(__x86_64__) || defined(__i386__)

#include <xmmintrin.h>

// MXCSR: bits 0-5 exception flags, 6 denormals-are-zero, 7-12 exception masks, 13-14 rounding, 15 flush-to-zero.
static const unsigned masked_nearest = 0x1F80;
static const unsigned flags = 0x3F;

static uint64_t get(void) { return _mm_getcsr(); }
static void set(uint64_t control) { _mm_setcsr((unsigned)control); }
static uint64_t codec_control(void) { return masked_nearest; }
static uint64_t simulated(int mode) {
  switch (mode) {
    case 1: return masked_nearest | 0x8040;
    case 2: return masked_nearest | 0x6000;
    case 3: return masked_nearest | 0x4000;
    case 4: return masked_nearest | 0x2000;
    default: return masked_nearest;
  }
}
uint64_t qcodec_environment_current(void) { return _mm_getcsr() & ~flags; }

#elif defined(__aarch64__)

// FPCR: bits 22-23 rounding, 24 flush-to-zero, 25 default NaN, 8-12 and 15 trap enables.
static uint64_t get(void) {
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}
static void set(uint64_t control) { __asm__ volatile("msr fpcr, %0" : : "r"(control) : "memory"); }
static uint64_t codec_control(void) { return 0; }
static uint64_t simulated(int mode) {
  switch (mode) {
    case 1: return UINT64_C(1) << 24;
    case 2: return UINT64_C(3) << 22;
    case 3: return UINT64_C(1) << 22;
    case 4: return UINT64_C(2) << 22;
    default: return 0;
  }
}
uint64_t qcodec_environment_current(void) { return get(); }

#else
#error "qcodec knows the floating-point environment of x86 and aarch64 only"
#endif

qcodec_environment qcodec_environment_enter(void) {
  qcodec_environment saved = {get()};
  set(codec_control());
  return saved;
}

void qcodec_environment_leave(qcodec_environment saved) { set(saved.control); }

void qcodec_environment_simulate(int mode) { set(simulated(mode)); }
