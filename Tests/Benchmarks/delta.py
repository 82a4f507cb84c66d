"""How much smaller checkpoints are that refer to the one before: real runs, saved 1, 10 and 100 steps apart.

    python delta.py --qcodec PATH [--folder DIR] [--readme FILE] [--json FILE] [--smoke]

Two runs (delta_training.py): a character-level GPT under AdamW, in which everything moves, and word embeddings under SparseAdam,
of which a step touches few rows. Each state is encoded under adam8 with and without --base; both decode to the same bytes, and
the flattened file is the one without. Sizes are the stored bytes of inspect --json by role; times are medians of the command's
wall time. The difference of parameters is also taken as exclusive or, for comparison, by NumPy and the same compressors.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import lz4.block
import numpy as np
import torch
import zstandard
from safetensors.torch import save_file

import delta_training
from report import renewed

MARKS = ("<!-- Delta: written by make delta-bench. -->", "<!-- End of delta. -->")
STEPS = (1, 10, 100)
CHUNK = 1 << 18  # float32 in a chunk
STAGES = {
    "lz4": lambda data: lz4.block.compress(data, store_size=False),
    "zstd": lambda data: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data),
}
ROLES = {"params": "parameter", "exp_avg": "first_moment", "exp_avg_sq": "second_moment"}


def zigzag(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    step = (new - old).view(np.int32)
    return (step << 1 ^ step >> 31).view(np.uint32)


WAYS = {"plain": lambda new, old: new, "subtracted": zigzag, "exclusive or": np.bitwise_xor}


def parameters(old: dict, new: dict, stage: str) -> dict[str, float]:
    """Bytes a byte of parameters, as byte planes after a stage: plain, subtracted and as exclusive or."""
    sizes, total = dict.fromkeys(WAYS, 0), 0
    for name in (name for name in new if name.startswith("params.")):
        before, after = (state[name].numpy().ravel().view(np.uint32) for state in (old, new))
        for at in range(0, len(after), CHUNK):
            a, b = before[at:at + CHUNK], after[at:at + CHUNK]
            total += b.nbytes
            for way, take in WAYS.items():
                planes = np.ascontiguousarray(take(b, a).view(np.uint8).reshape(-1, 4).T).tobytes()
                sizes[way] += min(b.nbytes, len(STAGES[stage](planes)))
    return {way: size / total for way, size in sizes.items()}


class Command:
    """The command under measurement."""

    def __init__(self, path: pathlib.Path, runs: int):
        self.path, self.runs = path, runs

    def __call__(self, *arguments: object) -> bytes:
        return subprocess.run([self.path, *map(str, arguments)], check=True, capture_output=True).stdout

    def seconds(self, *arguments: object) -> float:
        times = []
        for _ in range(self.runs):
            start = time.perf_counter()
            self(*arguments)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def sizes(self, path: pathlib.Path) -> dict[str, int]:
        """Stored bytes by role, and of the file."""
        document = json.loads(self("inspect", path, "--json"))
        sizes = dict.fromkeys(ROLES.values(), 0)
        for tensor in document["tensors"]:
            role = ROLES.get(tensor["name"].split(".")[0])
            if role:
                sizes[role] += tensor["stored_bytes"]
        return {**sizes, "file": document["file_bytes"]}


def measure(run: str, start: int, qcodec: Command, folder: pathlib.Path, smoke: bool) -> list[dict]:
    rows, states = [], delta_training.RUNS[run](start, list(STEPS[:2] if smoke else STEPS), smoke)
    _, first = next(states)
    save_file(first, folder / "0.safetensors")
    for stage in STAGES:
        qcodec("encode", folder / "0.safetensors", "-o", folder / f"0.{stage}.qckpt", "--compression", stage)
    for step, state in states:
        source = folder / "source.safetensors"
        save_file(state, source)
        for stage in STAGES:
            base, full, delta = (folder / f"{name}.qckpt" for name in (f"0.{stage}", "full", "delta"))
            options = ("--compression", stage, "--quiet")
            encode = qcodec.seconds("encode", source, "-o", full, *options)
            encode_delta = qcodec.seconds("encode", source, "-o", delta, "--base", base, *options)
            decode, decode_delta = (
                qcodec.seconds("decode", file, "-o", folder / f"{file.stem}.safetensors", "--quiet") for file in (full, delta))
            assert filecmp.cmp(folder / "full.safetensors", folder / "delta.safetensors", shallow=False)
            qcodec("flatten", delta, "-o", folder / "flat.qckpt", "--quiet")
            assert filecmp.cmp(full, folder / "flat.qckpt", shallow=False)
            rows.append({
                "run": run, "start": start, "steps": step - start, "stage": stage, "full": qcodec.sizes(full),
                "delta": qcodec.sizes(delta), "parameters": parameters(first, state, stage),
                "seconds": {"encode": encode, "encode_delta": encode_delta, "decode": decode, "decode_delta": decode_delta}})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def megabytes(size: int) -> str:
    return f"{size / 1e6:.2f}"


def table(rows: list[dict]) -> str:
    lines = [
        "| run | steps apart | stage | file, MB | with a base | of it parameters | first moments | second moments "
        "| encode, decode time |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        full, delta, seconds = row["full"], row["delta"], row["seconds"]
        parts = " | ".join(f"{megabytes(delta[role])} of {megabytes(full[role])}" for role in ROLES.values())
        times = f"{seconds['encode_delta'] / seconds['encode']:.1f}, {seconds['decode_delta'] / seconds['decode']:.1f} times"
        lines.append(
            f"| {row['run']} | {row['steps']} | {row['stage']} | {megabytes(full['file'])} | {megabytes(delta['file'])} "
            f"({delta['file'] / full['file']:.0%}) | {parts} | {times} |")
    lines += ["", "Parameters alone, bytes that are left of 100:", "",
              "| run | steps apart | stage | plain | subtracted | exclusive or |", "|---|---|---|---|---|---|"]
    for row in rows:
        values = " | ".join(f"{100 * row['parameters'][way]:.1f}" for way in WAYS)
        lines.append(f"| {row['run']} | {row['steps']} | {row['stage']} | {values} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qcodec", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, help="where states and checkpoints are put; they stay there")
    parser.add_argument("--readme", type=pathlib.Path, help="a file whose part between the marks becomes the table")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=5, help="of each command that is timed")
    parser.add_argument("--smoke", action="store_true", help="everything tiny: shows that it works, not what it is for")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        qcodec = Command(options.qcodec, 1 if options.smoke else options.runs)
        starts = {"gpt": 4, "embeddings": 4} if options.smoke else {"gpt": 200, "embeddings": 2000}
        rows = [row for run, start in starts.items() for row in measure(run, start, qcodec, folder, options.smoke)]
    text = table(rows)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.readme:
        options.readme.write_text(renewed(options.readme.read_text(), text, MARKS))


if __name__ == "__main__":
    main()
