/// What a test campaign asks of the system: how much memory was allocated, and which case was under way in a crash.

#ifndef QCODEC_CAMPAIGN_H
#define QCODEC_CAMPAIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Whether allocations are counted: with glibc, and not under a sanitizer that has an allocator of its own.
bool campaign_counts_allocations(void);

/// Begins to look for the peak anew, from what is allocated now.
void campaign_reset_peak(void);

/// The largest number of bytes that were allocated at one time since the last reset, beyond those allocated then. Counts
/// all that passes malloc and its relatives, in every library of the process, by the size of the block that was given.
size_t campaign_peak(void);

/// The largest number of threads whose cases can be told apart.
#define CAMPAIGN_SLOTS 256

/// Says that a thread, by its number below CAMPAIGN_SLOTS, works on a case. After campaign_tell_crashes() a signal that
/// ends the process first prints the cases under way.
void campaign_begin(int slot, uint64_t number);

/// Says that a thread works on none.
void campaign_end(int slot);

/// Prints the cases under way on standard error when the process crashes, then lets it crash.
void campaign_tell_crashes(void);

#endif
