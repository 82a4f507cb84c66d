"""Many threads on one handle, forked processes, signals, and calls that are interrupted."""

import gc
import io
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

import qcodec

# Beyond what a call takes that is not worth a thread of its own (_interrupts.SMALL).
LARGE = 3 << 20
# How often trials are made; `make faults` makes more.
TIMES = int(os.environ.get("QCODEC_TIMES", "1"))
# How often a call may be late before it is.
TRIALS = 3


def tree(elements=LARGE, seed=1):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=elements).astype(np.float32)
    return {"exp_avg": values * 1e-3, "exp_avg_sq": values * values * 1e-6, "step": np.arange(5000)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("threads") / "state.qckpt"
    qcodec.save(path, tree())
    return path


@pytest.fixture(scope="module")
def expected(path):
    with qcodec.open(path) as checkpoint:
        return checkpoint.read()


def opened(path, kind):
    """The checkpoint by its path, as an open file, or as a file that only reads at its place."""
    if kind == "path":
        return qcodec.open(path)
    if kind == "bytes":
        return qcodec.open(io.BytesIO(path.read_bytes()))
    with open(path, "rb") as file:
        # What was opened stays open when the file is closed.
        return qcodec.open(file)


def read_some(checkpoint, expected, seed, rounds):
    """Reads whole tensors and rows, and compares."""
    generator = np.random.default_rng(seed)
    for _ in range(rounds):
        name = ("exp_avg", "exp_avg_sq", "step")[generator.integers(3)]
        start, stop = np.sort(generator.integers(0, len(expected[name]), 2))
        stop = start if stop - start > 400_000 and generator.random() < 0.9 else stop
        assert np.array_equal(checkpoint[name][int(start) : int(stop)], expected[name][start:stop])


def in_threads(count, body):
    """Runs `body` with the number of each thread; raises the first error."""
    errors = []

    def run(number):
        try:
            body(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads, errors


# Threads


@pytest.mark.parametrize("kind", ["path", "file", "bytes"])
def test_eight_threads_read_through_one_handle(path, expected, kind):
    with opened(path, kind) as checkpoint:
        threads, errors = in_threads(8, lambda number: read_some(checkpoint, expected, number, 40 * TIMES))
        read_some(checkpoint, expected, 99, 40 * TIMES)
        for thread in threads:
            thread.join()
        assert errors == []


def test_the_place_in_an_open_file_is_left_alone(path, expected):
    with open(path, "rb") as file:
        file.seek(17)
        with qcodec.open(file) as checkpoint:
            read_some(checkpoint, expected, 1, 5)
            assert file.tell() == 17


# Processes


def forked(body, seconds=60):
    """The status of a forked process, which is killed where it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "it hangs"


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["path", "file"])
def test_a_child_goes_on_while_threads_of_its_parent_read(path, expected, kind):
    stop = threading.Event()

    def read(number):
        while not stop.is_set():
            read_some(checkpoint, expected, number, 1)

    with opened(path, kind) as checkpoint:
        threads, errors = in_threads(4, read)
        try:
            outcomes = [forked(lambda seed=seed: read_some(checkpoint, expected, seed, 4)) for seed in range(25 * TIMES)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert errors == [] and outcomes == [0] * len(outcomes)


def test_a_child_saves_and_verifies(path, tmp_path):
    def body():
        qcodec.save(tmp_path / "child.qckpt", tree(seed=2))
        assert qcodec.verify(tmp_path / "child.qckpt").ok

    assert forked(body) == 0
    assert os.listdir(tmp_path) == ["child.qckpt"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
def test_workers_of_a_dataloader_read_through_the_handle_of_their_parent(path, expected):
    torch = pytest.importorskip("torch")
    checkpoint = qcodec.open(path)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, index):
            return torch.from_numpy(checkpoint["exp_avg"][index * 40_000 : (index + 1) * 40_000])

    read_some(checkpoint, expected, 5, 3)
    stop = threading.Event()

    def read(number):
        while not stop.is_set():
            read_some(checkpoint, expected, number, 1)

    threads, errors = in_threads(2, read)
    try:
        loader = torch.utils.data.DataLoader(
            Rows(), batch_size=4, num_workers=4, multiprocessing_context=multiprocessing.get_context("fork"), timeout=60)
        for _ in range(2):
            rows = torch.cat([batch.flatten() for batch in loader]).numpy()
            assert np.array_equal(rows, expected["exp_avg"][: 64 * 40_000])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    checkpoint.close()


# Signals


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_signals_that_are_handled_are_not_noticed(path, expected, kind, tmp_path):
    seen = []
    former = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        with opened(path, kind) as checkpoint:
            for _ in range(3):
                for name, values in checkpoint.read().items():
                    assert np.array_equal(values, expected[name])
        if kind == "path":
            qcodec.save(tmp_path / "state.qckpt", tree())
        else:
            with open(tmp_path / "state.qckpt", "wb") as file:
                qcodec.save(file, tree())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert len(seen) > 10
    assert (tmp_path / "state.qckpt").read_bytes() == path.read_bytes()


class Alarm(Exception):
    """What a handler of these tests raises."""


@pytest.fixture
def alarm():
    """When the handler raised, the times of which are kept here, after `signal.setitimer`."""
    moments = []

    def handle(*_):
        moments.append(time.monotonic())
        raise Alarm

    former = signal.signal(signal.SIGALRM, handle)
    yield moments
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture
def uncollected():
    """Nothing that earlier tests left is finalized: what a handler raises in a finalizer, Python drops."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def until_interrupted(alarm, seconds, body):
    """Calls `body` again and again until the handler raises; how long that took to come through."""
    with pytest.raises(Alarm):
        end = time.monotonic() + 60
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while time.monotonic() < end:
            body()
    return time.monotonic() - alarm.pop()


def is_prompt(trial):
    """Whether what is tried takes less than a second; it is tried again where the machine may have been busy with other work."""
    return any(trial() < 1 for _ in range(TRIALS))


class Slow(io.BytesIO):
    """Reads take a while, as over a network."""

    def read(self, count=-1):
        time.sleep(0.01)
        return super().read(count)


@pytest.mark.parametrize("kind", ["path", "slow file"])
@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_reading_and_verifying_end_within_a_second(path, expected, alarm, kind, seconds):
    with qcodec.open(path if kind == "path" else Slow(path.read_bytes())) as checkpoint:
        for body in (
            checkpoint.read, checkpoint.verify, lambda: checkpoint["exp_avg"].codes(),
            lambda: checkpoint["exp_avg_sq"][10 : LARGE - 10],
        ):
            assert is_prompt(lambda: until_interrupted(alarm, seconds, body))
            # The handle is none the worse for it.
            read_some(checkpoint, expected, 3, 1)


def test_calls_that_are_interrupted_as_they_begin(path, expected, alarm, uncollected):
    """Where a thread for the call is started, or waited for: nothing but the handler's own exception comes of it."""
    others = threading.Event()
    for _ in range(3):  # the system may give a signal to any of them, so that the handler runs wherever this one is
        threading.Thread(target=others.wait, daemon=True).start()
    with qcodec.open(path) as checkpoint:
        for number in range(1000 * TIMES):
            with pytest.raises(Alarm):
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + number % 200 * 2e-6)
                for _ in range(1000):
                    checkpoint["exp_avg"][: 5 << 18]
        others.set()
        read_some(checkpoint, expected, 4, 1)


def test_coding_in_memory_ends_within_a_second(alarm):
    values = tree()["exp_avg"]
    scheme = qcodec.Scheme("dynamic", bits=8, block=256)
    encoded = qcodec.encode(values, scheme)
    for body in (lambda: qcodec.encode(values, scheme), lambda: qcodec.decode(encoded)):
        assert is_prompt(lambda: until_interrupted(alarm, 0.1, body))


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where there is one: a flush to the disk is waited for, and takes what the disk takes."""
    shared = pathlib.Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield pathlib.Path(folder)


@pytest.mark.parametrize("round_", range(6 * TIMES))
def test_saving_ends_within_a_second_and_leaves_the_former_file(alarm, memory, round_):
    path = memory / "state.qckpt"
    states = [tree(seed=1), tree(seed=2)]
    whole = []
    for state in states:
        qcodec.save(path, state)
        whole.append(path.read_bytes())
    turn = iter(range(10**9))
    seconds = 0.03 + 0.17 * round_ / (6 * TIMES)
    assert is_prompt(lambda: until_interrupted(alarm, seconds, lambda: qcodec.save(path, states[next(turn) % 2])))
    assert os.listdir(memory) == ["state.qckpt"]
    assert path.read_bytes() in whole


def test_a_file_of_ones_own_gets_every_byte_or_an_exception(alarm):
    class File(io.BytesIO):
        def write(self, data):
            time.sleep(0.001)
            return super().write(data)

    state = tree()
    whole = io.BytesIO()
    qcodec.save(whole, state)
    for seconds in np.linspace(0.005, 0.05, 3 * TIMES):
        def interrupted():
            files = []

            def save():
                files.append(File())
                qcodec.save(files[-1], state)

            late = until_interrupted(alarm, seconds, save)
            assert all(file.getvalue() == whole.getvalue() for file in files[:-1])
            return late

        assert is_prompt(interrupted)


SCRIPT = """
import os, signal, sys, time, numpy, qcodec
# As in a terminal: what a shell starts in the background ignores the signal, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
path = sys.argv[1]
values = numpy.random.default_rng(1).normal(size=8 << 20).astype("f4")
state = {"exp_avg": values, "exp_avg_sq": values * values}
print("ready", flush=True)
try:
    while True:
        if sys.argv[2] == "save":
            qcodec.save(path, state, threads=1)
        else:
            qcodec.verify(path, threads=1)
except KeyboardInterrupt:
    print("interrupted", sorted(os.listdir(os.path.dirname(path))), flush=True)
"""


@pytest.mark.parametrize("what", ["save", "verify"])
def test_ctrl_c_ends_a_script_within_a_second(memory, what):
    path = memory / "state.qckpt"
    qcodec.save(path, tree(8 << 20))

    def interrupted(wait):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, path, what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # A process that does not end is a failure, and no reason to wait for ever.
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted ['state.qckpt']\n"
        late = time.monotonic() - begun
        out, errors = process.communicate()
        watchdog.cancel()
        assert (process.returncode, out, errors) == (0, "", "")
        assert qcodec.verify(path).ok
        return late

    for wait in np.linspace(0.1, 0.35, 1 + TIMES):
        assert is_prompt(lambda: interrupted(wait))


def test_saving_at_the_interpreters_exit(tmp_path):
    script = (
        "import atexit, sys, numpy, qcodec\n"
        "state = {'exp_avg': numpy.ones(4 << 20, 'f4')}\n"
        "atexit.register(qcodec.save, sys.argv[1], state)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "state.qckpt"], check=True)
    assert qcodec.verify(tmp_path / "state.qckpt").ok


def test_errors_of_long_calls_are_those_of_short_ones(tmp_path):
    values = np.ones(LARGE, np.float32)
    values[12345] = np.nan
    with pytest.raises(qcodec.EncodeError) as caught:
        qcodec.save(tmp_path / "state.qckpt", {"exp_avg": values})
    assert caught.value.element == 12345 and caught.value.tensor == "exp_avg"
    assert os.listdir(tmp_path) == []


def test_a_damaged_byte_is_not_hidden_by_threads(path, tmp_path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.qckpt").write_bytes(data)
    with qcodec.open(tmp_path / "damaged.qckpt") as checkpoint:
        with pytest.raises(qcodec.FormatError) as caught:
            checkpoint.read()
    assert caught.value.code == 38 and caught.value.offset is not None
