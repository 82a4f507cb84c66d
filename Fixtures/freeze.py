"""Writes Fixtures/compat/1.0, once: what every reader of format 1.x is to find in files of format 1.0.

    python freeze.py --qcodec QCODEC          writes the folder, and says what Tests/Python/test_compat.py is to hold
    python freeze.py --qcodec QCODEC --out F  writes it elsewhere

Copies of the golden files, the real state as the command encodes it, and what the reference reader finds in each. The
folder is never written again, so there is no --check, and a folder that is there is left alone.
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np

from qckpt_writer import spec

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent
VERSION = "1.0"

# zstd makes the files of the real state smallest; the other stages stand beside it once.
ZSTD = ("--compression", "zstd")
PRESETS = ("adam8", "adam4", "paper8", "paper4", "live8", "live4", "adamq", "lossless")
ENCODINGS = {
    **{preset: ("--policy", preset, *ZSTD) for preset in PRESETS},
    "adam8-none": ("--policy", "adam8", "--compression", "none"),
    "adam8-lz4": ("--policy", "adam8", "--compression", "lz4"),
    "adam8-measured": ("--policy", "adam8", "--measure-update", *ZSTD),
    "adam4-stochastic": ("--policy", "adam4", "--stochastic", "12345", *ZSTD),
    "absolute": ("--max-abs-error", "0.05rms", *ZSTD),
    "relative": ("--max-rel-error", "0.01", *ZSTD),
    "update": ("--max-update-error", "0.15rms", *ZSTD),
}
# Those that are to keep what their codes do not.
WITH_ESCAPES = ("absolute", "relative", "update")

README = """# Format {version} as it was frozen

Files of format {version} with what a reader finds in them. **The folder was written once and is never written again**, whatever
becomes of the programs: each reader of a version 1.x is to read these files as they were read then (`Spec/README.md`,
*Stability*). `Tests/Python/test_compat.py` knows the SHA-256 of `SHA256SUMS`, and refuses any change.

| | |
|---|---|
| `golden/` | the files of `Fixtures/golden/` of that day, those with a base beside it |
| `real/` | the state of `Fixtures/real/` as `{program}` encoded it: under each preset and zstd; `adam8` under the other \
stages too, with measured updates, and as a difference to a base; stochastic; under bounds that escapes keep |
| `expected.json` | of each file its SHA-256, digest, version, features, base, metadata and errors of updates; of each tensor \
its dtype, shape, scheme and guarantees, and the SHA-256 of its decoded bytes: all as the reference reader found them |
| `SHA256SUMS` | for `sha256sum -c` |

Written by `Fixtures/freeze.py`.
"""


def label(t):
    """The scheme of a tensor in words."""
    if not t.quantized:
        return "lossless"
    words = [t.map, f"{t.bits} bits", "signed" if t.signed else "unsigned"]
    words += [t.scaling if t.block is None else f"{t.scaling}({t.block})", t.domain, t.rounding, t.rule]
    return ", ".join(words + ["import"] * t.imported + ["escapes"] * t.escapes)


def found(path):
    """What the reference reader finds in a file after checking every byte, place and bound of it."""
    checkpoint = spec.read_file(path)
    summary = spec.summary(checkpoint)
    for entry, t in zip(summary["tensors"], checkpoint.tensors, strict=True):
        entry["scheme"] = label(t)
    return {
        "sha256": hashlib.sha256(checkpoint.data).hexdigest(), "digest": checkpoint.digest.hex(),
        "required_features": checkpoint.features, "optional_features": struct.unpack_from("<Q", checkpoint.data, 24)[0],
        **summary}


def sums(folder):
    """The lines of SHA256SUMS: every file of the folder but itself."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
                   for name in files if name != "SHA256SUMS")


def a_step_later(state):
    """A state after a step of Adam without a gradient: moments shrink, all else stays."""
    data = bytearray(state)
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    for kind, beta in (("exp_avg/", 0.9), ("exp_avg_sq/", 0.999)):
        for name in (name for name in header if name.startswith(kind)):
            begin, end = (8 + length + at for at in header[name]["data_offsets"])
            assert header[name]["dtype"] == "F32", name
            data[begin:end] = (np.frombuffer(bytes(data[begin:end]), "<f4") * np.float32(beta)).tobytes()
    return bytes(data)


def copy_golden(folder):
    """The golden files, which are to be what their own record says."""
    golden = FOLDER / "golden"
    recorded = json.loads((golden / "expected.json").read_text())
    folder.mkdir()
    for path in sorted(golden.glob("*.qckpt")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded[path.stem]["sha256"], path.name
        shutil.copyfile(path, folder / path.name)
    assert sorted(recorded) == sorted(path.stem for path in folder.iterdir())


def encode_real(qcodec, folder):
    """The real states under every encoding."""
    def encode(source, name, *options):
        subprocess.run([qcodec, "encode", source, "-o", folder / f"{name}.qckpt", "--quiet", *options], check=True)

    folder.mkdir()
    for state in sorted((FOLDER / "real").glob("*.safetensors")):
        for name, options in ENCODINGS.items():
            encode(state, f"{state.stem}.{name}", *options)
        with tempfile.TemporaryDirectory() as work:
            later = pathlib.Path(work, state.name)
            later.write_bytes(a_step_later(state.read_bytes()))
            base = folder / f"{state.stem}.adam8.qckpt"
            encode(later, f"{state.stem}.adam8-delta", "--policy", "adam8", *ZSTD, "--base", base)


def check(expected):
    """That the files are what they are meant to be: a file that is frozen cannot be mended."""
    for name, what in expected.items():
        case = name.removesuffix(".qckpt").split(".")[-1]
        assert what["format_version"] == VERSION or "newer-minor" in name, name
        assert what["format_version"].startswith("1."), name
        if name.startswith("real/"):
            schemes = [t["scheme"] for t in what["tensors"]]
            assert any(scheme.endswith("escapes") for scheme in schemes) == (case in WITH_ESCAPES), name
            assert all(scheme == "lossless" for scheme in schemes) == (case == "lossless"), name
            assert (what["base"] is not None) == (case == "adam8-delta"), name


def write(folder, qcodec):
    """Fills an empty folder."""
    program = subprocess.run([qcodec, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    copy_golden(folder / "golden")
    encode_real(qcodec, folder / "real")
    paths = sorted(folder.glob("*/*.qckpt"))
    expected = {path.relative_to(folder).as_posix(): found(path) for path in paths}
    check(expected)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(README.format(version=VERSION, program=program))
    (folder / "SHA256SUMS").write_text(sums(folder))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command, target = ROOT / ".build" / "release" / "qcodec", FOLDER / "compat" / VERSION
    parser.add_argument("--qcodec", default=command, help="the command, which encodes the real state")
    parser.add_argument("--out", type=pathlib.Path, default=target, help="the folder, which must not be there")
    options = parser.parse_args(arguments)
    if options.out.exists():
        sys.exit(f"{options.out} is there: what is frozen is never written again")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all, for what is half there would be left alone as well.
    with tempfile.TemporaryDirectory(dir=options.out.parent, prefix=".freeze-") as work:
        folder = pathlib.Path(work, "folder")
        folder.mkdir()
        write(folder, options.qcodec)
        folder.rename(options.out)
    files = [path for path in options.out.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes in {options.out}")
    digest = hashlib.sha256((options.out / "SHA256SUMS").read_bytes()).hexdigest()
    print(f'in Tests/Python/test_compat.py: FROZEN = "{digest}"')


if __name__ == "__main__":
    main(sys.argv[1:])
