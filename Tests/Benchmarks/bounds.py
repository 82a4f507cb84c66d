"""qcodec, SZ3 and zfp at equal error bounds on real optimizer states: sizes and speeds, in one run.

    python bounds.py STATE.safetensors... [--qcodec PATH] [--runs N] [--json FILE] [--results FILE] [--allow-missing]

Float32 tensors of 4,096 elements and more, each with a bound of its own: absolute ones in units of the tensor's root mean
square, and relative ones, |x − x̂| ≤ R·|x| for every element. SZ3 and zfp have no such mode: they are given log2 |x| with
the absolute bound that makes R of it, signs and zeros beside it as bits that zlib packs. Every decoded element is compared;
the last column is the largest error in units of the bound, above 1 where it does not hold (relative bounds of subnormal
numbers, which logarithms cannot keep). qcodec's times are those of the
command, file to file, on one thread; those of the others are of memory to memory, tensor by tensor. The fastest of --runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
MINIMUM = 4096
ABSOLUTE, RELATIVE = (0.1, 0.01, 0.001), (0.1, 0.01, 0.001)
COLUMNS = ["state", "bound", "coder", "bits a value", "encode MB/s", "decode MB/s", "largest error / bound"]

Tensors = dict[str, np.ndarray]
# Encodes an array under an absolute bound; bytes, and what decodes them.
Coder = Callable[[np.ndarray, float], tuple[int, Callable[[], np.ndarray]]]


def zfp(x: np.ndarray, bound: float) -> tuple[int, Callable[[], np.ndarray]]:
    import zfpy

    coded = zfpy.compress_numpy(np.ascontiguousarray(x), tolerance=bound)
    return len(coded), lambda: zfpy.decompress_numpy(coded)


def sz3(x: np.ndarray, bound: float) -> tuple[int, Callable[[], np.ndarray]]:
    from pysz import sz, szConfig, szErrorBoundMode

    config = szConfig()
    config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, bound
    coded = sz.compress(np.ascontiguousarray(x), config)[0]
    return len(coded), lambda: sz.decompress(coded, np.float32, x.shape)[0]


CODERS: dict[str, Coder] = {"SZ3": sz3, "zfp": zfp}


def relative(coder: Coder, x: np.ndarray, bound: float) -> tuple[int, Callable[[], np.ndarray]]:
    """A relative bound by a coder of absolute ones."""
    zeros = x == 0
    with np.errstate(divide="ignore"):
        logarithms = np.where(zeros, 0, np.log2(np.abs(x))).astype(np.float32)
    # What rounding to float32 and back takes of it.
    slack = float(np.max(np.abs(logarithms), initial=0)) * 2.0**-23 + 2.0**-22
    count, decode = coder(logarithms, max(np.log2(1 + bound) - slack, 1e-7))
    signs = [zlib.compress(np.packbits(part).tobytes(), 1) for part in (np.signbit(x), zeros)]

    def decoded() -> np.ndarray:
        sign, zero = (np.unpackbits(np.frombuffer(zlib.decompress(part), np.uint8), count=x.size).reshape(x.shape)
                      for part in signs)
        value = np.exp2(decode().astype(np.float64))
        return np.where(zero, 0, np.where(sign, -value, value)).astype(np.float32)

    return count + sum(map(len, signs)), decoded


def bounds_of(tensors: Tensors, kind: str, value: float) -> dict[str, float]:
    if kind == "relative":
        return dict.fromkeys(tensors, value)
    return {name: value * float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for name, x in tensors.items()}


def excess(tensors: Tensors, found: Tensors, kind: str, value: float) -> float:
    """The largest error of any element in units of its bound."""
    worst, limits = 0.0, bounds_of(tensors, kind, value)
    for name, x in tensors.items():
        wide = x.astype(np.float64)
        error = np.abs(wide - found[name].astype(np.float64))
        limit = limits[name] * np.abs(wide) if kind == "relative" else np.full(x.shape, limits[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = max(worst, float(np.max(np.where(error == 0, 0, error / limit), initial=0)))
    return worst


def timed(body: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = body()
    return time.perf_counter() - start, result


def by_command(qcodec: str, tensors: Tensors, kind: str, value: float, stage: str, folder: pathlib.Path):
    """(bytes, seconds to encode, seconds to decode, what was decoded)."""
    source, path, again = (folder / name for name in ("s.safetensors", "x.qckpt", "again.safetensors"))
    save_file(tensors, source)
    option = ["--max-rel-error", str(value)] if kind == "relative" else ["--max-abs-error", f"{value}rms"]
    common = ["--threads", "1", "--quiet"]
    encode = [qcodec, "encode", source, "-o", path, *option, "--compression", stage, *common]
    spent, _ = timed(lambda: subprocess.run(encode, check=True))
    unspent, _ = timed(lambda: subprocess.run([qcodec, "decode", path, "-o", again, *common], check=True))
    return path.stat().st_size, spent, unspent, load_file(again)


def by_library(coder: Coder, tensors: Tensors, kind: str, value: float):
    limits = bounds_of(tensors, kind, value)

    def encode():
        if kind == "relative":
            return {name: relative(coder, x, limits[name]) for name, x in tensors.items()}
        # Of zeros alone any bound above 0 makes nothing.
        return {name: coder(x, limits[name] or 1e-30) for name, x in tensors.items()}

    spent, coded = timed(encode)
    unspent, found = timed(lambda: {name: decode().reshape(tensors[name].shape) for name, (_, decode) in coded.items()})
    return sum(count for count, _ in coded.values()), spent, unspent, found


def shaped(x: np.ndarray) -> np.ndarray:
    """Four axes at most: what zfp and SZ3 take."""
    return x.reshape(-1, *x.shape[-3:]) if x.ndim > 4 else x


def measure(state: pathlib.Path, arguments: argparse.Namespace, coders: dict[str, Coder]) -> list[dict[str, object]]:
    tensors = {name: shaped(x) for name, x in load_file(state).items() if x.dtype == np.float32 and x.size >= MINIMUM}
    count = sum(x.size for x in tensors.values())
    rows = []
    for kind, value in [("absolute", v) for v in ABSOLUTE] + [("relative", v) for v in RELATIVE]:
        ways = {f"qcodec, {stage}": lambda folder, stage=stage: by_command(
            str(arguments.qcodec), tensors, kind, value, stage, folder) for stage in ("zstd", "lz4")}
        ways |= {name: lambda _, coder=coder: by_library(coder, tensors, kind, value) for name, coder in coders.items()}
        with tempfile.TemporaryDirectory() as folder:
            # In turn, so that a busy machine slows all of them alike.
            runs = [{name: way(pathlib.Path(folder)) for name, way in ways.items()} for _ in range(arguments.runs)]
        for name in ways:
            size, _, _, found = runs[0][name]
            spent, unspent = (min(run[name][place] for run in runs) for place in (1, 2))
            rows.append({
                "state": state.stem, "kind": kind, "bound": value, "coder": name, "bytes": size, "elements": count,
                "bits_per_value": 8 * size / count, "encode_mb_s": 4e-6 * count / spent, "decode_mb_s": 4e-6 * count / unspent,
                "excess": excess(tensors, found, kind, value)})
            print(row_text(rows[-1]), flush=True)
    return rows


def row_text(row: dict[str, object]) -> str:
    bound = f"{row['bound']:g} rms" if row["kind"] == "absolute" else f"{row['bound']:g} relative"
    cells = [row["state"], bound, row["coder"], f"{row['bits_per_value']:.2f}", f"{row['encode_mb_s']:.0f}",
             f"{row['decode_mb_s']:.0f}", f"{row['excess']:.3f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def results(rows: list[dict[str, object]]) -> str:
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("pysz", "zfpy") if importlib.util.find_spec(name)]
    text = ["# Equal bounds", "", "`make bounds-bench`: float32 tensors of 4,096 elements and more of real states. What the columns",
            f"say stands in [bounds.py](bounds.py). {', '.join(versions)}; {platform.machine()}, one thread.", "", *head, *map(row_text, rows)]
    return "\n".join(text) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", nargs="+", type=pathlib.Path)
    parser.add_argument("--qcodec", type=pathlib.Path, default=ROOT / ".build" / "release" / "qcodec")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--allow-missing", action="store_true", help="go on without SZ3 or zfp")
    arguments = parser.parse_args()
    coders, missing = dict(CODERS), []
    for name, module in (("SZ3", "pysz"), ("zfp", "zfpy")):
        try:
            __import__(module)
        except ImportError:
            missing.append(module)
            del coders[name]
    if missing:
        print(f"missing: {', '.join(missing)}", file=sys.stderr)
        if not arguments.allow_missing:
            return 1
    rows = [row for state in arguments.states for row in measure(state, arguments, coders)]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.results:
        arguments.results.write_text(results(rows))
    return 0 if all(row["excess"] <= 1 for row in rows if row["coder"].startswith("qcodec")) else 1


if __name__ == "__main__":
    sys.exit(main())
