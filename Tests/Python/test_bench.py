"""What `qcodec bench` prints: its keys, that its figures can be, and that it fails as every command does."""

import numpy as np
import pytest

FLOATS = {"gb_s", "gb_s_min", "gb_s_max", "times_memcpy"}
KEYS = FLOATS | {
    "operation", "map", "bits", "signed", "scaling", "block", "domain", "stats", "kernels", "threads", "runs"}
SCHEMES = {
    ("dynamic", 8, True, "block", 256, "value"), ("dynamic", 8, False, "block", 256, "value"),
    ("linear", 8, True, "block", 256, "value"), ("cubic", 8, True, "block", 256, "value"),
    ("log", 8, False, "block", 512, "value"), ("dynamic", 4, True, "block", 128, "value"),
    ("normal", 4, True, "block", 128, "value"), ("linear-nozero", 4, False, "block", 128, "value"),
    ("linear-nozero", 4, False, "rank1", None, "value"), ("adam8", 8, True, "block", 256, "update"),
    ("adam4", 4, True, "block", 128, "update"),
}


def check_rows(document, levels, threads, runs):
    """Every scheme at every level: encoded without and with statistics, and decoded."""
    rows = document["results"]
    assert [set(row) for row in rows] == [KEYS] * len(rows)
    described = [tuple(row[key] for key in ("map", "bits", "signed", "scaling", "block", "domain")) for row in rows]
    expected = {(*scheme, operation, stats, level) for scheme in SCHEMES for level in levels
                for operation, stats in (("encode", False), ("encode", True), ("decode", False))}
    assert {(*d, r["operation"], r["stats"], r["kernels"]) for d, r in zip(described, rows)} == expected
    assert len(rows) == len(expected)
    assert {(row["threads"], row["runs"]) for row in rows} == {(threads, runs)}
    for row in rows:
        assert 0 < row["gb_s_min"] <= row["gb_s"] <= row["gb_s_max"]
        # No codec is faster than reading a few bits a value from memory can be.
        assert row["gb_s"] < 100 * document["read_gb_s"]
        assert row["times_memcpy"] == pytest.approx(row["gb_s"] / document["memcpy_gb_s"])
        if runs == 2:  # the median of two times is their mean
            assert row["gb_s"] == pytest.approx(2 / (1 / row["gb_s_min"] + 1 / row["gb_s_max"]))


def test_quick_rows(qcodec):
    document = qcodec("bench", "--quick", json_output=True)
    assert set(document) == {"machine", "kernels", "elements", "memcpy_gb_s", "read_gb_s", "results"}
    assert set(document["machine"]) == {"cpu", "processors", "os"}
    assert document["elements"] == 1 << 18
    check_rows(document, document["kernels"], threads=1, runs=3)


def test_every_level_of_a_file_and_a_checkpoint(qcodec, states, tmp_path):
    document = qcodec(
        "bench", states[0], "--kernels", "all", "--elements", 1 << 14, "--runs", 2, "--threads", 2, "--checkpoint",
        tmp_path, "--size", 1 << 22, json_output=True)
    assert document["kernels"][0] == "scalar"
    check_rows(document, document["kernels"], threads=2, runs=2)
    rows = document["checkpoint"]
    assert [(row["operation"], row["compression"]) for row in rows] == [
        ("save", "lz4"), ("load", "lz4"), ("save", "none"), ("load", "none")]
    for row in rows:
        assert (row["policy"], row["bytes"], row["threads"], row["runs"]) == ("adam8", 1 << 22, 2, 2)
        assert 0 < row["seconds_min"] <= row["seconds"] <= row["seconds_max"]
        assert row["seconds"] == pytest.approx((row["seconds_min"] + row["seconds_max"]) / 2)
        # 8 bits and scales instead of 32; LZ4 finds that so few moments repeat.
        assert row["file_bytes"] < row["bytes"] / 3.5
        assert row["compression"] == "lz4" or row["bytes"] / 4 < row["file_bytes"]
        assert 0 <= row["peak_extra_bytes"] < 64 << 20
    assert list(tmp_path.iterdir()) == []


STAGE_KEYS = FLOATS | {"operation", "policy", "compression", "bytes", "file_bytes", "threads", "runs"}


def check_stages(document, elements, threads, runs):
    """Every operation of every policy under every lossless stage."""
    rows = document["stages"]
    assert [(row["policy"], row["compression"], row["operation"]) for row in rows] == [
        (policy, stage, operation) for policy in ("adam8", "adam4", "lossless") for stage in ("none", "lz4", "zstd")
        for operation in ("write", "read", "verify")]
    for row in rows:
        assert set(row) == STAGE_KEYS
        assert (row["bytes"], row["threads"], row["runs"]) == (8 * elements, threads, runs)
        assert 0 < row["gb_s_min"] <= row["gb_s"] <= row["gb_s_max"]
        assert row["times_memcpy"] == pytest.approx(row["gb_s"] / document["memcpy_gb_s"])
    sizes = {(row["policy"], row["compression"]): row["file_bytes"] for row in rows}
    assert len({(row["policy"], row["compression"], row["file_bytes"]) for row in rows}) == len(sizes)
    for policy, bits in (("adam8", 16.25), ("adam4", 8.5), ("lossless", 64)):
        # As many bits a parameter as README says, and what the container adds to so few chunks.
        assert 0 <= sizes[policy, "none"] - elements * bits / 8 < 4096 + elements / 100
        assert sizes[policy, "zstd"] <= sizes[policy, "lz4"] <= sizes[policy, "none"]


def test_stages_of_a_file(qcodec, states):
    document = qcodec("bench", states[0], "--elements", 1 << 17, "--runs", 2, "--threads", 2, json_output=True)
    check_stages(document, 1 << 17, threads=2, runs=2)
    # Real moments share exponents.
    rows = {(row["policy"], row["compression"]): row["file_bytes"] for row in document["stages"]}
    assert rows["lossless", "zstd"] < 0.95 * rows["lossless", "none"]
    lines = qcodec("bench", states[0], "--elements", 4096, "--runs", 1, "--quiet").stdout.decode().splitlines()
    start = 5 + 2 * len(SCHEMES)
    assert lines[start] == "" and lines[start + 1].split()[:3] == ["in", "memory", "operation"]
    assert [tuple(line.split()[:3]) for line in lines[start + 2:]] == [
        (row["policy"], row["operation"], row["compression"]) for row in document["stages"]]


def test_stages_of_made_up_moments(qcodec):
    document = qcodec("bench", "--elements", 1 << 13, "--runs", 1, "--stages", json_output=True)
    check_stages(document, 1 << 13, threads=1, runs=1)


def test_opening(qcodec, tmp_path):
    document = qcodec("bench", "--elements", 4096, "--runs", 2, "--quick", "--open", tmp_path, json_output=True)
    assert [row["tensors"] for row in document["open"]] == [1000, 10_000]
    for row in document["open"]:
        assert set(row) == {"tensors", "file_bytes", "seconds", "seconds_min", "seconds_max", "find_seconds", "runs"}
        assert row["runs"] == 2 and 0 < row["find_seconds"] < row["seconds"]
        assert 0 < row["seconds_min"] <= row["seconds"] <= row["seconds_max"]
        # 16 bytes of each tensor and what the directory says of it.
        assert 100 < row["file_bytes"] / row["tensors"] < 1000
    assert list(tmp_path.iterdir()) == []


def test_the_table(qcodec, tmp_path):
    lines = qcodec("bench", "--elements", 4096, "--runs", 1).stdout.decode().splitlines()
    assert lines[2].startswith("memcpy ")
    # An encode row has the speed with statistics beside it, a decode row has none.
    assert len(lines) == 5 + 2 * len(SCHEMES)
    more = qcodec("bench", "--elements", 4096, "--runs", 1, "--quick", "--open", tmp_path).stdout.decode().splitlines()
    assert [line.split()[:2] for line in more[len(lines):]] == [
        [], ["opening", "tensors"], ["open", "1000"], ["open", "10000"]]


@pytest.mark.parametrize("arguments, status, message", [
    (["--kernels", "fast"], 2, "there are no kernels 'fast'"),
    (["--kernels", "scalar,"], 2, "there are no kernels ''"),
    (["--elements", "4095"], 2, "--elements is to be a multiple of 4096"),
    (["--threads", "0"], 2, "--threads is to be 1 to 1024"),
    (["--runs", "0"], 2, "--runs is to be 1 to 1000"),
    (["--size", "1"], 2, "--size is to be 2^18 to 2^40"),
    (["missing.safetensors"], 4, "missing.safetensors: cannot open"),
    ([__file__], 3, "the file is none of"),
    (["--quick", "--checkpoint", "missing"], 4, "cannot create"),
    (["--quick", "--open", "missing"], 4, "cannot create"),
])
def test_refusals(qcodec, tmp_path, arguments, status, message):
    done = qcodec("bench", *arguments, status=status, cwd=tmp_path)
    assert done.stdout == b""
    error = done.stderr.decode()
    assert error.startswith("qcodec: ") and message in error and error.count("\n") == 1


def test_moments_that_cannot_be_measured(qcodec, tmp_path):
    good = np.ones((64, 128), np.float32)
    for bad, value in (("exp_avg", np.nan), ("exp_avg_sq", -1)):
        arrays = {"exp_avg": good, "exp_avg_sq": good}
        arrays[bad] = good.copy()
        arrays[bad][3, 5] = value
        np.savez(tmp_path / "state.npz", **arrays)
        error = qcodec("bench", tmp_path / "state.npz", "--quick", status=3).stderr.decode()
        assert "state.npz" in error and bad in error and "389" in error
    np.savez(tmp_path / "none.npz", weight=good)
    done = qcodec("bench", tmp_path / "none.npz", "--quick", status=2)
    assert b"no pair of a first and a second moment" in done.stderr
