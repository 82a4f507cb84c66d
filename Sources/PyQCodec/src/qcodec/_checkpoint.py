"""An open checkpoint."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import io
import json
import math
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

from . import _interrupts, _library, _remote
from ._arrays import NUMPY, Framework, Memory
from ._calls import Callbacks, Path, describe
from ._errors import ArgumentError, BoundError, FormatError, StorageError
from ._library import Handle, lib
from ._reports import Base, Flattened, Inspection, VerificationReport
from ._target import Target
from ._tensor_view import TensorView


class Checkpoint(Mapping):
    """An open checkpoint: a mapping of names to tensors that are read when they are asked for.

    Opening reads the directory and checks it; chunks are checked as they are read. Any number of threads may read, and forked
    processes (a DataLoader's workers), even while threads of the parent do. Ctrl-C ends a call within a second. What was
    opened stays readable when another file takes its place.

    A checkpoint that was saved with a base is opened with it. `base`: the base, or one behind it, where it is not at the place
    that was recorded: a path, or an open checkpoint, which is to stay open. Where there is none, what needs it is a
    `FormatError`.
    """

    def __init__(self, path: Path, *, base: Path | Checkpoint | None = None, threads: int = 0) -> None:
        self._handle = Handle()
        self._bases: list[Checkpoint] = []
        self._place = None if hasattr(path, "read") else path
        self.threads = threads
        self._callbacks = Callbacks()
        self._function: Any = None
        self._file: Any = None
        if remote := _remote.target(path):
            reader = _remote.Ranges(remote)
            self._open_function(reader.read, reader.size)
        elif hasattr(path, "read"):
            self._open_file(cast(BinaryIO, path))
        else:
            name = _remote.local(path)
            descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                self._open_descriptor(descriptor, os.path.join(os.path.dirname(os.fsencode(name)), b""))
            finally:
                os.close(descriptor)
        self._names: list[str] | None = None
        if base is not None:
            base = base if isinstance(base, Checkpoint) else Checkpoint(base, threads=threads)
            self._take(base)
        if remote:
            self._find_base(cast(str, path), base)

    def _take(self, base: Checkpoint) -> None:
        """Has a base at hand, if it is the one that is meant or one behind it."""
        base._check_open()
        handle = lib.handle(lib.reader_with_base, self._handle, base._handle)
        lib.reader_free(self._handle)
        self._handle = handle
        # What it reads by has to live as long as this does.
        self._bases.append(base)

    def _find_base(self, url: str, given: Checkpoint | None) -> None:
        """Looks for a base at the place that is recorded, which is relative to that of the object."""
        base = self.base
        if base is None or base.found or base.name is None:
            return
        # One that is not there is missing to those who read what needs it.
        with contextlib.suppress(FileNotFoundError):
            self._take(Checkpoint(_remote.beside(url, base.name), base=given, threads=self.threads))

    @property
    def base(self) -> Base | None:
        """The checkpoint that this one refers to; None where it stands alone."""
        self._check_open()
        try:
            return Base._of(json.loads(lib.text(lambda *a: self._call(0, None, lib.reader_base, *a), self._handle)))
        except FormatError:
            # Metadata that are damaged are an error to those who ask for them.
            return None

    def _open_descriptor(self, descriptor: int, folder: bytes | None = None) -> None:
        size = os.fstat(descriptor).st_size
        self._handle = self._call(size, None, lib.handle, lib.reader_open_fd_at, descriptor, folder)

    def _open_file(self, file: BinaryIO) -> None:
        if isinstance(file, (io.BufferedReader, io.FileIO)) and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            # Read at offsets: threads do not wait for each other, and a forked child does not move its parent's place.
            return self._open_descriptor(file.fileno())
        lock = threading.Lock()
        size = file.seek(0, io.SEEK_END)

        def fetch(offset: int, count: int) -> bytes:
            with lock:
                file.seek(offset)
                return file.read(count)

        self._file = file
        self._open_function(fetch, size)

    def _open_function(self, fetch, size: int) -> None:
        def read(_, offset, target, count):
            view = memoryview((ctypes.c_char * count).from_address(target)).cast("B")

            def body():
                done = 0
                while done < count:
                    data = fetch(offset + done, count - done)
                    if not data:
                        raise StorageError(f"the file ends at byte {offset + done} of {size}", 80)
                    view[done : done + len(data)] = data
                    done += len(data)

            return self._callbacks.guard(body)

        self._function = _library.ReadFunction(read)
        self._handle = self._call(size, None, lib.handle, lib.reader_open_function, self._function, None, size)

    def _call(self, size: float, keep: Any, function, *arguments):
        # A handler that raises as a function of ours begins would be lost in C: it is not to run there.
        size = math.inf if self._reads_by_function else size
        try:
            return _interrupts.call(size, (self, keep), function, *arguments)
        except Exception as failure:
            for base in self._bases:
                if base._callbacks.error is not None:
                    base._callbacks.reraise(failure)
            self._callbacks.reraise(failure)

    @property
    def _reads_by_function(self) -> bool:
        return self._function is not None or any(base._reads_by_function for base in self._bases)

    # Tensors

    def _all_names(self) -> list[str]:
        if self._names is None:
            self._names = [self._name(index) for index in range(len(self))]
        return self._names

    def _name(self, index: int) -> str:
        length = lib.reader_name(self._handle, index, None, 0)
        buffer = ctypes.create_string_buffer(length + 1)
        lib.reader_name(self._handle, index, buffer, length + 1)
        return buffer.raw[:length].decode()

    def __len__(self) -> int:
        self._check_open()
        return lib.reader_count(self._handle)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) >= 0

    def __getitem__(self, name: str) -> TensorView:
        index = self._find(name)
        if index < 0:
            raise KeyError(name)
        return TensorView(self, index, name)

    def _find(self, name: str) -> int:
        self._check_open()
        return lib.reader_find(self._handle, name.encode())

    def _check_open(self) -> None:
        if not self._handle:
            raise ArgumentError("the checkpoint is closed")

    def read(self, names: Iterable[str] | None = None, framework: Framework = NUMPY) -> dict[str, Any]:
        """Tensors by name, all unless named, their chunks in parallel."""
        wanted = self._all_names() if names is None else list(names)
        arrays, requests = {}, []
        for name in wanted:
            view = self[name]
            arrays[name], memory = framework.empty(view._dtype, view.shape)
            requests.append((view._index, memory))
        self._read(requests)
        return arrays

    def _read(self, requests: list[tuple[int, Memory]]) -> None:
        list_ = (_library.ReadRequest * len(requests))()
        for place, (index, memory) in enumerate(requests):
            list_[place] = _library.ReadRequest(index, memory.address or None, memory.size)
        size = sum(memory.size for _, memory in requests)
        self._call(size, requests, lib.reader_read, self._handle, list_, len(requests), self.threads)

    # Documents

    def member(self, name: str) -> Any:
        """A member of the metadata document; None where there is none."""
        self._check_open()
        return json.loads(lib.text(lambda *a: self._call(0, None, lib.reader_member, *a, None), self._handle, name.encode()))

    @property
    def metadata(self) -> dict[str, str]:
        """What the user says of the file."""
        return self.member("metadata") or {}

    @property
    def policy(self) -> dict[str, Any] | None:
        """The policy that chose the schemes, where it is recorded."""
        return self.member("policy")

    def inspect(self) -> Inspection:
        """What the checkpoint holds, and its recorded errors and bounds."""
        self._check_open()
        return Inspection._of(json.loads(lib.text(lib.reader_summary, self._handle)))

    def verify(
        self,
        against: Any = None,
        *,
        max_rel_l2: float | None = None,
        max_abs: float | None = None,
        max_update_error: float | None = None,
        max_update_abs: float | None = None,
        epsilon: float = 1e-8,
        framework: Framework = NUMPY,
    ) -> VerificationReport:
        """Checks every byte and guarantee, and each element against an original: a path, or arrays by name.

        Raises `BoundError`, with the report, where something is not as it should be.
        """
        self._check_open()
        options = _library.VerifyOptions()
        lib.verify_options_init(options)
        options.epsilon = epsilon
        options.threads = self.threads
        limits = {
            "max_rel_l2": max_rel_l2, "max_abs": max_abs, "max_update_error": max_update_error,
            "max_update_abs": max_update_abs,
        }
        for name, limit in limits.items():
            setattr(options, name, math.nan if limit is None else limit)
        report = _library.Text()
        alive = []
        try:
            if isinstance(against, Mapping):
                tensors = (_library.Tensor * len(against))()
                for place, (name, value) in enumerate(against.items()):
                    tensors[place], owner = describe(name, framework.memory(value))
                    alive.append(owner)
                self._call(
                    math.inf, (alive, options, report), lib.verify_tensors, self._handle, tensors, len(against), options,
                    ctypes.byref(report),
                )
            else:
                if _remote.target(against):
                    raise ArgumentError(f"an original is a local file, not '{against}'; arrays by name can come from anywhere")
                original = None if against is None else os.fsencode(_remote.local(against))
                self._call(
                    math.inf, (options, report), lib.verify, self._handle, original, options, ctypes.byref(report))
        except BoundError as error:
            error.report = _report(report)
            raise
        else:
            return _report(report)
        finally:
            lib.string_free(report)

    def flatten(self, target: Path) -> Flattened:
        """Writes the checkpoint anew so that it needs no base, to a path, a URL or an open file. See `qcodec.flatten`."""
        self._check_open()
        if _remote.is_url(target) and target in self._places():
            raise StorageError("this is the checkpoint or one of its bases; choose another output", 81)
        done = _library.Flattened()
        place = Target(target)
        is_complete = False
        try:
            function = lib.flatten if place.function is None else lib.flatten_function
            where = [place.path] if place.function is None else [place.function, None]
            self._call(math.inf, (place, done), function, self._handle, *where, self.threads, done)
            is_complete = True
        except Exception as failure:
            place.callbacks.reraise(failure)
        finally:
            place.close(is_complete)
        return Flattened(*(getattr(done, field.name) for field in dataclasses.fields(Flattened)))

    def _places(self) -> set[Any]:
        return {self._place}.union(*(base._places() for base in self._bases))

    def close(self) -> None:
        """Lets go of the file."""
        if self._handle:
            lib.reader_free(self._handle)
            self._handle = Handle()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def __repr__(self) -> str:
        return f"<checkpoint of {len(self)} tensors>" if self._handle else "<closed checkpoint>"


def _report(text: Any) -> VerificationReport:
    return VerificationReport._of(json.loads(ctypes.cast(text, ctypes.c_char_p).value or b"null"))
