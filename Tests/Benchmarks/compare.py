"""How fast qcodec is beside other codecs and checkpoint formats, on this machine, in one run.

    python compare.py [--qcodec PATH] [--size BYTES] [--runs N] [--threads N] [--dir DIR] [--json FILE] [--results FILE]
                      [--readme FILE] [--elements N] [--codec-threads N] [--quick] [--allow-missing]

Moments are made up, seeded and heavy-tailed. Codecs encode a first moment of --elements on --codec-threads (qcodec:
bench's rows on the pair); checkpoint formats save and load a state of --size bytes on --threads, in --dir: 16 tensors
of 4096 columns, first and second moments in turn. Peers and qcodec take turns, round by round, so that a busy machine
slows all of them alike; a round before the first does not count. Saving ends with an fsync, loading with a touch of
every page.

A package that is missing is named; that ends the run with status 1 unless --allow-missing is given. --quick leaves out
what needs torch and is small: it shows that the comparison works, not how fast anything is.
"""

from __future__ import annotations

import argparse
import datetime
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
from collections.abc import Callable

# torchao and bitsandbytes say at length which kernels they do not find, and DCP that there is one process.
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402

import peers  # noqa: E402
from report import count, renewed, versions  # noqa: E402

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

    # Four chunks of a moment: a state of them has no chunk that repeats itself, and codecs take no time.
    CHECKPOINT_ELEMENTS = 1 << 20

    def __init__(self, binary: pathlib.Path, pair: pathlib.Path, options: argparse.Namespace, elements: int):
        common = [str(binary), "bench", str(pair), "--json", "--runs", "3"]
        self.codec_command = [*common, "--threads", str(options.codec_threads), "--elements", str(elements)]
        self.checkpoint_command = [
            *common, "--threads", str(options.threads), "--elements", str(min(elements, self.CHECKPOINT_ELEMENTS)),
            "--checkpoint", str(options.dir), "--size", str(options.size),
        ]
        self.rounds: list[dict] = []

    def run(self) -> None:
        self.rounds.append(self.output(self.codec_command) | {
            "checkpoint": self.output(self.checkpoint_command)["checkpoint"]})

    @staticmethod
    def output(command: list[str]) -> dict:
        done = subprocess.run(command, capture_output=True)
        if done.returncode != 0:
            sys.exit(f"compare.py: {done.stderr.decode(errors='replace').strip()}")
        return json.loads(done.stdout)

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


def measure(
    groups: list[tuple[int, list[peers.Measurement]]], qcodec: QCodec, runs: int, set_threads: Callable[[int], object],
) -> None:
    """Rounds of everything in turn; each group on its number of threads."""
    for number in range(runs + 1):
        print(f"round {number} of {runs}", file=sys.stderr)
        for threads, measurements in groups:
            set_threads(threads)
            for measurement in measurements:
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
        f"{', '.join(document['kernels'])}; codecs on {count(document['codec_threads'], 'thread')}, checkpoints on "
        f"{count(document['threads'], 'thread')}; medians of {count(document['runs'], 'round')} (least and greatest); "
        "the rows of qcodec are, each round, medians of 3 runs.", "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".",
    ]
    if document["missing"]:
        lines.append(f"Not measured, for their packages are missing: {', '.join(document['missing'])}.")
    headings = {"copy": "Copying", "read": "Reading", "encode": "Encoding", "decode": "Decoding"}
    for operation, heading in headings.items():
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
        f"Encoding and decoding are of one tensor of {document['elements']:,} elements, a first moment except where "
        "the row says unsigned (u) or pair; *times memcpy* is relative to copying on as many threads in the same run. "
        "Peers run as their documentation calls them, into memory that exists where they take it. zfp with a fixed "
        "accuracy and SZ3 are asked for an absolute error of 1/100 of the root mean square, which says little of small "
        f"values. Checkpoints lie in `{document['folder']}`; saving includes an fsync, loading goes into fresh memory "
        "and touches every page. Other formats store float32 itself; `qcodec adam8` stores 8 bits.", ""]
    return "\n".join(lines)


# What the README shows of codecs and of checkpoints; the rest is in RESULTS.md.
README_CODECS = [
    "qcodec dynamic s8 block256", "bitsandbytes dynamic 8-bit, block 256", "torchao 8-bit, block 256, compiled",
    "qcodec normal s4 block128", "bitsandbytes nf4, block 128", "torchao 4-bit, block 128, compiled",
    "qcodec log u8 block512", "qcodec linear-nozero u4 rank1", "qcodec adam8 pair", "qcodec adam4 pair",
    "zfp, fixed accuracy", "SZ3",
]
README_CHECKPOINTS = [
    "qcodec adam8, lz4", "safetensors.numpy", "torch.save, torch.load", "torch.distributed.checkpoint"]
MARKS = ("<!-- Speed: written by make bench. -->", "<!-- End of speed. -->")


def readme_table(document: dict) -> str:
    """The ratios that the README shows: codecs to memcpy, checkpoint formats to qcodec."""
    codecs = {(r["name"], r["operation"]): r["gb_s"] for r in document["codecs"]}
    formats = {(r["name"], r["operation"]): r["seconds"] for r in document["checkpoints"]}
    copy = next(r for r in document["codecs"] if r["name"].startswith("memcpy"))["gb_s"]
    lines = [
        f"{document['date']}, {document['machine']['cpu']}, kernels {', '.join(document['kernels'])}. "
        f"{document['elements']:,} float32 on {count(document['codec_threads'], 'thread')}, without statistics; memcpy "
        f"copies {copy:.1f} GB/s.", "",
        "| times memcpy | encode | decode |", "|---|---|---|"]
    for name in README_CODECS:
        if (name, "encode") in codecs:
            lines.append(f"| {name} | {codecs[name, 'encode'] / copy:.2f} | {codecs[name, 'decode'] / copy:.2f} |")
    lines += [
        "", f"{document['size'] / 2**30:.3g} GiB of moments in memory, {count(document['threads'], 'thread')}, to "
        f"`{document['folder']}` with fsync, and into fresh memory.", "",
        "| seconds (times that of qcodec) | save | load |", "|---|---|---|"]
    for name in README_CHECKPOINTS:
        if (name, "save") in formats:
            save, load = (
                f"{formats[name, what]:.2f} ({formats[name, what] / formats[README_CHECKPOINTS[0], what]:.2f})"
                for what in ("save", "load"))
            lines.append(f"| {name} | {save} | {load} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--qcodec", type=pathlib.Path, default=ROOT / ".build" / "release" / "qcodec")
    parser.add_argument("--size", type=int, help="bytes of the state (default: 1 GiB)")
    parser.add_argument("--elements", type=int, help="elements of the moment that codecs encode (default: 2^24)")
    parser.add_argument("--runs", type=int, help="rounds that count (default: 7)")
    parser.add_argument("--threads", type=int, default=2, help="threads that save and load (default: 2)")
    parser.add_argument("--codec-threads", type=int, default=1, help="threads that encode and decode (default: 1)")
    parser.add_argument("--dir", type=pathlib.Path, default="/dev/shm", help="where checkpoints are saved")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all figures")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--readme", type=pathlib.Path, help="a file whose table of speed is to be renewed")
    parser.add_argument("--allow-missing", action="store_true", help="do without packages that are not installed")
    parser.add_argument(
        "--quick", action="store_true",
        help="4 MiB, 2^16 elements and one round unless they are given, and nothing that needs torch")
    options = parser.parse_args()
    options.size = options.size or (4 << 20 if options.quick else 1 << 30)
    options.elements = options.elements or 1 << (16 if options.quick else 24)
    options.runs = options.runs or (1 if options.quick else 7)
    if min(options.runs, options.threads, options.codec_threads) < 1 or options.size < 1 << 20:
        parser.error("--runs and threads are to be 1 or more, --size 2^20 or more")
    if options.elements < COLUMNS or options.elements % COLUMNS:
        parser.error(f"--elements is to be a multiple of {COLUMNS}")
    return options


def main() -> int:
    options = parse()
    # Before torch is imported; bitsandbytes asks OpenMP.
    os.environ["OMP_NUM_THREADS"] = str(options.codec_threads)
    missing: set[str] = set()
    set_threads = (lambda threads: None) if options.quick else torch_threads(missing)
    # What is compiled is compiled for a number of threads.
    set_threads(options.codec_threads)
    rows = max(1, options.size // (4 * COLUMNS * 2 * PAIRS))
    m, v = moments(max(rows, options.elements // COLUMNS))
    state = {f"{pair}.{kind}": (m if kind == "exp_avg" else v)[:rows].copy()
             for pair in range(PAIRS) for kind in ("exp_avg", "exp_avg_sq")}
    m, v = (x[:options.elements // COLUMNS] for x in (m, v))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-", dir=options.dir))
    try:
        kinds = (peers.CODECS, peers.CHECKPOINTS)
        if options.quick:
            kinds = tuple({name: kind[name] for name in kind if name not in peers.TORCH} for kind in kinds)
        codec = collect(kinds[0], (m, v), missing)
        checkpoint = collect(kinds[1], (state, folder), missing)
        if missing and not options.allow_missing:
            print(f"compare.py: not installed: {', '.join(sorted(missing))}; see --allow-missing", file=sys.stderr)
            return 1
        pair = folder / "pair.npz"
        np.savez(pair, exp_avg=m, exp_avg_sq=v)
        qcodec = QCodec(options.qcodec, pair, options, m.size)
        measure([(options.codec_threads, codec), (options.threads, checkpoint)], qcodec, options.runs, set_threads)
        document = {
            "date": datetime.date.today().isoformat(), "machine": qcodec.rounds[0]["machine"],
            "kernels": qcodec.rounds[0]["kernels"], "missing": sorted(missing),
            "versions": {"qcodec": qcodec_version(options.qcodec)} | versions(PACKAGES),
            "codec_threads": options.codec_threads, "threads": options.threads, "runs": options.runs,
            "size": 4 * rows * COLUMNS * 2 * PAIRS, "elements": m.size, "folder": str(options.dir),
            "codecs": qcodec.codec_rows(m.size) + [peer_row(c) for c in codec],
            "checkpoints": qcodec.checkpoint_rows() + [peer_row(c) for c in checkpoint],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.results.write_text(markdown(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.readme:
        options.readme.write_text(renewed(options.readme.read_text(), readme_table(document), MARKS))
    return 0


def torch_threads(missing: set[str]) -> Callable[[int], object]:
    """What sets the threads of torch; without torch it is missing and there is nothing to set."""
    try:
        import torch
    except ImportError:
        missing.add("torch")
        return lambda threads: None
    return torch.set_num_threads


def qcodec_version(binary: pathlib.Path) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip().removeprefix("qcodec ")


if __name__ == "__main__":
    sys.exit(main())
