"""The curve of `make quality`, on the shipped state."""

import json
import subprocess
import sys


def test_the_curve_falls_and_lies_under_the_presets(root, binary, tmp_path):
    script, state = root / "Tests" / "Benchmarks" / "quality.py", root / "Fixtures" / "real" / "gpt-char.safetensors"
    points, text = tmp_path / "points.json", tmp_path / "QUALITY.md"
    subprocess.run(
        [sys.executable, script, state, "--qcodec", binary, "--json", points, "--report", text, "--quick"], check=True)
    (found,) = json.loads(points.read_text()).values()
    own = sorted((p for p in found if p["policy"] == "adamq"), key=lambda p: p["quality"])
    assert [p["quality"] for p in own] == [0.02, 0.1, 0.2]
    assert own[0]["bits"] > own[1]["bits"] > own[2]["bits"] and own[0]["max_abs"] < own[2]["max_abs"]
    assert all(abs(p["rel_l2"] / p["quality"] - 1) < 0.05 for p in own)
    (adam4,) = (p for p in found if p["policy"] == "adam4" and p["compression"] == "zstd")
    # Not at one error: at a somewhat greater one than adam4's, by which nobody saves a tenth of the bits.
    assert own[1]["rel_l2"] < 1.1 * adam4["rel_l2"] and own[1]["bits"] < 0.93 * adam4["bits"]
    assert "| adamq, 0.02 | zstd |" in text.read_text()
