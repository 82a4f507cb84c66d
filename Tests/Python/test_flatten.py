"""`qcodec.flatten`: checkpoints with a base made to stand alone by the package."""

import io
import json
import os
import subprocess

import pytest

from test_delta import run, state

qcodec = pytest.importorskip("qcodec")
__all__ = ["run"]


def test_the_bytes_are_those_without_a_base_and_those_of_the_command(run, binary, tmp_path):
    for step in (1, 2):
        whole, flat, other = (tmp_path / name for name in (f"whole{step}.qckpt", "flat.qckpt", "command.qckpt"))
        done = qcodec.flatten(run[step], flat, threads=step)
        assert flat.read_bytes() == whole.read_bytes()
        command = subprocess.run([binary, "flatten", run[step], "-o", other, "--json"], capture_output=True)
        assert command.returncode == 0 and other.read_bytes() == flat.read_bytes()
        document = json.loads(command.stdout)
        assert {key: getattr(done, key) for key in document} == document
        assert done.bases == step and done.base_chunks > 0 and done.difference_chunks > 0
        assert qcodec.inspect(flat).base is None and qcodec.verify(flat).ok


def test_targets_of_every_kind(run, tmp_path):
    expected = (tmp_path / "whole2.qckpt").read_bytes()
    memory = io.BytesIO()
    qcodec.flatten(run[2], memory)
    assert memory.getvalue() == expected
    qcodec.flatten(str(run[2]), str(tmp_path / "text.qckpt"))
    assert (tmp_path / "text.qckpt").read_bytes() == expected
    with open(run[2], "rb") as source, open(tmp_path / "file.qckpt", "wb") as target:
        qcodec.flatten(source, target, base=run[1])
    assert (tmp_path / "file.qckpt").read_bytes() == expected
    with qcodec.open(run[2]) as checkpoint:
        checkpoint.flatten(tmp_path / "open.qckpt")
    assert (tmp_path / "open.qckpt").read_bytes() == expected
    with pytest.raises(qcodec.ArgumentError):
        checkpoint.flatten(tmp_path / "closed.qckpt")
    assert not (tmp_path / "closed.qckpt").exists()
    # What stands alone is copied.
    qcodec.flatten(run[0], tmp_path / "copy.qckpt")
    assert (tmp_path / "copy.qckpt").read_bytes() == run[0].read_bytes()


def test_behind_urls(run, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    place = "memory://test_flatten"
    qcodec.save(f"{place}/0.qckpt", state(0))
    qcodec.save(f"{place}/1.qckpt", state(1), base=f"{place}/0.qckpt")
    qcodec.flatten(f"{place}/1.qckpt", f"{place}/flat.qckpt")
    assert fsspec.filesystem("memory").cat("/test_flatten/flat.qckpt") == (tmp_path / "whole1.qckpt").read_bytes()
    for name in ("0.qckpt", "1.qckpt"):
        with pytest.raises(qcodec.StorageError) as error:
            qcodec.flatten(f"{place}/1.qckpt", f"{place}/{name}")
        assert error.value.code == 81


def test_a_base_that_is_missing_or_another(run, tmp_path):
    target, moved = tmp_path / "flat.qckpt", tmp_path / "elsewhere.qckpt"
    target.write_bytes(b"before")
    run[0].rename(moved)
    with pytest.raises(qcodec.FormatError, match="no file '0.qckpt'") as error:
        qcodec.flatten(run[2], target)
    assert error.value.code == 56 and error.value.tensor is not None
    (tmp_path / "whole1.qckpt").rename(run[0])
    with pytest.raises(qcodec.FormatError, match="another checkpoint than the base") as error:
        qcodec.flatten(run[2], target)
    assert error.value.code == 57 and target.read_bytes() == b"before"
    # An existing target is replaced where nothing is wrong.
    qcodec.flatten(run[2], target, base=moved)
    assert target.read_bytes() == (tmp_path / "whole2.qckpt").read_bytes()
    with qcodec.open(moved) as base:
        qcodec.flatten(run[1], target, base=base)
    assert qcodec.load(target)["step"] == 1


def test_nothing_is_written_over_the_checkpoint_or_a_base(run, tmp_path):
    before = {step: path.read_bytes() for step, path in run.items()}
    os.link(run[0], tmp_path / "link.qckpt")
    for target in (*run.values(), tmp_path / "link.qckpt"):
        with pytest.raises(qcodec.StorageError) as error:
            qcodec.flatten(run[2], target)
        assert error.value.code == 81
    assert before == {step: path.read_bytes() for step, path in run.items()}


def test_what_fails_leaves_what_is_there(run, tmp_path):
    target = tmp_path / "flat.qckpt"
    target.write_bytes(b"before")
    names = sorted(os.listdir(tmp_path))

    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space left"):
        qcodec.flatten(run[1], Full())
    class Interrupted(io.RawIOBase):
        def write(self, data):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qcodec.flatten(run[1], Interrupted())
    with pytest.raises(FileNotFoundError):
        qcodec.flatten(run[1], tmp_path / "none" / "flat.qckpt")
    with pytest.raises(IsADirectoryError):
        qcodec.flatten(run[1], tmp_path)
    with pytest.raises(FileNotFoundError):
        qcodec.flatten(tmp_path / "none.qckpt", target)
    damaged = bytearray(run[0].read_bytes())
    damaged[5000] ^= 1
    with pytest.raises(qcodec.FormatError) as error:
        qcodec.flatten(io.BytesIO(damaged), target)
    assert error.value.offset is not None
    assert target.read_bytes() == b"before" and sorted(os.listdir(tmp_path)) == names
