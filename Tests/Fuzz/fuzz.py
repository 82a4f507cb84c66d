"""Runs fuzz targets over their corpora and then for some time, and tells how many inputs and edges there were.

    python fuzz.py --binary ../../.build/fuzz/release/Fuzz --work ../../.build/fuzz-work --seconds 600 [TARGET ...]

WORK/corpus/<target> keeps what was found to be new, WORK/finds/<target> the inputs that a target failed on. Exit status 1 if
there was any.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# By target, which words libFuzzer is to try.
DICTIONARIES = {"checkpoint": "checkpoint", "base": "checkpoint", "directory": "checkpoint", "reference": "checkpoint", "safetensors": "json",
                "policy": "json", "policy-text": "yaml", "npy": "npy"}
TARGETS = ("checkpoint", "base", "directory", "stream", "safetensors", "npy", "policy", "policy-text", "kernels", "pairs", "bounds",
           "optimizers", "interface", "reference")
# The longest inputs: a single one is to take milliseconds.
LONGEST = {"checkpoint": 19_000, "base": 19_000, "reference": 19_000, "directory": 8000, "safetensors": 4000, "npy": 4000, "pairs": 1000,
           "bounds": 300, "optimizers": 1000, "interface": 1000}


def command(options, target, seconds):
    work = options.work
    for folder in ("corpus", "finds"):
        (work / folder / target).mkdir(parents=True, exist_ok=True)
    words = DICTIONARIES.get(target)
    return [
        str(options.binary), str(work / "corpus" / target), str(work / "seeds" / target),
        *([f"-dict={HERE / 'Dictionaries' / words}.dict"] if words else []), f"-max_len={LONGEST.get(target, 1500)}",
        f"-max_total_time={seconds}", f"-seed={options.seed}", "-timeout=60", "-rss_limit_mb=3000", "-print_final_stats=1",
        "-print_funcs=0", f"-artifact_prefix={work / 'finds' / target}/"]


def run(options, target, seconds):
    """(target, exit status, inputs, edges, what it printed)."""
    environment = {**os.environ, "QCODEC_FUZZ_TARGET": target, "QCODEC_FUZZ_REFERENCE": str(HERE / "reference.py")}
    environment.setdefault("QCODEC_PYTHON", sys.executable)
    # A crash is the fuzzer's to report.
    environment["SWIFT_BACKTRACE"] = "enable=no"
    done = subprocess.run(command(options, target, seconds), env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, errors="replace")
    inputs = re.search(r"number_of_executed_units: *(\d+)", done.stdout)
    edges = re.findall(r"cov: (\d+)", done.stdout)
    return (target, done.returncode, int(inputs[1]) if inputs else 0, int(edges[-1]) if edges else 0, done.stdout)


def report(target, status, inputs, edges, text):
    print(f"{target:12} {inputs:10} inputs {edges:7} edges", "" if status == 0 else f"FAILED with {status}", flush=True)
    if status:
        print(text[-6000:], file=sys.stderr, flush=True)
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all where none is given")
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, required=True, help="of all targets together, where --each is not given")
    parser.add_argument("--each", action="store_true", help="--seconds are those of one target")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's choices; 0, the default, for another every time")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    options = parser.parse_args()
    options.targets = options.targets or TARGETS
    if strangers := [target for target in options.targets if target not in TARGETS]:
        parser.error(f"no targets: {strangers}; targets are {' '.join(TARGETS)}")
    subprocess.run([sys.executable, HERE / "seeds.py", options.work / "seeds"], check=True)
    seconds = options.seconds if options.each else max(1, options.seconds * options.jobs // len(options.targets))
    start, failed = time.monotonic(), False
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda target: run(options, target, seconds), options.targets):
            failed |= report(*result) != 0
    print(f"{time.monotonic() - start:.0f} s", "; finds lie in " + str(options.work / "finds") if failed else "")
    sys.exit(failed)


if __name__ == "__main__":
    main()
