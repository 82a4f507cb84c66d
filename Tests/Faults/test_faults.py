"""Some of the trials of campaign.py, the same ones in every run, and what a campaign has no part for."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import faults
import qcodec

SEED = 7


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    return faults.compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def bench(shim, tmp_path):
    """Makes the bench of a way."""
    return lambda way, **options: faults.Bench(tmp_path / "bench", faults.WAYS[way], shim, **{"elements": 100_000, **options})


@pytest.fixture
def campaign():
    campaign = faults.Campaign(SEED)
    yield campaign
    assert sum(campaign.trials.values()) > 0
    assert campaign.losses == []


# Some trials of each kind


@pytest.mark.parametrize("way", faults.WAYS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(bench, campaign, way):
    tried = bench(way)
    campaign.kill_at_random(tried, 3 if tried.way.is_command else 1)
    campaign.kill_at_calls(tried, 6 if tried.way.is_command else 2)


@pytest.mark.parametrize("way", faults.WAYS)
def test_a_failing_call_leaves_the_old_file_or_is_not_noticed(bench, campaign, way):
    tried = bench(way)
    campaign.faults(tried, 12 if tried.way.is_command else 4)
    campaign.full_from(tried, 1)


@pytest.mark.parametrize("way", ["encode", "decode"])
def test_a_signal_leaves_nothing_behind(bench, campaign, way):
    campaign.end_politely(bench(way), 4)


def test_several_writers_to_one_path(bench, campaign):
    campaign.crowd(bench("encode"), 2)


# The order of calls


@pytest.mark.parametrize("way", faults.WAYS)
def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_the_end(bench, way):
    calls = [call for call in bench(way).calls() if call[1] != "input" and call[0] != "fallocate"]
    names = [call[0] for call in calls]
    assert calls[0] == ["open", "temporary"] and calls[1] == ["flock", "temporary"]
    last_write = max(place for place, name in enumerate(names) if name in ("write", "ftruncate"))
    # Between the last byte and the end there is nothing else.
    assert calls[last_write + 1 :] == [
        ["fsync", "temporary"], ["rename", "temporary", "target"], ["close", "temporary"], ["open", "folder"],
        ["fsync", "folder"], ["close", "folder"],
    ]
    assert all(call[1] == "temporary" for call in calls[: last_write + 1])


# Full disks


@pytest.fixture(scope="session")
def mounting():
    prefix = faults.mounting()
    if prefix is None:
        # Where every test counts, one that cannot be run has failed.
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report("mounting a tmpfs is not permitted here (as root, or in a user namespace)")
    return prefix


def test_a_full_disk_leaves_the_old_file(mounting, tmp_path):
    done = subprocess.run(
        [sys.executable, faults.HERE / "campaign.py", "--small-disks", "6", "--folder", tmp_path],
        capture_output=True, text=True)
    assert done.returncode == 0 and " 0 losses" in done.stdout, done.stdout + done.stderr
    assert "old: " in done.stdout and "new: " in done.stdout


@pytest.mark.parametrize("way", ["encode", "decode", "qcodec.save"])
def test_a_limit_on_the_size_of_files_leaves_the_old_file(bench, way):
    tried = bench(way)
    tried.save("old")
    for kib in (1, 100, len(tried.contents["new"]) // 1024 - 1):
        line = tried.way.line(tried.inputs["new"], tried.target)
        done = subprocess.run(
            ["bash", "-c", f'ulimit -f {kib}; exec "$@"', "bash", *line], capture_output=True, text=True)
        assert done.returncode == (4 if tried.way.is_command else 1), done.stderr
        assert "File too large" in done.stderr
        assert tried.state() == "old" and tried.leftovers() == []


# Folders


def test_a_folder_that_cannot_be_written_to_is_named(bench, mounting):
    tried = bench("encode", elements=10_000)
    tried.save("old")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    done = subprocess.run(
        [*mounting, "sh", "-c", script, tried.folder, *tried.way.line(tried.inputs["new"], tried.target)],
        capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr == f"qcodec: {tried.target}: cannot create: Read-only file system\n"
    assert tried.state() == "old" and tried.leftovers() == []


def _state(seed):
    import numpy

    generator = numpy.random.default_rng(seed)
    return {"exp_avg": generator.normal(size=50_000).astype("f4"), "exp_avg_sq": generator.random(50_000).astype("f4")}


def test_a_folder_that_vanishes_is_an_error_and_nothing_else(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = qcodec.Writer(folder / "state.qckpt")
    writer.add(_state(1))
    shutil.rmtree(folder)
    with pytest.raises(qcodec.StorageError, match="cannot rename to .*No such file or directory"):
        writer.commit()
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        qcodec.Writer(folder / "state.qckpt")


def test_a_folder_that_moves_is_an_error_and_leaves_what_the_next_writer_removes(tmp_path):
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    qcodec.save(folder / "state.qckpt", _state(1))
    before = (folder / "state.qckpt").read_bytes()
    writer = qcodec.Writer(folder / "state.qckpt")
    writer.add(_state(2))
    folder.rename(moved)
    with pytest.raises(qcodec.StorageError):
        writer.commit()
    del writer
    assert (moved / "state.qckpt").read_bytes() == before
    qcodec.save(moved / "state.qckpt", _state(2))
    assert os.listdir(moved) == ["state.qckpt"]


# Processes


def _in_child(body):
    """Runs `body` in a forked process that ends as usual, with all that Python does at its end."""
    script = os.fork()
    if script == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])


def test_a_child_does_no_harm_to_its_parents_writer(tmp_path):
    path = tmp_path / "state.qckpt"
    qcodec.save(path, _state(1))
    before = path.read_bytes()
    writer = qcodec.Writer(path)
    writer.add(_state(2))

    def refused():
        with pytest.raises(qcodec.QCodecError, match="forked process"):
            writer.commit()
        writer.abort()
        writer.__del__()

    assert _in_child(refused) == 0
    assert path.read_bytes() == before and len(os.listdir(tmp_path)) == 2
    writer.commit()
    assert os.listdir(tmp_path) == ["state.qckpt"] and qcodec.verify(path).ok


def test_a_temporary_is_nobodys_once_its_writer_was_killed_though_a_child_of_it_lives(tmp_path):
    # The child shares the lock: while it lives the file stays, and nobody waits for it.
    path = tmp_path / "state.qckpt"
    script = (
        "import os, sys, time, qcodec\n"
        "writer = qcodec.Writer(sys.argv[1])\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(60)\n"
        "print(child, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.wait()
    parent.stdout.close()
    try:
        qcodec.save(path, _state(1))
        assert len(os.listdir(tmp_path)) == 2 and qcodec.verify(path).ok
    finally:
        os.kill(child, 9)
    # It is no child of ours: there is nothing to wait for but its lock.
    for _ in range(100):
        qcodec.save(path, _state(2))
        if os.listdir(tmp_path) == ["state.qckpt"]:
            break
    assert os.listdir(tmp_path) == ["state.qckpt"]


def test_what_replaces_other_files_removes_what_was_left_and_no_more(tmp_path):
    from qcodec._replacing import replacing

    for name in ("index.json", "n" * 255):
        path = tmp_path / name
        path.write_bytes(b"old")
        with pytest.raises(ZeroDivisionError):
            with replacing(path) as file:
                file.write(b"half")
                raise ZeroDivisionError
        assert os.listdir(tmp_path) == [name] and path.read_bytes() == b"old"
        with replacing(path) as outer:
            (temporary,) = set(os.listdir(tmp_path)) - {name}
            outer.write(b"outer")
            with replacing(path) as inner:
                inner.write(b"inner")
            assert sorted(os.listdir(tmp_path)) == sorted([name, temporary]) and path.read_bytes() == b"inner"
        assert os.listdir(tmp_path) == [name] and path.read_bytes() == b"outer"
        left = pathlib.Path(tmp_path / temporary)
        left.write_bytes(b"left behind")
        with replacing(path) as file:
            assert not left.exists()
            file.write(b"new")
        assert os.listdir(tmp_path) == [name]
        path.unlink()
