#include "campaign.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static const uint64_t none = UINT64_MAX;
static _Atomic uint64_t cases[CAMPAIGN_SLOTS];

// Async-signal-safe: write and nothing else.
static void tell(uint64_t number) {
  char text[32] = "crashed within case ";
  char digits[24];
  int count = 0, at = 20;
  do {
    digits[count++] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  static const char newline = '\n';
  ssize_t written = write(STDERR_FILENO, text, (size_t)at);
  while (count > 0) written = write(STDERR_FILENO, &digits[--count], 1);
  written = write(STDERR_FILENO, &newline, 1);
  (void)written;
}

static void crashed(int signal_number) {
  for (int slot = 0; slot < CAMPAIGN_SLOTS; slot++) {
    uint64_t number = atomic_load(&cases[slot]);
    if (number != none) tell(number);
  }
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void campaign_begin(int slot, uint64_t number) { atomic_store(&cases[slot % CAMPAIGN_SLOTS], number); }

void campaign_end(int slot) { atomic_store(&cases[slot % CAMPAIGN_SLOTS], none); }

void campaign_tell_crashes(void) {
  for (int slot = 0; slot < CAMPAIGN_SLOTS; slot++) campaign_end(slot);
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
  for (size_t index = 0; index < sizeof signals / sizeof *signals; index++) signal(signals[index], crashed);
}
