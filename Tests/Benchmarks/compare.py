"""How fast qcodec is beside other codecs and checkpoint formats, on this machine, in one run.

    python compare.py [--qcodec PATH] [--size BYTES] [--runs N] [--threads N] [--dir DIR] [--json FILE] [--results FILE]

The state is made up, seeded and heavy-tailed: 16 tensors of 4096 columns, first and second moments in turn, of --size
bytes in all. Codecs encode one of its first moments (qcodec: bench's rows on the same pair); checkpoint formats save and
load all of it, in --dir. Peers and qcodec take turns, round by round, so that a busy machine slows all of them alike; a
round before the first does not count. Saving ends with an fsync, loading with a touch of every page.

A package that is missing is named; that ends the run with status 1 unless --allow-missing is given.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import logging
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

# torchao and bitsandbytes say at length which kernels they do not find, and DCP that there is one process.
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

import peers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS, PAIRS = 4096, 8
PACKAGES = ["numpy", "torch", "bitsandbytes", "torchao", "gguf", "zfpy", "pysz", "safetensors"]


def moments(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """A first and a second moment whose magnitudes spread over orders, m and √v alike."""
    random = np.random.default_rng(4)
    magnitude = 1e-4 * np.exp2(2.5 * random.standard_normal((rows, COLUMNS), np.float32))
    m = magnitude * random.standard_normal((rows, COLUMNS), np.float32)
    v = np.square(magnitude) * np.exp2(random.standard_normal((rows, COLUMNS), np.float32))
    return m.astype(np.float32), v.astype(np.float32)


class QCodec:
    """The command's own benchmark, run once a round on the same pair of moments."""

    def __init__(self, binary: pathlib.Path, pair: pathlib.Path, options: argparse.Namespace, elements: int):
        self.command = [
            str(binary), "bench", str(pair), "--json", "--threads", str(options.threads), "--elements", str(elements),
            "--runs", "3", "--checkpoint", str(options.dir), "--size", str(options.size),
        ]
        self.rounds: list[dict] = []

    def run(self) -> None:
        done = subprocess.run(self.command, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"compare.py: {done.stderr.decode(errors='replace').strip()}")
        self.rounds.append(json.loads(done.stdout))

    def codec_rows(self, elements: int) -> list[dict]:
        """Rows over all rounds; memcpy and reading first."""
        rows = [
            row(name, operation, [1 / r[key] for r in self.rounds], 1e9)
            for name, operation, key in (
                ("memcpy in qcodec bench", "copy", "memcpy_gb_s"), ("reading in qcodec bench", "read", "read_gb_s"))
        ]
        for index, result in enumerate(self.rounds[0]["results"]):
            rounds = [r["results"][index] for r in self.rounds]
            # A scale, or the two ends of a log block; the pairs' moments have as many bits each.
            extra = 0 if result["block"] is None else (64 if result["map"] == "log" else 32) / result["block"]
            encoded = result["operation"] == "encode" and result["block"] is not None
            rows.append(row(
                title(result), result["operation"], [1 / r["gb_s"] for r in rounds], 1e9,
                file_bytes=int(elements * (result["bits"] + extra) / 8) if encoded else None,
                least=min(r["gb_s_min"] for r in rounds), most=max(r["gb_s_max"] for r in rounds)))
        return rows

    def checkpoint_rows(self) -> list[dict]:
        rows = []
        for index, result in enumerate(self.rounds[0]["checkpoint"]):
            rounds = [r["checkpoint"][index] for r in self.rounds]
            entry = row(
                f"qcodec {result['policy']}, {result['compression']}", result["operation"],
                [r["seconds"] for r in rounds], result["bytes"], file_bytes=result["file_bytes"])
            entry["seconds_min"] = min(r["seconds_min"] for r in rounds)
            entry["seconds_max"] = max(r["seconds_max"] for r in rounds)
            peaks = [r["peak_extra_bytes"] for r in rounds]
            entry["peak_extra_bytes"] = None if None in peaks else max(peaks)
            rows.append(entry)
        return rows


def title(result: dict) -> str:
    """ "qcodec dynamic s8 block256, measuring" """
    sign = "s" if result["signed"] else "u"
    scaling = result["scaling"] + (str(result["block"]) if result["block"] else "")
    what = f"{sign}{result['bits']} {scaling}" if result["domain"] == "value" else "pair"
    return f"qcodec {result['map']} {what}" + (", with statistics" if result["stats"] else "")


def row(
    name: str, operation: str, seconds: list[float], size: float, *, file_bytes: int | None = None,
    least: float | None = None, most: float | None = None,
) -> dict:
    """Median and extremes, as seconds and as 1e9 bytes of float32 a second."""
    speeds = [size / 1e9 / s for s in seconds]
    return {
        "name": name, "operation": operation, "runs": len(seconds), "seconds": statistics.median(seconds),
        "seconds_min": min(seconds), "seconds_max": max(seconds), "gb_s": statistics.median(speeds),
        "gb_s_min": min(speeds) if least is None else least, "gb_s_max": max(speeds) if most is None else most,
        "file_bytes": file_bytes,
    }


def collect(factories: dict, arguments: tuple, missing: set[str]) -> list[peers.Measurement]:
    """The measurements of every peer whose package is there."""
    found = []
    for package, factory in factories.items():
        try:
            found += list(factory(*arguments))
        except ImportError as error:
            missing.add(error.name or package)
    return found


def measure(codec: list[peers.Measurement], checkpoint: list[peers.Measurement], qcodec: QCodec, runs: int) -> None:
    """Rounds of everything in turn."""
    for number in range(runs + 1):
        print(f"round {number} of {runs}", file=sys.stderr)
        for measurement in codec + checkpoint:
            start = time.perf_counter()
            measurement.run()
            if number > 0:
                measurement.seconds.append(time.perf_counter() - start)
        if number > 0:
            qcodec.run()


def peer_row(measurement: peers.Measurement) -> dict:
    size = measurement.size() if measurement.size else None
    return row(measurement.name, measurement.operation, measurement.seconds, measurement.bytes, file_bytes=size)


def span(entry: dict, key: str, digits: int) -> str:
    return f"{entry[key]:.{digits}f} ({entry[key + '_min']:.{digits}f}–{entry[key + '_max']:.{digits}f})"


def markdown(document: dict) -> str:
    """The report as RESULTS.md has it."""
    copy = next(r for r in document["codecs"] if r["name"].startswith("memcpy"))["gb_s"]
    machine, lines = document["machine"], []
    lines += [
        "# Results of the speed comparison", "",
        "Written by `make bench`; not to be edited.", "",
        f"{document['date']}; {machine['cpu']}, {machine['processors']} processors, {machine['os']}; qcodec kernels "
        f"{', '.join(document['kernels'])}; {document['threads']} threads; medians of {document['runs']} rounds "
        "(least and greatest); the rows of qcodec are, each round, medians of 3 runs.", "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".",
    ]
    if document["missing"]:
        lines.append(f"Not measured, for their packages are missing: {', '.join(document['missing'])}.")
    for operation, heading in (("copy", "Copying"), ("read", "Reading"), ("encode", "Encoding"), ("decode", "Decoding")):
        lines += ["", f"## {heading}", "", "| | GB/s of float32 | times memcpy | bits a value |", "|---|---|---|---|"]
        for r in sorted((r for r in document["codecs"] if r["operation"] == operation), key=lambda r: -r["gb_s"]):
            bits = f"{8 * r['file_bytes'] / document['elements']:.2f}" if r["file_bytes"] else ""
            lines.append(f"| {r['name']} | {span(r, 'gb_s', 2)} | {r['gb_s'] / copy:.3f} | {bits} |")
    for operation, heading in (("save", "Saving"), ("load", "Loading")):
        rows = sorted((r for r in document["checkpoints"] if r["operation"] == operation), key=lambda r: r["seconds"])
        own = next(r for r in rows if r["name"].startswith("qcodec"))["seconds"]
        lines += [
            "", f"## {heading} {document['size'] / 2**30:.3g} GiB of moments", "",
            "| | seconds | times the fastest of qcodec | file, MiB |", "|---|---|---|---|"]
        for r in rows:
            size = f"{r['file_bytes'] / 2**20:.1f}" if r["file_bytes"] else ""
            lines.append(f"| {r['name']} | {span(r, 'seconds', 3)} | {r['seconds'] / own:.2f} | {size} |")
    peaks = [r["peak_extra_bytes"] for r in document["checkpoints"] if r.get("peak_extra_bytes") is not None]
    if peaks:
        lines += ["", f"qcodec's most memory beyond the arrays: {max(peaks) / 2**20:.1f} MiB."]
    lines += [
        "", "## How to read and repeat this", "",
        "`make bench` builds everything and writes this file; `Tests/Benchmarks/compare.py --help` has the options. "
        "Encoding and decoding are of one tensor of 4096 columns, a first moment except where the row says unsigned (u) "
        "or pair; *times memcpy* is relative to copying on as many threads in the same run. Peers run as their "
        "documentation calls them, into memory that exists where they take it. zfp and SZ3 are asked for an absolute "
        "error of 1/100 of the root mean square, which says little of small values. Checkpoints lie in "
        f"`{document['folder']}`; saving includes an fsync, loading goes into fresh memory and touches every page. "
        "Other formats store float32 itself; `qcodec adam8` stores 8 bits.", ""]
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--qcodec", type=pathlib.Path, default=ROOT / ".build" / "release" / "qcodec")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes of the state (default: 1 GiB)")
    parser.add_argument("--runs", type=int, default=7, help="rounds that count (default: 7)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every library that takes them (default: 2)")
    parser.add_argument("--dir", type=pathlib.Path, default="/dev/shm", help="where checkpoints are saved")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all figures")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--allow-missing", action="store_true", help="do without packages that are not installed")
    options = parser.parse_args()
    if options.runs < 1 or options.threads < 1 or options.size < 1 << 20:
        parser.error("--runs and --threads are to be 1 or more, --size 2^20 or more")
    return options


def main() -> int:
    options = parse()
    # Before torch is imported; bitsandbytes asks OpenMP.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    missing: set[str] = set()
    try:
        import torch

        torch.set_num_threads(options.threads)
    except ImportError:
        missing.add("torch")
    rows = max(1, options.size // (4 * COLUMNS * 2 * PAIRS))
    m, v = moments(rows)
    state = {f"{pair}.{kind}": (m if kind == "exp_avg" else v).copy()
             for pair in range(PAIRS) for kind in ("exp_avg", "exp_avg_sq")}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-", dir=options.dir))
    try:
        codec = collect(peers.CODECS, (m, v), missing)
        checkpoint = collect(peers.CHECKPOINTS, (state, folder), missing)
        if missing and not options.allow_missing:
            print(f"compare.py: not installed: {', '.join(sorted(missing))}; see --allow-missing", file=sys.stderr)
            return 1
        pair = folder / "pair.npz"
        np.savez(pair, exp_avg=m, exp_avg_sq=v)
        qcodec = QCodec(options.qcodec, pair, options, m.size)
        measure(codec, checkpoint, qcodec, options.runs)
        document = {
            "date": datetime.date.today().isoformat(), "machine": qcodec.rounds[0]["machine"],
            "kernels": qcodec.rounds[0]["kernels"], "versions": versions(options.qcodec), "missing": sorted(missing),
            "threads": options.threads, "runs": options.runs, "size": 4 * m.size * 2 * PAIRS, "elements": m.size,
            "folder": str(options.dir), "codecs": qcodec.codec_rows(m.size) + [peer_row(c) for c in codec],
            "checkpoints": qcodec.checkpoint_rows() + [peer_row(c) for c in checkpoint],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.results.write_text(markdown(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def versions(binary: pathlib.Path) -> dict[str, str]:
    result = {"qcodec": subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
              .removeprefix("qcodec ")}
    result["Python"] = sys.version.split()[0]
    for package in PACKAGES:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result


if __name__ == "__main__":
    sys.exit(main())
