/// The C interface of qcodec: compressed optimizer state, in memory and in checkpoint files.
///
/// Link with `-lcqcodec` (`pkg-config --cflags --libs qcodec`). This page and those that it includes are the manual.
///
/// Status. Every function that can fail returns a `qcodec_status`: 0 or one of `qcodec_code`. Its last parameter takes an
/// error, to be freed with `qcodec_error_free`; NULL there drops it. Where a function fails, what it would have given is
/// left as it was, or NULL for a handle; buffers may be partly filled.
///
/// Arguments. No argument crashes the library that could be told from a good one: NULL, short buffers, sizes and numbers
/// out of range give QCODEC_INVALID_ARGUMENT, QCODEC_SHAPE_MISMATCH or the code that a function names. Pointers that are
/// not NULL must point to what they say. Text is UTF-8 and ends in a zero byte unless its length is given.
///
/// Ownership. Handles (`qcodec_scheme` and the like) belong to whoever created them and are freed by their `_free`
/// function, which takes NULL. Strings that a function gives through `char **` are freed with `qcodec_string_free`. All
/// other memory is the caller's; the library keeps none of it after a call returns, unless the function says so.
///
/// Threads. Functions without a handle, and those that take a handle as const, may be called from any number of threads at
/// a time. A writer is used by one thread at a time. A `threads` parameter of 0 or less means as many as the process may
/// run on; results do not depend on it. Threads start within a call and end before it returns, so that a process may fork:
/// a child goes on with its parent's readers, even while other threads of the parent read. A writer stays with its process.
///
/// Signals. The library sets no handlers, and goes on where a signal interrupts a call of the system. Whatever takes long can
/// be ended by a qcodec_cancellation, from another thread or a handler.
///
/// Files. A file that is written appears under its name whole, by a rename, once it is on the disk: after a crash, a kill, a
/// full disk or an error, at any moment, the previous file is there or the new one. What a killed process leaves behind, a
/// `.NAME.….qcodec-partial` beside the file, the next writer to the same path removes; of several writers to a path the last
/// to commit stays. A reader keeps what it has opened, whatever is put in its place.
///
/// Numbers. Functions round to nearest with subnormals kept, whatever the caller's floating-point environment is, and leave
/// it as it was. Data are little-endian, in C order, of any alignment.
#ifndef QCODEC_H
#define QCODEC_H

#include "qcodec_base.h"
#include "qcodec_checkpoints.h"
#include "qcodec_optimizers.h"
#include "qcodec_tensors.h"

#endif
