"""The comparison of `make compare`, on the shipped state."""

import re
import subprocess
import sys


def test_the_presets_are_closest_at_their_size(root, binary):
    script, state = root / "Tests" / "Benchmarks" / "update_error.py", root / "Fixtures" / "real" / "gpt-char.safetensors"
    done = subprocess.run(
        [sys.executable, script, state, "--qcodec", binary], capture_output=True, text=True, check=True)
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    figures = {row[0]: [float(cell.replace(",", "")) for cell in row[2:]] for row in rows[2:]}
    assert len(figures) >= 11 and all(row[1] for row in rows)  # no row without the rule that it compares
    for preset, bits in (("adam8", 16.25), ("adam4", 8.5)):
        own = figures.pop(f"qcodec `{preset}`")
        assert own[0] == bits and own[3] == 0
        rivals = {name: row for name, row in figures.items() if row[0] <= own[0] + 0.01 and row[0] > bits - 1}
        assert len(rivals) >= 3 and all(own[1] < row[1] and own[2] < row[2] for row in rivals.values()), rivals
    # Two implementations of one rule: ours and bitsandbytes' torch code differ by signed scales alone.
    paper, peer = figures["qcodec `paper8`"], figures["bitsandbytes 8-bit, block 256"]
    assert paper[3] == peer[3] and abs(paper[1] / peer[1] - 1) < 0.02
    assert re.search(r"3 pairs, 208,896 parameters", done.stdout)
