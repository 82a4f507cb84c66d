"""Tells how many lines of each module of Sources/ the fuzz corpora reach:

    python coverage.py --binary ../../.build/fuzz-coverage/release/Fuzz --work ../../.build/fuzz-work [TARGET ...]

The program is built for coverage (`make fuzz-coverage`); inputs are the seeds and what WORK/corpus keeps. llvm-profdata and
llvm-cov are those of the Swift toolchain.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys

from fuzz import HERE, TARGETS

SOURCES = HERE.parents[1] / "Sources"


def tool(name):
    """A program of the toolchain, which lies beside swift."""
    swift = shutil.which("swift")
    beside = pathlib.Path(swift).resolve().with_name(name) if swift else None
    return beside if beside and beside.exists() else shutil.which(name) or sys.exit(f"coverage.py: there is no {name}")


def run(options, target, profile):
    """Gives the target every input once."""
    environment = {**os.environ, "QCODEC_FUZZ_TARGET": target, "QCODEC_FUZZ_REFERENCE": str(HERE / "reference.py"),
                   "LLVM_PROFILE_FILE": str(profile), "SWIFT_BACKTRACE": "enable=no"}
    environment.setdefault("QCODEC_PYTHON", sys.executable)
    kept = options.work / "corpus" / target
    kept.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([options.binary, kept, options.work / "seeds" / target, "-runs=0", "-rss_limit_mb=3000"],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode:
        sys.exit(f"coverage.py: {target} failed with {done.returncode}\n{done.stdout[-3000:]}")


def modules(options, profile):
    """Lines and lines reached of the modules that the program has."""
    command = [tool("llvm-cov"), "export", "-summary-only", f"-instr-profile={profile}", options.binary]
    files = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["data"][0]["files"]
    found = collections.defaultdict(lambda: [0, 0])
    for file in files:
        path = pathlib.Path(file["filename"])
        if path.is_relative_to(SOURCES):
            lines = file["summary"]["lines"]
            found[path.relative_to(SOURCES).parts[0]][0] += lines["count"]
            found[path.relative_to(SOURCES).parts[0]][1] += lines["covered"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all where none is given")
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    subprocess.run([sys.executable, HERE / "seeds.py", options.work / "seeds"], check=True)
    profiles = options.work / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    profiles.mkdir(parents=True)
    for target in options.targets or TARGETS:
        run(options, target, profiles / f"{target}.profraw")
    merged = profiles / "all.profdata"
    subprocess.run([tool("llvm-profdata"), "merge", "-o", merged, *profiles.glob("*.profraw")], check=True)
    found = modules(options, merged)
    found["all"] = [sum(column) for column in zip(*found.values())]
    for module, (lines, covered) in found.items():
        print(f"{module:16} {covered:6} of {lines:6} lines {covered / lines:7.1%}")


if __name__ == "__main__":
    main()
