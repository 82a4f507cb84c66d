"""Checkpoints larger than memory: written, verified and sliced, with the time and the memory that each takes.

    python large.py --prefix PREFIX [--scale S] [--only KIND ...] [--folder DIR] [--json FILE]

PREFIX is where `make install` put the library. The full size needs 10 GB of disk and half an hour at most; --scale makes
everything smaller in proportion. Exit status 1 where something is not as it should be, or takes more memory than it may.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

GIB = 1 << 30
# A process inherits the peak of the one it was forked from; a small one in between keeps that of this script out.
PEAK = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
# Kind, what it is, elements or tensors at full scale, actions, and the memory that each may take at any scale: a few chunks a
# thread for large tensors, and for many tensors a few times what the directory itself has.
KINDS = [
    ("pair", "20 GiB of Adam moments, 2.7e9 elements each, adam8", 5 * GIB // 2, ("write", "verify", "rows"), 128 << 20),
    ("momentum", "one tensor of 2^32 + 12,345 elements, 4 bits", (1 << 32) + 12_345, ("write", "verify", "rows"), 128 << 20),
    ("many", "1,000,000 tensors", 1_000_000, ("write", "verify"), 1280 << 20),
    ("names", "10,000 tensors of 32 dims, names of 64 KiB", 10_000, ("write", "verify"), 2048 << 20),
]


def build(prefix: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The program, compiled against the installed header and library."""
    program = folder / "large"
    subprocess.run(
        ["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-O2", "-I", prefix / "include",
         pathlib.Path(__file__).with_name("large.c"), "-L", prefix / "lib", f"-Wl,-rpath,{prefix / 'lib'}", "-lcqcodec",
         "-o", program], check=True)
    return program


def run(program: pathlib.Path, *arguments: object) -> dict:
    """What the program prints, and its peak of resident memory."""
    command = [sys.executable, "-I", "-S", "-c", PEAK, program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    *lines, last = done.stdout.splitlines()
    status, kibibytes = map(int, last.split())
    if status or done.returncode:
        sys.exit(f"large.py: {' '.join(map(str, arguments))} failed with status {status}")
    return {**json.loads(lines[0]), "peak_bytes": kibibytes * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prefix", type=pathlib.Path, required=True, help="where make install put the library")
    parser.add_argument("--scale", type=float, default=1, help="of the sizes; 1 unless told")
    kinds = [kind for kind, *_ in KINDS]
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds, metavar="KIND", help=f"of {', '.join(kinds)}")
    parser.add_argument("--folder", type=pathlib.Path, help="where files are written; a temporary one unless told")
    parser.add_argument("--json", type=pathlib.Path, help="writes what was measured there")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        program = build(options.prefix.resolve(), folder)
        for kind, title, full, actions, limit in KINDS:
            if kind not in options.only:
                continue
            count = max(1, int(full * options.scale))
            path = folder / f"{kind}.qckpt"
            for action in actions:
                result = run(program, action, kind, path, count)
                results.append({"kind": kind, "action": action, "count": count, **result})
                print(f"{title if options.scale == 1 else f'{kind} {count:,}'}: {action} {result['seconds']:.1f} s, "
                      f"{result['peak_bytes'] / 2**20:.0f} MiB", flush=True)
                if result["peak_bytes"] > limit:
                    sys.exit(f"large.py: {kind} {action} took {result['peak_bytes']:,} bytes of memory, above {limit:,}")
            results[-1]["file_bytes"] = path.stat().st_size
            os.unlink(path)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
