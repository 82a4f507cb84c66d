"""Whether training that resumes from a compressed optimizer state goes on as from the exact one.

    python resume_demo.py [--before N] [--after N] [--threads N] [--runs N] [--dir DIR] [--json FILE] [--results FILE]
                          [--readme FILE] [--exact-only] [--smoke]

A character-level GPT is trained to mid-run. The run then goes on without a break; and, for every way of storing the
optimizer state, from the parameters as they were and the state as it comes back from a file, with the same data in the
same order. Only the optimizer state is stored: parameters are exact everywhere. Then the ways take turns at saving and
loading, and a round before the first does not count.

--exact-only leaves qcodec out, --smoke makes everything tiny: it shows that the demo works, not what it is for.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import logging
import os
import pathlib
import platform
import shutil
import statistics
import sys
import tempfile
import time
import warnings

# bitsandbytes says at length which kernels it does not find, and DCP that there is one process.
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

import torch  # noqa: E402

import resume_report  # noqa: E402
from report import renewed, versions  # noqa: E402
from resume_training import LICENCE, SMOKE, SOURCE, Corpus, Settings, Training, drift  # noqa: E402
from resume_ways import Way, one_bit_off, peer_ways, qcodec_ways, remove, tensors  # noqa: E402

PACKAGES = ["qcodec", "torch", "bitsandbytes", "safetensors", "numpy"]
LAST = 20  # steps whose mean loss is reported


def machine() -> dict:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return {"cpu": cpu, "processors": os.cpu_count(), "os": " ".join(
        (platform.system(), platform.release(), platform.machine()))}


def stored(way: Way, state: dict, folder: pathlib.Path) -> dict:
    """A state as it comes back from a file; of exact ways it is checked."""
    path = folder / "state"
    way.write(state, path)
    result = way.read(path)
    remove(path)
    before, after = tensors(state), tensors(result)
    if before.keys() != after.keys() or any(before[key].shape != after[key].shape for key in before):
        sys.exit(f"resume_demo.py: {way.name} gives other tensors than it was given")
    if way.exact and not all(before[key].equal(after[key]) for key in before):
        sys.exit(f"resume_demo.py: {way.name} is to be exact and is not")
    return result


class Demo:
    """The run to mid-run, its exact end, and what every way is compared by."""

    def __init__(self, corpus: Corpus, settings: Settings):
        self.corpus, self.settings = corpus, settings
        training = Training(corpus, settings)
        self.losses = training.run(settings.before)
        self.snapshot, self.start = training.snapshot(), training.parameters()
        self.exact = self.finish(training, "exact, without a break", None)
        self.rows = [self.exact]

    def finish(self, training: Training, name: str, against: dict | None) -> dict:
        """The row of a run that is taken to its end."""
        start = time.perf_counter()
        losses = training.run(self.settings.after)
        took = time.perf_counter() - start
        ended = training.parameters()
        if against is None:
            self.end = ended
        compared = against["losses"] if against else losses
        print(f"{name}: {took / len(losses):.3f} s a step", file=sys.stderr)
        return {
            "name": name, "losses": losses, "validation": training.validation_loss(),
            "largest_gap": max(abs(a - b) for a, b in zip(losses, compared, strict=True)),
            "last": statistics.fmean(losses[-LAST:]), "drift": drift(ended, self.end, self.start)}

    def resume(self, name: str, state: dict | None) -> None:
        training = Training.resumed(self.snapshot, state, self.corpus, self.settings)
        self.rows.append(self.finish(training, name, self.exact))

    def row(self, name: str) -> dict:
        for row in self.rows:
            if row["name"] == name:
                return row
        self.rows.append({"name": name, "losses": None})
        return self.rows[-1]


def measure(ways: list[Way], state: dict, folder: pathlib.Path, runs: int) -> dict[str, dict]:
    """Seconds and bytes of every way; they take turns, so that a busy machine slows all of them alike."""
    figures: dict[str, dict] = {way.name: {"save": [], "load": []} for way in ways}
    path = folder / "state"
    for number in range(runs + 1):
        for way in ways:
            start = time.perf_counter()
            way.write(state, path)
            saved = time.perf_counter()
            way.read(path)
            loaded = time.perf_counter()
            if number > 0:
                figures[way.name]["save"].append(saved - start)
                figures[way.name]["load"].append(loaded - saved)
            figures[way.name]["file_bytes"] = sum(file.stat().st_size for file in way.files(path))
            remove(path)
    return figures


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--before", type=int, help="steps to mid-run (default: 300)")
    parser.add_argument("--after", type=int, help="steps after resuming (default: 150)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--runs", type=int, default=5, help="rounds of saving and loading that count (default: 5)")
    parser.add_argument("--dir", type=pathlib.Path, default="/dev/shm", help="where states are saved")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all figures")
    parser.add_argument(
        "--results", type=pathlib.Path,
        help="a file for the report, with resume.svg beside it (default: RESUME.md here, none with --smoke)")
    parser.add_argument("--readme", type=pathlib.Path, help="a file whose table of resuming is to be renewed")
    parser.add_argument("--exact-only", action="store_true", help="leave qcodec out")
    parser.add_argument("--smoke", action="store_true", help="a tiny model and few steps")
    options = parser.parse_args()
    options.settings = SMOKE if options.smoke else Settings()
    for name in ("before", "after"):
        if getattr(options, name) is not None:
            options.settings = dataclasses.replace(options.settings, **{name: getattr(options, name)})
    if min(options.settings.before, options.settings.after, options.threads, options.runs) < 1:
        parser.error("steps, threads and rounds are to be 1 or more")
    # Before the training, which takes minutes.
    if options.readme and any(options.readme.read_text().count(mark) != 1 for mark in resume_report.MARKS):
        parser.error(f"{options.readme} is to have the marks {' and '.join(resume_report.MARKS)}, once each")
    if options.results is None and not options.smoke:
        options.results = pathlib.Path(__file__).with_name("RESUME.md")
    return options


def main() -> int:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    try:
        ways = peer_ways() + ([] if options.exact_only else qcodec_ways())
    except ModuleNotFoundError as error:
        print(f"resume_demo.py: not installed: {error.name}; see --exact-only", file=sys.stderr)
        return 1
    text, files = Corpus.installed()
    corpus = Corpus(text)
    demo = Demo(corpus, options.settings)
    state = demo.snapshot["optimizer"]
    demo.resume("exact, moments one bit off", one_bit_off(state, options.settings.seed))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="resume-", dir=options.dir))
    try:
        for way in ways:
            loaded = stored(way, state, folder)
            if way.trained:
                demo.resume(way.name, loaded)
            else:
                demo.row(way.name)
        demo.resume("dropped: a fresh optimizer", None)
        for name, figures in measure(ways, state, folder, options.runs).items():
            demo.row(name).update(figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {
        "date": datetime.date.today().isoformat(), "machine": machine(), "versions": versions(PACKAGES),
        "threads": options.threads, "runs": options.runs, "folder": str(options.dir),
        "last": min(LAST, options.settings.after),
        "settings": dataclasses.asdict(options.settings),
        "data": {"source": SOURCE, "licence": LICENCE, "files": files, "characters": len(text), "sha256": corpus.sha256,
                 "vocabulary": corpus.vocabulary, "validation_characters": len(corpus.validation)},
        "parameters": sum(p.numel() for p in demo.start), "losses": demo.losses, "rows": demo.rows,
    }
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.results:
        plot = options.results.with_name("resume.svg")
        plot.write_text(resume_report.plot(document))
        options.results.write_text(resume_report.markdown(document, plot.name))
    if options.readme:
        options.readme.write_text(
            renewed(options.readme.read_text(), resume_report.readme_table(document), resume_report.MARKS))
    print(resume_report.table(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
