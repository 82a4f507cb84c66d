"""Runs a command on a terminal of its own, and stops it in the midst of its work so that any work is long."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import NamedTuple

# A line that was drawn over the one before, and what its colors are made of.
FRAME = re.compile(r"\r([^\r\n]*?)\x1b\[K")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Shown(NamedTuple):
    """What a command wrote on its terminal, and its exit status."""

    text: str
    status: int

    @property
    def frames(self):
        """The lines of progress, one after another, without colors; wiping leaves none."""
        return [COLOR.sub("", frame) for frame in FRAME.findall(self.text) if frame]

    @property
    def rest(self):
        """What is left on the screen."""
        return FRAME.sub("", self.text).replace("\r\n", "\n")


def resize(terminal, columns):
    """Tells a terminal and who runs on it how wide it is."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def bytes_read(child):
    """What a process has read so far, of files and else; 0 once it is gone."""
    try:
        with open(f"/proc/{child}/io") as file:
            return int(re.search(r"rchar: (\d+)", file.read())[1])
    except (OSError, TypeError):
        return 0


def run(command, columns=80, environment=None, stop_after=None, meanwhile=None, seconds=1.3):
    """Runs a command; once it has read `stop_after` bytes it is stopped for some seconds, and `meanwhile(terminal)` called."""
    child, terminal = pty.fork()
    if child == 0:
        base = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "LC_ALL")}
        own = {**base, "TERM": "xterm", "LANG": "C.UTF-8", **(environment or {})}
        time.sleep(0.05)  # the width is to be set before anything asks for it
        os.execve(command[0], [os.fspath(part) for part in command], own)
    resize(terminal, columns)
    output, isStopped = [], False
    while True:
        if stop_after is not None and not isStopped and bytes_read(child) > stop_after:
            os.kill(child, signal.SIGSTOP)
            if meanwhile:
                meanwhile(terminal)
            time.sleep(seconds)
            os.kill(child, signal.SIGCONT)
            isStopped = True
        try:
            if select.select([terminal], [], [], 0 if stop_after is not None and not isStopped else 0.1)[0]:
                output.append(os.read(terminal, 1 << 16))
        except OSError:  # how Linux says that nobody holds the other end any more
            break
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert stop_after is None or isStopped, "the command ended before it could be stopped"
    return Shown(b"".join(output).decode(), os.waitstatus_to_exitcode(status))
