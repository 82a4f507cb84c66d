"""The program of checkpoints larger than memory, at a thousandth of their size; `make large` runs it at the whole."""

import json
import subprocess
import sys


def test_large_checkpoints_in_small(root, installed, tmp_path):
    command = [
        sys.executable, root / "Tests" / "Large" / "large.py", "--prefix", installed.prefix, "--scale", "0.001",
        "--folder", tmp_path, "--json", tmp_path / "large.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {(r["kind"], r["action"]): r for r in json.loads((tmp_path / "large.json").read_text())}
    assert len(results) == 10
    assert results["pair", "write"]["elements"] == 2 * results["pair", "write"]["count"] > 5_000_000
    assert results["pair", "rows"]["slices"] == 12 and results["momentum", "rows"]["slices"] == 6
    assert results["many", "verify"]["compared"] == 1000 and results["names", "verify"]["compared"] == 10
    assert list(tmp_path.iterdir()) == [tmp_path / "large.json"]
