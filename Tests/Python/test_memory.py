"""What a run of the command keeps in memory, whatever the size of its input."""

import struct
import subprocess
import sys

import numpy as np
import pytest

MIB = 1 << 20
ROWS, COLUMNS = 8192, 4096


# A child begins as a copy of what starts it, whose memory counts as its own: an interpreter with nothing imported starts
# the command, for pytest may hold torch.
MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""


def peak_memory(command):
    """The most bytes that a process had resident; it is to end well."""
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, *map(str, command)], capture_output=True)
    status, peak = map(int, done.stdout.split())
    assert status == 0, done.stderr.decode(errors="replace")
    return peak * 1024


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """256 MiB of moments, two tensors of 128 MiB, as noise that no lossless stage makes small."""
    path = tmp_path_factory.mktemp("memory") / "state.safetensors"
    size = 4 * ROWS * COLUMNS
    names = ("exp_avg", "exp_avg_sq")
    header = ",".join(
        f'"{name}":{{"dtype":"F32","shape":[{ROWS},{COLUMNS}],"data_offsets":[{i * size},{(i + 1) * size}]}}'
        for i, name in enumerate(names)).join("{}").encode()
    piece = np.square(np.random.default_rng(7).standard_normal(MIB // 4, np.float32)).tobytes()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(2 * size // MIB):
            file.write(piece)
    yield path
    path.unlink()


@pytest.mark.parametrize("policy", ["adam8", "paper4", "lossless"])
def test_256_mib_pass_through_128(binary, state, tmp_path, policy):
    coded, decoded = tmp_path / "state.qckpt", tmp_path / "decoded.safetensors"
    encoding = peak_memory([binary, "encode", state, "-o", coded, "--policy", policy, "--threads", "2", "--quiet"])
    decoding = peak_memory([binary, "decode", coded, "-o", decoded, "--threads", "2", "--quiet"])
    assert decoded.stat().st_size >= 2 * 4 * ROWS * COLUMNS
    decoded.unlink()
    print(f"{policy}: {encoding / MIB:.1f} MiB to encode, {decoding / MIB:.1f} MiB to decode")
    assert encoding < 128 * MIB and decoding < 128 * MIB


def test_comparing_and_hashing_256_mib_take_64(binary, state, tmp_path):
    coded = tmp_path / "state.qckpt"
    peak_memory([binary, "encode", state, "-o", coded, "--policy", "lossless", "--compression", "none", "--quiet"])
    manifest = tmp_path / "manifest"
    manifest.write_bytes(subprocess.run([binary, "hash", state, coded], capture_output=True, check=True).stdout)
    commands = {"diff": ["diff", state, coded, "--quiet"], "hash": ["hash", "--check", manifest, "--quiet"]}
    for name, command in commands.items():
        peak = peak_memory([binary, *command, "--threads", "2"])
        print(f"{name}: {peak / MIB:.1f} MiB")
        assert peak < 64 * MIB, name
