"""Calls of the library that Ctrl-C ends, and any handler of a signal that raises.

Python runs such handlers on the main thread, between two instructions of its own: never while C runs. A call that may take
long is therefore made on a thread of its own, while the main thread waits, which signals interrupt.
"""

from __future__ import annotations

import _thread
import signal
import threading
from typing import Any

from ._library import lib

# Bytes that are dealt with in a few milliseconds, for which no thread is worth it.
SMALL = 4 << 20
# Signals are for the main thread: given to another, they would not end its wait. What an instruction causes stays where it is.
_MASKED = signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGPROF}


def call(size: float, keep: Any, function: Any, *arguments: Any) -> Any:
    """Calls a function of the library that deals with `size` bytes, and keeps what it uses (`keep`) until it has returned.

    What a handler raises is raised within a second, or after the flush to the disk that is under way: the function has
    returned by then, a file that it was writing is given up. Anywhere but on the main thread handlers do not run, and the
    function is called as it is.
    """
    if size < SMALL or threading.current_thread() is not threading.main_thread():
        return function(*arguments)
    return _Call(keep, function, arguments).run()


class _Call:
    """A call on a thread of its own.

    Threads and events of `threading` are many instructions each: where a handler raises among them, a thread fails that has
    begun, with a message on standard error, or a lock is released twice, which is then the error. A lock's own methods, and
    the start of a thread by `_thread`, are one.
    """

    def __init__(self, keep: Any, function: Any, arguments: tuple[Any, ...]) -> None:
        self._keep = keep
        self._function = function
        self._arguments = arguments
        self._cancellation = lib.handle(lib.cancellation_create)
        self._result: Any = None
        self._error: BaseException | None = None
        # The thread waits to be told whether the call is still wanted: an interrupt may come before it is known to run.
        self._untold = _thread.allocate_lock()
        self._untold.acquire()
        self._is_wanted = False
        self._running = _thread.allocate_lock()
        self._running.acquire()
        self._is_done = False

    def run(self) -> Any:
        try:
            # Nothing waits for it at exit: it ends before `run` does.
            _thread.start_new_thread(self._work, ())
            self._is_wanted = True
            self._tell()
            self._wait()
        except BaseException as error:
            if self._end() or "new thread" not in str(error):
                raise
            # At the interpreter's exit no thread can be started, and none is needed.
            return self._function(*self._arguments)
        finally:
            lib.cancellation_free(self._cancellation)
            # The error's frames hold this object, and all that it keeps.
            failure, self._error = self._error, None
            if self._is_done:
                self._keep = None
        if failure is not None:
            raise failure
        return self._result

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _MASKED)
        self._untold.acquire()
        if not self._is_wanted:
            return
        lib.cancellation_use(self._cancellation)
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._error = error
        finally:
            lib.cancellation_use(None)
            self._is_done = True
            self._running.release()

    def _tell(self) -> None:
        try:
            self._untold.release()
        except RuntimeError:  # it was told before an interrupt
            pass

    def _wait(self) -> None:
        # Who has the lock knows that all is done, so that it is never waited for twice.
        while not self._is_done:
            self._running.acquire()

    def _end(self) -> bool:
        """Ends the call, whatever interrupts that again; whether it had begun."""
        while True:
            try:
                if not self._is_wanted:
                    self._tell()
                    return False
                lib.cancellation_cancel(self._cancellation)
                self._tell()
                self._wait()
                return True
            except BaseException:  # noqa: BLE001 - the first is on its way to be raised
                continue
