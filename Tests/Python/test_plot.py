"""`qcodec inspect --plot`: what the picture says, by the reference reader, and how wide it is."""

import collections
import os
import re
import subprocess

import numpy as np
import pytest

import terminal

BLOCKS = " ▏▎▍▌▋▊▉█▁▂▃▄▅▆▇"


@pytest.fixture(scope="module")
def coded(binary, states, tmp_path_factory):
    """The real state under a preset of 8 bits and one of 4."""
    folder = tmp_path_factory.mktemp("plot")
    for policy in ("adam8", "paper4"):
        subprocess.run([binary, "encode", states[0], "-o", folder / policy, "--policy", policy, "--quiet"], check=True)
    return folder


def plot(binary, file, *options, width=80, status=0, **variables):
    """The lines of a picture in a width."""
    environment = {**os.environ, "COLUMNS": str(width), "LC_ALL": "C.UTF-8", **variables}
    done = subprocess.run([binary, "inspect", file, "--plot", *options], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (status, b"")
    return done.stdout.decode().splitlines()


def pictures(lines):
    """The pictures by their headings; the summary of the file stands before the first empty line."""
    parts = "\n".join(lines[lines.index("") + 1:]).split("\n\n")
    return {part.splitlines()[0]: part.splitlines()[1:] for part in parts if "\n" in part}


@pytest.mark.parametrize("policy", ["adam8", "paper4"])
def test_tensors_without_a_choice_are_drawn_by_scheme(binary, qcodec, coded, policy):
    document = qcodec("inspect", coded / policy, "--codes", json_output=True)
    found = pictures(plot(binary, coded / policy, width=100))
    groups = collections.defaultdict(list)
    for tensor in document["tensors"]:
        if tensor["encoding"] == "quantized":
            sign = "s" if tensor["signed"] else "u"
            scheme = f"{tensor['map']} {sign}{tensor['bits']} {tensor['scaling']}{tensor['block'] or ''}"
            groups[scheme].append(tensor)
    assert len(groups) == len(found) == 2
    for scheme, tensors in groups.items():
        (heading,) = [name for name in found if name.startswith(scheme)]
        elements = sum(int(np.prod(tensor["shape"])) for tensor in tensors)
        assert heading.endswith(f", {len(tensors)} tensors, {elements} elements")
        picture = found[heading]
        counts = np.sum([tensor["codes"]["histogram"] for tensor in tensors], axis=0)
        used = np.count_nonzero(counts)
        share = counts[counts > 0] / counts.sum()
        entropy = -np.sum(share * np.log2(share))
        assert re.match(rf"codes: entropy {entropy:.2f} bits, {used} of {len(counts)} used", picture[0])
        # Columns stand as high, in eighths of a line, as their codes are many.
        group = 1 if len(counts) == 16 else 3
        bins = [int(counts[i:i + group].sum()) for i in range(0, len(counts), group)]
        rows = [line[9:] for line in picture[1:9]]
        assert picture[1].startswith(f"{100 * max(bins) / counts.sum():6.1f} %")
        wide = 4 if len(counts) == 16 else 1
        for place, count in enumerate(bins):
            column = "".join(row[place * wide] if place * wide < len(row) else " " for row in rows)
            height = sum(0 if c == " " else "▁▂▃▄▅▆▇█".index(c) + 1 for c in column)
            assert height == 64 if count == max(bins) else abs(height - 64 * count / max(bins)) <= 1
            assert (height > 0) == (count > 0)
        assert picture[9].split() == ["code", "0", str((len(counts) - 1) // 2), str(len(counts) - 1)]


def test_scales_are_counted_by_power_of_two(binary, coded):
    rng = np.random.default_rng(5)
    values = rng.uniform(-0.9, 0.9, (64, 256)).astype(np.float32)
    # Each row is a block of the map, whose scale is its largest magnitude: four of every power, and four of zeros.
    for row in range(64):
        values[row, row] = 1
        values[row] *= 2.0 ** (row % 16 - 8)
    values[60:] = 0
    np.savez(coded / "scales.npz", exp_avg=values)
    subprocess.run(
        [binary, "encode", coded / "scales.npz", "-o", coded / "scales", "--policy", "paper8", "--quiet"], check=True)
    lines = plot(binary, coded / "scales", "--tensor", "exp_avg")
    start = lines.index("scales: 64, by power of two")
    end = lines.index("errors")
    rows = [re.fullmatch(r" *(\S+) ([ ▏▎▍▌▋▊▉█]*) ([0-9.]+) %", line) for line in lines[start + 1:end]]
    assert all(rows)
    # Sixteen powers do not fit into twelve lines: two share one.
    exponents = [int(np.log2(np.abs(row).max())) for row in values if row.any()]
    expected = [(f"2^{power}…", sum(power <= e < power + 2 for e in exponents)) for power in range(-8, 8, 2)] + [("0", 4)]
    assert [row[1] for row in rows] == [label for label, _ in expected]
    assert [float(row[3]) for row in rows] == pytest.approx([count / 64 * 100 for _, count in expected], abs=0.051)
    assert len({len(row[2]) for row in rows}) == 1 and max(row[2].count("█") for row in rows) == len(rows[0][2])


def test_errors_are_those_of_the_record(binary, qcodec, coded):
    for tensor in qcodec("inspect", coded / "adam8", json_output=True)["tensors"]:
        lines = plot(binary, coded / "adam8", "--tensor", tensor["name"])
        if tensor["encoding"] != "quantized":
            assert lines[-1].startswith("lossless, exact: 1 tensor, ")
            continue
        errors = lines[lines.index("errors") + 1:]
        assert float(errors[0].split()[-1]) == pytest.approx(tensor["rel_l2_error"], rel=0.01)
        match = re.fullmatch(r"  largest      \[([ ▏▎▍▌▋▊▉█]+)\] (\S+), (\d+) % of the bound (\S+)", errors[1])
        share = tensor["max_abs_error"] / tensor["guaranteed_max_abs_error"]
        assert 0 < share <= 1 and int(match[3]) == round(100 * share)
        assert float(match[2]) == pytest.approx(tensor["max_abs_error"], rel=0.01)
        assert float(match[4]) == pytest.approx(tensor["guaranteed_max_abs_error"], rel=0.01)
        filled = sum((" ▏▎▍▌▋▊▉█".index(c)) for c in match[1])
        assert abs(filled - 8 * len(match[1]) * share) <= 1


@pytest.mark.parametrize("width", [20, 33, 40, 64, 80, 132, 400])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_picture_fits_its_width(binary, coded, width, ascii_only):
    for policy in ("adam8", "paper4"):
        for options in ([], ["--tensor", "*"]):
            lines = plot(binary, coded / policy, *options, *(["--ascii"] if ascii_only else []), width=width)
            drawn = lines[lines.index("") + 1:]
            assert max(map(len, drawn)) <= width
            assert not ascii_only or "".join(drawn).isascii()
            assert ascii_only or any(c in "".join(drawn) for c in BLOCKS[1:])


def test_ascii_where_the_locale_is_no_unicode(binary, coded):
    plain = plot(binary, coded / "adam8", "--ascii")
    assert plot(binary, coded / "adam8", LC_ALL="C") == plain == plot(binary, coded / "adam8", LC_ALL="", LANG="POSIX")
    assert plot(binary, coded / "adam8", LC_ALL="", LANG="en_US.utf8") == plot(binary, coded / "adam8") != plain


def test_on_a_terminal(binary, coded):
    command = [binary, "inspect", coded / "adam8", "--plot"]
    shown = terminal.run(command, columns=60)
    lines = shown.text.replace("\r\n", "\n").split("\n")
    assert "\x1b[36m" in shown.text and "\x1b[1m" in shown.text
    plain = [terminal.COLOR.sub("", line) for line in lines]
    start = plain.index("") + 1
    assert max(map(len, plain[start:])) <= 60
    assert plain[start:] == plot(binary, coded / "adam8", width=60)[start:] + [""]
    assert "\x1b" not in terminal.run(command, environment={"NO_COLOR": "1"}).text
    wide = terminal.run(command, columns=60, environment={"COLUMNS": "100", "NO_COLOR": "1"})
    assert wide.text.replace("\r\n", "\n").split("\n")[start:-1] == plot(binary, coded / "adam8", width=100)[start:]


def test_what_has_no_codes_and_what_does_not_go_together(binary, qcodec, coded, tmp_path):
    np.savez(tmp_path / "few.npz", exp_avg=np.ones(8, np.float32))
    qcodec("encode", tmp_path / "few.npz", "-o", tmp_path / "few")
    assert plot(binary, tmp_path / "few")[-1] == "lossless, exact: 1 tensor, 32 B"
    for options in (["--plot", "--json"], ["--ascii"]):
        assert qcodec("inspect", coded / "adam8", *options, status=2).stdout == b""
    data = (coded / "adam8").read_bytes()
    (tmp_path / "cut").write_bytes(data[:len(data) // 2])
    assert b"whole" in qcodec("inspect", tmp_path / "cut", "--plot", status=3).stdout


def test_every_golden_file_can_be_drawn(binary, root):
    for path in sorted((root / "Fixtures" / "golden").glob("*.qckpt")):
        assert plot(binary, path)
        assert path.stem == "no-tensors" or plot(binary, path, "--tensor", "*", "--ascii")
