"""The comparison of `make bench`: that it measures, says what is missing and writes its reports; never how fast."""

import json
import subprocess
import sys

import pytest

LARGE = ["gguf", "pysz", "zfpy"]


@pytest.fixture(scope="module")
def compare(root, binary, tmp_path_factory):
    """Runs the script where the packages that only the comparison needs are not installed, whatever is here."""
    hidden = tmp_path_factory.mktemp("hidden")
    for name in LARGE:
        (hidden / f"{name}.py").write_text(f"raise ImportError('hidden', name={name!r})\n")
    script = root / "Tests" / "Benchmarks" / "compare.py"

    def run(folder, *options, status=0):
        before = set(folder.iterdir())
        done = subprocess.run(
            [sys.executable, script, "--quick", "--qcodec", binary, "--dir", folder, "--json", folder / "figures.json",
             "--results", folder / "RESULTS.md", *options],
            capture_output=True, text=True, env={"PYTHONPATH": str(hidden), "PATH": "/usr/bin:/bin"})
        assert done.returncode == status, done.stderr
        return done, set(folder.iterdir()) - before

    return run


def test_a_quick_comparison(compare, root, tmp_path):
    readme, original = tmp_path / "README.md", (root / "README.md").read_text()
    readme.write_text(original)
    _, written = compare(tmp_path, "--allow-missing", "--readme", readme)
    assert {path.name for path in written} == {"figures.json", "RESULTS.md"}
    document, results = json.loads((tmp_path / "figures.json").read_text()), (tmp_path / "RESULTS.md").read_text()
    assert document["missing"] == LARGE and f"their packages are missing: {', '.join(LARGE)}." in results
    assert (document["size"], document["elements"], document["runs"]) == (4 << 20, 1 << 16, 1)
    rows = document["codecs"] + document["checkpoints"]
    for row in rows:
        for figure in ("gb_s", "seconds"):
            # Of one run all three are the same, but for the last bit of a quotient.
            least, median, most = row[f"{figure}_min"], row[figure], row[f"{figure}_max"]
            assert 0 < least <= median * (1 + 1e-12) and median <= most * (1 + 1e-12)
        assert f"| {row['name']} |" in results
    named = {(row["name"], row["operation"]): row for row in rows}
    assert len(named) == len(rows)
    assert {name for name, _ in named if not name.startswith("qcodec")} == {
        "memcpy in qcodec bench", "reading in qcodec bench", "numpy copyto", "numpy sum of words", "safetensors.numpy"}
    assert {("qcodec adam8 pair", "decode"), ("qcodec adam8, lz4", "load"), ("safetensors.numpy", "save")} <= set(named)
    assert named["qcodec adam8, none", "save"]["file_bytes"] < named["safetensors.numpy", "save"]["file_bytes"] / 3.5
    # The README has its table anew and is else as it was.
    table = readme.read_text()
    begin, end = "<!-- Speed: written by make bench. -->", "<!-- End of speed. -->"
    for before, after in zip(original.split(begin), table.split(begin)):
        assert before.split(end)[-1] == after.split(end)[-1]
    assert table.count(begin) == table.count(end) == 1
    own = table.split(begin)[1].split(end)[0]
    assert own.count("\n| qcodec ") == 7 and "\n| safetensors.numpy | " in own


def test_what_is_missing_ends_it(compare, tmp_path):
    done, written = compare(tmp_path, status=1)
    assert f"not installed: {', '.join(LARGE)}" in done.stderr and written == set()


def test_medians_and_extremes(root):
    program = "import compare, json; print(json.dumps(compare.row('x', 'encode', [4.0, 1.0, 2.0], 8e9)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root / "Tests" / "Benchmarks", capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    assert [row[key] for key in ("seconds", "seconds_min", "seconds_max")] == [2, 1, 4]
    assert [row[key] for key in ("gb_s", "gb_s_min", "gb_s_max", "runs")] == [4, 2, 8, 3]
