"""Many tensors, large files, pipes: what a file of any size may cost."""

import json
import subprocess
import sys

import numpy as np
import pytest

import tensorfile

# A process inherits the peak of the one it was forked from; a small one in between keeps that of the tests out.
PEAK = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak_bytes(*command):
    """The peak resident memory of a command that succeeds."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PEAK, *map(str, command)], capture_output=True, text=True)
    status, kibibytes = map(int, done.stdout.split()[-2:])
    assert status == 0, done.stderr
    return kibibytes * 1024


# 100,000 tensors

COUNT = 100_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A file of 100,000 tensors of 4 to 7 elements, and what is in it."""
    values = np.arange(8 * COUNT, dtype="<f4") + 0.5
    tensors = {}
    for i in range(COUNT):
        kind = ("exp_avg", "exp_avg_sq", "step", "param")[i % 4]
        data = values[8 * i:8 * i + 4 + i % 4].tobytes()
        tensors[f"layers.{i // 4}.weight/{kind}"] = tensorfile.Entry("F32", (4 + i % 4,), data)
    path = tmp_path_factory.mktemp("crowd") / "crowd.safetensors"
    path.write_bytes(tensorfile.dump(tensors))
    return path, tensors


POLICY = {"name": "all", "rules": [
    {"match": {"role": role}, "action": "quantize", "scheme": {"map": "dynamic", "bits": 8, "signed": signed}}
    for role, signed in (("first_moment", True), ("second_moment", False))]}


@pytest.mark.parametrize("policy", ["paper8", POLICY], ids=["lossless", "quantized"])
def test_a_hundred_thousand_tensors(reader, qcodec, crowd, tmp_path, policy):
    path, tensors = crowd
    target, back = tmp_path / "crowd.qckpt", tmp_path / "back.safetensors"
    if policy is POLICY:
        (tmp_path / "policy.json").write_text(json.dumps(policy))
        policy = tmp_path / "policy.json"
    written = qcodec("encode", path, "-o", target, "--policy", policy, json_output=True)
    assert (written["tensors"], written["elements"]) == (COUNT, COUNT * 11 // 2)
    listed = qcodec("inspect", target, json_output=True)
    assert listed["tensor_count"] == len(listed["tensors"]) == COUNT
    assert [t["name"] for t in listed["tensors"]] == sorted(tensors)
    quantized = policy != "paper8"
    assert sum(t["encoding"] == "quantized" for t in listed["tensors"]) == quantized * COUNT // 2
    qcodec("decode", target, "-o", back)
    decoded, _ = tensorfile.load(back.read_bytes())
    if not quantized:
        text = qcodec("inspect", target).stdout.decode()
        assert sum(line.startswith("layers.") for line in text.splitlines()) == COUNT
        qcodec("verify", target, "--against", path)
        assert decoded == tensors
        return
    checkpoint = reader.Checkpoint(target.read_bytes())
    assert [t.name for t in checkpoint.tensors] == sorted(tensors)
    for t in checkpoint.tensors[::97]:
        assert checkpoint.read(t) == decoded[t.name].data, t.name


def test_opening_takes_little_more_memory_than_the_directory_has_bytes(binary, qcodec, crowd, tmp_path):
    target, none = tmp_path / "crowd.qckpt", tmp_path / "none.qckpt"
    qcodec("encode", crowd[0], "-o", target, "--policy", "adam8")
    (tmp_path / "none.safetensors").write_bytes(tensorfile.dump({}))
    qcodec("encode", tmp_path / "none.safetensors", "-o", none)
    directory = int.from_bytes(target.read_bytes()[-88:-80], "little")
    peaks = [peak_bytes(binary, "inspect", target, "--tensor", "layers.0.weight/step"), peak_bytes(binary, "inspect", none)]
    assert directory > 15_000_000
    # The directory itself, a few bytes for each tensor, and what memory comes in.
    assert peaks[0] - peaks[1] < 1.5 * directory, (peaks, directory)


# 600 MB

LARGE = 75_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two moments of 300 MB: zeros but for every hundredth page, so that the disk has little to do."""
    header = {
        name: {"dtype": "F32", "shape": [LARGE // 1000, 1000], "data_offsets": [4 * LARGE * i, 4 * LARGE * (i + 1)]}
        for i, name in enumerate(("exp_avg/w", "exp_avg_sq/w"))}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path_factory.mktemp("large") / "large.safetensors"
    page = (np.arange(1, 1025) / 1024).astype("<f4").tobytes()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for offset in range(0, 8 * LARGE - len(page), 100 * len(page)):
            file.seek(8 + len(text) + offset)
            file.write(page)
        file.truncate(8 + len(text) + 8 * LARGE)
    yield path
    path.unlink()


@pytest.mark.parametrize(("policy", "compression"), [("paper8", "lz4"), ("paper4", "none"), ("lossless", "zstd")])
def test_memory_stays_under_a_tenth_of_the_file(binary, qcodec, large, tmp_path, policy, compression):
    target, back = tmp_path / "large.qckpt", tmp_path / "large.safetensors"
    limit = large.stat().st_size // 10
    command = ("encode", large, "-o", target, "--policy", policy, "--compression", compression, "--threads", 2)
    try:
        peaks = {"encode": peak_bytes(binary, *command, "--quiet"),
                 "decode": peak_bytes(binary, "decode", target, "-o", back, "--threads", 2, "--quiet")}
        assert max(peaks.values()) < limit, peaks
        listed = qcodec("inspect", target, json_output=True)["tensors"]
        close = max(t["guaranteed_max_abs_error"] for t in listed)
        assert (close == 0) == (policy == "lossless")
        # Headers may differ in length, what lies at a distance from the end may not.
        with large.open("rb") as source, back.open("rb") as decoded:
            for start in range(8 * LARGE, 0, -100 * 1024 * 1024):
                source.seek(-start, 2)
                decoded.seek(-start, 2)
                ours, theirs = (np.frombuffer(file.read(1 << 20), "<f4") for file in (source, decoded))
                assert np.any(ours) and np.max(np.abs(ours.astype(float) - theirs)) <= close
    finally:
        target.unlink(missing_ok=True)
        back.unlink(missing_ok=True)


# Pipes


@pytest.mark.parametrize("policy", ["paper8", "paper4", "lossless"])
def test_pipes_carry_what_files_hold(qcodec, states, tmp_path, policy):
    for path in states:
        target, back = tmp_path / "file.qckpt", tmp_path / "file.safetensors"
        qcodec("encode", path, "-o", target, "--policy", policy)
        piped = qcodec("encode", "-", "-o", "-", "--policy", policy, input=path.read_bytes())
        assert piped.stdout == target.read_bytes()
        qcodec("decode", target, "-o", back)
        assert qcodec("decode", "-", "-o", "-", input=piped.stdout).stdout == back.read_bytes()
        listed = qcodec("inspect", "-", input=piped.stdout, json_output=True)
        assert listed == qcodec("inspect", target, json_output=True)
        qcodec("verify", "-", input=piped.stdout)


def test_a_pipe_that_ends_early_leaves_no_file(qcodec, states, tmp_path):
    whole, target = states[0].read_bytes(), tmp_path / "none.qckpt"
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        failed = qcodec("encode", "-", "-o", target, input=whole[:length], status=3)
        assert failed.stderr.startswith(b"qcodec: -: ") and failed.stderr.count(b"\n") == 1
        assert list(tmp_path.iterdir()) == []
