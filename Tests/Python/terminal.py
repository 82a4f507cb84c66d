"""Runs a command on a terminal of its own."""

import fcntl
import os
import pty
import re
import struct
import termios
import time
from typing import NamedTuple

INPUT, ERROR = 0, 2
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


def columns_of(terminal):
    """How wide a terminal is."""
    return struct.unpack("HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8)))[1]


def run(command, columns=80, environment=None, at_progress=None, output_alone=False):
    """Runs a command on a terminal of so many columns; `at_progress(terminal)` is called once, when a line of progress is there.

    `output_alone`: its standard error is thrown away.
    """
    child, terminal = pty.fork()
    if child == 0:
        try:
            base = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "LC_ALL")}
            # The width is to be set before anything asks for it.
            while columns_of(INPUT) != columns:
                time.sleep(0.01)
            if output_alone:
                os.dup2(os.open(os.devnull, os.O_WRONLY), ERROR)
            own = {**base, "TERM": "xterm", "LANG": "C.UTF-8", **(environment or {})}
            os.execve(command[0], [os.fspath(part) for part in command], own)
        finally:
            os._exit(127)
    resize(terminal, columns)
    output = b""
    while True:
        try:
            output += os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if at_progress and FRAME.search(output.decode(errors="replace")):
            at_progress(terminal)
            at_progress = None
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return Shown(output.decode(), os.waitstatus_to_exitcode(status))
