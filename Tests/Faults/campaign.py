"""The long run: `make faults TRIALS=n`. Every way to write a file is killed and made to fail, over and over.

Prints what was tried, what was there afterwards, and what was lost; the exit status is 1 where anything was.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import faults

# Set where file systems can be mounted that nobody else sees.
MOUNTS = "QFAULT_MOUNTS"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="kills at random times, over all ways; the rest follows")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ways", nargs="*", choices=sorted(faults.WAYS), default=list(faults.WAYS))
    parser.add_argument("--folder", help="where to write; the kind of its file system matters")
    parser.add_argument("--small-disks", type=int, default=0, metavar="N", help="nothing but N small disks, which are mounted")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if options.small_disks and os.environ.get(MOUNTS) is None:
        prefix = faults.mounting()
        if prefix is None:
            print("mounting a tmpfs is not permitted here (as root, or in a user namespace)", file=sys.stderr)
            return 3
        return subprocess.run([*prefix, sys.executable, *sys.argv], env=os.environ | {MOUNTS: "1"}).returncode
    campaign = faults.Campaign(options.seed)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="qcodec-faults-", dir=options.folder) as name:
        folder = pathlib.Path(name)
        shim = faults.compile_shim(folder)
        if options.small_disks:
            for way in ("encode", "decode", "qcodec.save"):
                (folder / way).mkdir()
                campaign.small_disks(folder / way, faults.WAYS[way], shim, options.small_disks)
        else:
            try:
                run(campaign, folder, shim, options)
            except KeyboardInterrupt:
                print("interrupted; so far:", file=sys.stderr)
    report(campaign, time.monotonic() - begun, options)
    return 1 if campaign.losses else 0


def run(campaign: faults.Campaign, folder: pathlib.Path, shim: pathlib.Path, options: argparse.Namespace) -> None:
    each = -(-options.trials // len(options.ways))
    for name in options.ways:
        bench = faults.Bench(folder / name.replace(" ", "-"), faults.WAYS[name], shim)
        print(f"{name}: a save takes {bench.seconds:.3f} s", file=sys.stderr, flush=True)
        campaign.kill_at_random(bench, each)
        campaign.kill_at_calls(bench, each)
        campaign.faults(bench, 3 * each)
        campaign.full_from(bench, each // 5)
        if bench.way.is_command:
            campaign.end_politely(bench, each // 5)
        campaign.crowd(bench, each // 10)


def report(campaign: faults.Campaign, seconds: float, options: argparse.Namespace) -> None:
    kinds: collections.Counter[str] = collections.Counter()
    for name, count in campaign.trials.items():
        found = ", ".join(f"{after}: {n}" for (key, after), n in sorted(campaign.outcomes.items()) if key == name)
        print(f"{count:6} {name} ({found})")
        kinds[name.partition(",")[0] if not name.startswith("SIG") else "SIGINT, SIGTERM, SIGHUP"] += count
    print()
    for kind, count in kinds.items():
        print(f"{count:6} {kind}")
    print(
        f"{sum(kinds.values()):6} trials, {len(campaign.losses)} losses, seed {campaign.seed}, {seconds:.0f} s, "
        f"{platform.system()} {platform.release()}")
    for loss in campaign.losses:
        print(f"LOST: {loss}")
    if options.json:
        document = {"trials": dict(campaign.trials), "losses": campaign.losses, "seed": campaign.seed, "seconds": seconds}
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
