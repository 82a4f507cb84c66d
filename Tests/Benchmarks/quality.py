"""Bits a parameter against the error of the update, of every preset under every lossless stage, on states of Adam.

    python Tests/Benchmarks/quality.py --qcodec .build/release/qcodec STATE.safetensors… [--report QUALITY.md] [--json F]

Bits are those of both moments' stored chunks (codes, scales, after the lossless stage), over tensors of 4,096 elements and
more, a parameter being one element of both. Errors are what `qcodec encode --measure-update` records of m/(√v + ε):
relative L2, and the largest of any element.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

PRESETS = ["adam8", "adam4", "paper8", "paper4", "live8", "live4"]
STAGES = ["none", "lz4", "zstd"]
QUALITIES = [0.6, 0.5, 0.35, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001]
SMALLEST = 4096


def encode(qcodec, source, target, *options):
    """Seconds of `encode` on one thread."""
    begin = time.perf_counter()
    subprocess.run([qcodec, "encode", source, "-o", target, "--threads", "1", "--quiet", *options], check=True)
    return time.perf_counter() - begin


def document(qcodec, *arguments):
    done = subprocess.run([qcodec, *arguments, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure(qcodec, source, folder, policy, stage, quality=None):
    """One point: policy, stage, bits a parameter, errors of the update."""
    target = Path(folder) / "state.qckpt"
    options = ["--policy", policy, "--compression", stage, "--measure-update"]
    encode(qcodec, source, target, *options, *([] if quality is None else ["--quality", str(quality)]))
    tensors = document(qcodec, "inspect", target)["tensors"]
    moments = [t for t in tensors if t["role"] in ("first_moment", "second_moment") and elements(t) >= SMALLEST]
    parameters = sum(elements(t) for t in moments if t["role"] == "first_moment")
    # Embeddings that live8 and live4 keep in 32 bits are counted in full; their updates are exact.
    error = document(qcodec, "verify", target, "--against", source)["update_error"]
    return {
        "policy": policy, "quality": quality, "compression": stage,
        "bits": 8 * sum(t["stored_bytes"] for t in moments) / parameters,
        "rel_l2": error["rel_l2"], "max_abs": error["max_abs"],
    }


def elements(tensor):
    count = 1
    for length in tensor["shape"]:
        count *= length
    return count


def curve(qcodec, source, qualities):
    """Every point of one state."""
    with tempfile.TemporaryDirectory() as folder:
        points = [measure(qcodec, source, folder, preset, stage) for preset in PRESETS for stage in STAGES]
        return points + [measure(qcodec, source, folder, "adamq", "zstd", quality) for quality in qualities]


def bits_at(points, error, key="rel_l2"):
    """Bits that adamq takes for an error, between two of its points on a line in log error."""
    import math

    own = sorted((p[key], p["bits"]) for p in points if p["policy"] == "adamq")
    for (low, more), (high, fewer) in zip(own, own[1:]):
        if low <= error <= high:
            share = (math.log(error) - math.log(low)) / (math.log(high) - math.log(low))
            return more + share * (fewer - more)
    return None


def table(points):
    lines = ["| policy | lossless stage | bits a parameter | update, relative L2 | largest | adamq at that L2 |",
             "|---|---|--:|--:|--:|--:|"]
    for p in sorted(points, key=lambda p: p["bits"]):
        name = p["policy"] if p["quality"] is None else f"adamq, {p['quality']}"
        own = None if p["policy"] == "adamq" else bits_at(points, p["rel_l2"])
        beside = "" if own is None else f"{own:.2f} bits, {100 * (own / p['bits'] - 1):+.0f} %"
        lines.append(
            f"| {name} | {p['compression']} | {p['bits']:.2f} | {p['rel_l2']:.4f} | {p['max_abs']:.3g} | {beside} |")
    return lines


def report(curves):
    lines = [
        "# Bits against the error of the update", "",
        "Written by `make quality` (quality.py): every preset under every lossless stage, and `adamq` over its whole range. A",
        "parameter has two moments; tensors under 4,096 elements are left out. Errors are those of m/(√v + 1e-8).",
    ]
    for name, points in curves.items():
        lines += ["", f"## {name}", "", *table(points)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", nargs="+", type=Path)
    parser.add_argument("--qcodec", default=".build/release/qcodec")
    parser.add_argument("--report", type=Path, help="where to write the tables")
    parser.add_argument("--json", type=Path, help="where to write the points")
    parser.add_argument("--quick", action="store_true", help="three points of adamq alone, to see that it works")
    options = parser.parse_args()
    qualities = [0.2, 0.1, 0.02] if options.quick else QUALITIES
    curves = {state.stem: curve(options.qcodec, state, qualities) for state in options.states}
    if options.json:
        options.json.write_text(json.dumps(curves, indent=2) + "\n")
    text = report(curves)
    if options.report:
        options.report.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
