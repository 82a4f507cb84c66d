// Lets calls of the system fail, be cut short or be the last, for LD_PRELOAD. Only files below one folder count.
//
// QFAULT_ROOT   the folder, an absolute path without links
// QFAULT_LOG    a file to which each call is appended: its name, then the paths that it concerns
// QFAULT_CALLS  the calls that are counted, separated by commas; every one where it is unset
// QFAULT_AT     the number of the first counted call that is touched, from 1
// QFAULT_TIMES  how many are touched; all that follow where it is 0; 1 where it is unset
// QFAULT_ACT    a number: the call fails with this errno; "short": it takes half of the bytes; "kill", "killafter": the
//               process is killed in its place, or when it has been made; "term": it gets a SIGTERM before; "wait": it takes
//               a second and a half, as that of a disk that is waking up
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4096 };
static char *paths[FILES];
static atomic_long counted;
static const char *root, *calls, *act;
static long first, times;
static int log_file = -1;

#define REAL(name)                                           \
  static __typeof__(&name) real;                              \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  const char *text;
  root = getenv("QFAULT_ROOT");
  calls = getenv("QFAULT_CALLS");
  act = getenv("QFAULT_ACT");
  first = (text = getenv("QFAULT_AT")) ? atol(text) : 0;
  times = (text = getenv("QFAULT_TIMES")) ? atol(text) : 1;
  if ((text = getenv("QFAULT_LOG"))) {
    log_file = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  // A process that this one starts is not meant.
  unsetenv("LD_PRELOAD");
}

static int is_ours(const char *path) { return root && path && strncmp(path, root, strlen(root)) == 0; }

static const char *path_of(int descriptor) {
  return descriptor >= 0 && descriptor < FILES ? paths[descriptor] : NULL;
}

static int is_counted(const char *call) {
  if (!calls) return 1;
  size_t length = strlen(call);
  for (const char *found = calls; (found = strstr(found, call)); found += length) {
    if ((found == calls || found[-1] == ',') && (found[length] == ',' || found[length] == 0)) return 1;
  }
  return 0;
}

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

/// What is to become of a call on a path of ours.
enum Fate { PASS, FAIL, SHORT, DIE_AFTER };

static enum Fate fate(const char *call, const char *path, const char *other) {
  if (!is_counted(call)) return PASS;
  long number = atomic_fetch_add(&counted, 1) + 1;
  if (log_file >= 0) {
    char line[9000];
    int length = snprintf(line, sizeof line, "%s %s%s%s\n", call, path, other ? " " : "", other ? other : "");
    if (syscall(SYS_write, log_file, line, (size_t)length) < 0) abort();
  }
  if (!act || first == 0 || number < first || (times != 0 && number >= first + times)) return PASS;
  if (strcmp(act, "kill") == 0) die();
  if (strcmp(act, "killafter") == 0) return DIE_AFTER;
  if (strcmp(act, "term") == 0) {
    syscall(SYS_kill, getpid(), SIGTERM);
    return PASS;
  }
  if (strcmp(act, "wait") == 0) {
    struct timespec left = {1, 500000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
    return PASS;
  }
  if (strcmp(act, "short") == 0) return SHORT;
  errno = atoi(act);
  return FAIL;
}

#define AFTER(result)                  \
  do {                                 \
    if (what == DIE_AFTER) die();      \
    return (result);                   \
  } while (0)

static int opened(const char *path, int result) {
  if (result >= 0 && result < FILES) paths[result] = strdup(path);
  return result;
}

#define OPEN(name)                                                                    \
  int name(const char *path, int flags, ...) {                                        \
    REAL(name);                                                                       \
    va_list arguments;                                                                \
    va_start(arguments, flags);                                                       \
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;  \
    va_end(arguments);                                                                \
    if (!is_ours(path)) return real(path, flags, mode);                               \
    enum Fate what = fate("open", path, NULL);                                        \
    if (what == FAIL) return -1;                                                      \
    int result = opened(path, real(path, flags, mode));                               \
    AFTER(result);                                                                    \
  }
OPEN(open)
OPEN(open64)

// What goes by a descriptor, without bytes.
#define BY_DESCRIPTOR(call, name, parameters, ...)       \
  int name parameters {                                  \
    REAL(name);                                          \
    const char *path = path_of(descriptor);              \
    if (!path) return real(__VA_ARGS__);                 \
    enum Fate what = fate(call, path, NULL);             \
    if (what == FAIL) return -1;                         \
    int result = real(__VA_ARGS__);                      \
    AFTER(result);                                       \
  }
BY_DESCRIPTOR("fsync", fsync, (int descriptor), descriptor)
BY_DESCRIPTOR("fsync", fdatasync, (int descriptor), descriptor)
BY_DESCRIPTOR("ftruncate", ftruncate, (int descriptor, off_t length), descriptor, length)
BY_DESCRIPTOR("ftruncate", ftruncate64, (int descriptor, off64_t length), descriptor, length)
BY_DESCRIPTOR("flock", flock, (int descriptor, int operation), descriptor, operation)
BY_DESCRIPTOR("fallocate", fallocate, (int descriptor, int mode, off_t start, off_t count), descriptor, mode, start, count)

int close(int descriptor) {
  REAL(close);
  const char *path = path_of(descriptor);
  if (!path) return real(descriptor);
  enum Fate what = fate("close", path, NULL);
  // The descriptor is gone all the same, as the system has it.
  int number = errno;
  paths[descriptor] = NULL;
  int result = real(descriptor);
  if (what == FAIL) {
    errno = number;
    return -1;
  }
  AFTER(result);
}

// What takes bytes, or gives them.
#define BY_BYTES(call, name, parameters, ...)            \
  ssize_t name parameters {                              \
    REAL(name);                                          \
    const char *path = path_of(descriptor);              \
    if (!path) return real(__VA_ARGS__);                 \
    enum Fate what = fate(call, path, NULL);             \
    if (what == FAIL) return -1;                         \
    if (what == SHORT && count > 1) count /= 2;          \
    ssize_t result = real(__VA_ARGS__);                  \
    AFTER(result);                                       \
  }
BY_BYTES("write", write, (int descriptor, const void *bytes, size_t count), descriptor, bytes, count)
BY_BYTES("read", read, (int descriptor, void *bytes, size_t count), descriptor, bytes, count)
BY_BYTES("read", pread, (int descriptor, void *bytes, size_t count, off_t start), descriptor, bytes, count, start)
BY_BYTES("read", pread64, (int descriptor, void *bytes, size_t count, off64_t start), descriptor, bytes, count, start)

int rename(const char *old, const char *new) {
  REAL(rename);
  if (!is_ours(old)) return real(old, new);
  enum Fate what = fate("rename", old, new);
  if (what == FAIL) return -1;
  int result = real(old, new);
  AFTER(result);
}

int unlink(const char *path) {
  REAL(unlink);
  if (!is_ours(path)) return real(path);
  enum Fate what = fate("unlink", path, NULL);
  if (what == FAIL) return -1;
  int result = real(path);
  AFTER(result);
}
