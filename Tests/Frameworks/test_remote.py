"""Checkpoints behind URLs: over fsspec's memory and local filesystems, over HTTP from a server here, in open files."""

import http.server
import io
import os
import re
import socket
import threading
import time

import numpy as np
import pytest
from conftest import need

fsspec = need("fsspec", "aiohttp")
qcodec = need("qcodec")


def state(tensors, shape, seed=0):
    """Moments as of Adam, half of them first, half second."""
    random = np.random.default_rng(seed)
    tree = {"step": seed, "state": {}}
    for index in range(tensors // 2):
        first = random.standard_normal(shape, np.float32)
        tree["state"][index] = {"exp_avg": first, "exp_avg_sq": random.standard_normal(shape, np.float32) ** 2}
    return tree


def is_same(tree, other):
    return tree["step"] == other["step"] and all(
        np.array_equal(value, other["state"][index][key])
        for index, moments in tree["state"].items()
        for key, value in moments.items()
    )


# HTTP


class Server(http.server.ThreadingHTTPServer):
    """Serves what `files` holds and counts requests and bytes. `ranges`, `cut`, `status`: how it misbehaves."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.bytes = {}, [], 0
        self.ranges, self.cut, self.status, self.length, self.delay = True, 0, None, True, 0.0
        self.lock = threading.Lock()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def counted(self):
        """Requests and bytes since the last call."""
        with self.lock:
            result = self.requests, self.bytes
            self.requests, self.bytes = [], 0
        return result


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        server = self.server
        time.sleep(server.delay)
        data = server.files.get(self.path[1:])
        wanted = self.headers.get("Range")
        status = server.status or (404 if data is None else 200)
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, size = data, len(data)
        if wanted and server.ranges:
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups())
            body = data[: size - server.cut][first : last + 1]
            status = 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{size}")
        if server.length or status == 206:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)
        with server.lock:
            server.requests.append((self.command, wanted))
            server.bytes += len(body) if with_body else 0

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def big():
    """A checkpoint of some 12 MB: 20 tensors of 500,000 elements, and where its file ends."""
    file = io.BytesIO()
    qcodec.save(file, state(24, (500, 1000)))
    return file.getvalue()


@pytest.mark.smoke
def test_small_files_come_whole(server):
    tree = state(100, (32, 32))
    file = io.BytesIO()
    qcodec.save(file, tree, policy="lossless")
    server.files["small"] = file.getvalue()
    assert is_same(qcodec.load(server.url("small")), tree)
    requests, count = server.counted()
    # One for the size, one for the file.
    assert [method for method, _ in requests] == ["HEAD", "GET"]
    assert count == len(file.getvalue())


def test_of_big_files_only_ranges_come(server, big):
    server.files["big"] = big
    server.counted()
    with qcodec.open(server.url("big")) as checkpoint:
        assert len(checkpoint) == 24
        requests, count = server.counted()
        # The size; the header; the last block with trailer and directory.
        assert len(requests) == 3 and count <= 256 + (1 << 20)
        assert checkpoint.inspect().tensors and checkpoint.metadata == {}
        assert server.counted() == ([], 0)
        local = qcodec.open(io.BytesIO(big))
        name = "state/3/exp_avg"
        assert np.array_equal(checkpoint[name][100:103], local[name][100:103])
        requests, count = server.counted()
        assert len(requests) <= 2 and count <= 2 << 20 and all(wanted for _, wanted in requests)
        assert np.array_equal(checkpoint[name][:], local[name][:])
        requests, count = server.counted()
        assert len(requests) <= 2 and count <= 2 << 20


def test_big_files_come_in_few_requests(server, big):
    server.files["big"] = big
    tree = qcodec.load(server.url("big"))
    assert is_same(qcodec.load(io.BytesIO(big)), tree)
    requests, count = server.counted()
    # Nothing comes twice but the header; far fewer requests than its 96 chunks.
    assert count <= len(big) + 256
    assert len(requests) <= 3 + len(big) // (1 << 20)


def test_many_threads_ask_for_each_block_once(server, big):
    server.files["big"] = big
    server.delay = 0.02
    with qcodec.open(server.url("big"), threads=8) as checkpoint:
        errors = []

        def read(name):
            try:
                assert np.array_equal(checkpoint[name][:], local[name][:])
            except BaseException as error:  # noqa: BLE001 - shown by the test
                errors.append(error)

        local = qcodec.open(io.BytesIO(big))
        threads = [threading.Thread(target=read, args=(name,)) for name in checkpoint]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
    assert server.counted()[1] <= len(big) + 256


def test_inspection_and_verification_over_http(server, big):
    server.files["big"] = big
    assert qcodec.inspect(server.url("big")) == qcodec.inspect(io.BytesIO(big))
    assert server.counted()[1] <= 256 + (1 << 20)
    assert qcodec.verify(server.url("big")) == qcodec.verify(io.BytesIO(big))
    # Its passes over the file find the blocks of the first one.
    assert server.counted()[1] <= len(big) + 256


def test_failures_over_http(server, big):
    url = server.url("big")
    with pytest.raises(FileNotFoundError, match="no such object.*big"):
        qcodec.load(url)
    server.files["big"] = big
    server.status = 503
    with pytest.raises(qcodec.StorageError, match="503"):
        qcodec.load(url)
    server.status = None
    server.ranges = False
    with pytest.raises(qcodec.StorageError, match="sends no ranges"):
        qcodec.load(url)
    server.length = False
    with pytest.raises(qcodec.StorageError, match="no known size"):
        qcodec.load(url)
    server.ranges = server.length = True
    server.cut = 1000
    with pytest.raises(qcodec.StorageError, match="it is shorter, or has changed"):
        qcodec.load(url)
    server.cut = 0
    with qcodec.open(url) as checkpoint:
        server.status = 500
        with pytest.raises(qcodec.StorageError, match="bytes .* cannot be read.*500"):
            checkpoint["state/0/exp_avg"][:]
        # What failed is not remembered.
        server.status = None
        assert checkpoint["state/0/exp_avg"][0].shape == (1000,)
    server.files["big"] = b"<html>" * 1000
    with pytest.raises(qcodec.FormatError):
        qcodec.load(url)
    damaged = bytearray(big)
    damaged[2000] ^= 1
    server.files["big"] = bytes(damaged)
    with pytest.raises(qcodec.FormatError):
        qcodec.load(url)


def test_small_files_need_no_ranges(server):
    file = io.BytesIO()
    tree = state(4, (8, 8))
    qcodec.save(file, tree, policy="lossless")
    server.files["small"] = file.getvalue()
    server.ranges = False
    assert is_same(qcodec.load(server.url("small")), tree)


def test_no_server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(qcodec.StorageError, match="cannot be opened"):
        qcodec.load(f"http://127.0.0.1:{port}/x")


def test_an_url_of_an_unknown_kind():
    with pytest.raises(ValueError, match="not known"):
        qcodec.load("nosuch://a/b")


# Saving


@pytest.fixture(params=["memory", "file"])
def folder(request, tmp_path):
    """The URL of an empty folder."""
    if request.param == "file":
        yield f"file://{tmp_path}"
        return
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield "memory://folder"
    memory.store.clear()


def listed(folder):
    filesystem, path = fsspec.core.url_to_fs(folder)
    return sorted(os.path.basename(name) for name in filesystem.find(path))


def test_every_call_takes_urls(folder):
    url = f"{folder}/a.qckpt"
    tree = state(8, (64, 64))
    written = qcodec.save(url, tree, metadata={"run": "7"})
    assert listed(folder) == ["a.qckpt"]
    filesystem, path = fsspec.core.url_to_fs(url)
    assert filesystem.size(path) == written.file_bytes
    assert qcodec.load(url)["step"] == tree["step"]
    with qcodec.open(url) as checkpoint:
        assert checkpoint.metadata == {"run": "7"}
        assert checkpoint["state/0/exp_avg"][3:5].shape == (2, 64)
    assert qcodec.inspect(url).tensors
    arrays = {f"state/{i}/{key}": a for i, moments in tree["state"].items() for key, a in moments.items()}
    qcodec.verify(url, arrays)


def test_pytorch_takes_urls(folder):
    torch = need("torch")
    import qcodec.torch

    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    url = f"{folder}/a.qckpt"
    qcodec.torch.save({"model": model, "optimizer": optimizer}, url, policy="lossless")
    loaded = qcodec.torch.load(url)
    assert torch.equal(loaded["model"]["weight"], model.weight)
    moments = optimizer.state_dict()["state"][0]
    assert all(torch.equal(loaded["optimizer"]["state"][0][key], moments[key]) for key in moments)


def test_an_aborted_save_leaves_what_was_there(folder):
    url = f"{folder}/a.qckpt"

    def aborted():
        with pytest.raises(RuntimeError, match="stop"):
            with qcodec.Writer(url) as writer:
                writer.add({"a": np.ones(200_000, np.float32)})
                raise RuntimeError("stop")
        with pytest.raises(qcodec.EncodeError):
            qcodec.save(url, {"exp_avg": np.full(8192, np.nan, np.float32)})

    aborted()
    assert listed(folder) == []
    tree = state(4, (8, 8))
    qcodec.save(url, tree, policy="lossless")
    aborted()
    writer = qcodec.Writer(url)
    writer.add({"a": np.ones(5, np.float32)})
    del writer
    assert listed(folder) == ["a.qckpt"] and is_same(qcodec.load(url), tree)
    qcodec.save(url, tree | {"step": 9}, policy="lossless")
    assert listed(folder) == ["a.qckpt"] and qcodec.load(url)["step"] == 9


def test_a_failed_transfer_leaves_what_was_there(monkeypatch, tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    tree = state(4, (8, 8))
    qcodec.save("memory://failing/a", tree, policy="lossless")

    def fail(self, path, value, **_):
        self.open(path, "wb").write(value[:10])
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", fail)
        with pytest.raises(qcodec.StorageError, match="memory://failing/a.*gone"):
            qcodec.save("memory://failing/a", tree | {"step": 1}, policy="lossless")
    assert is_same(qcodec.load("memory://failing/a"), tree)
    assert fsspec.filesystem("memory").find("/failing") == ["/failing/a"]
    assert list(tmp_path.iterdir()) == []


def test_a_big_file_is_sent_from_the_disk():
    tree = {"a": np.random.default_rng(0).integers(0, 256, 40 << 20, np.uint8)}
    qcodec.save("memory://big/a", tree, policy="lossless")
    assert np.array_equal(qcodec.load("memory://big/a")["a"], tree["a"])
    fsspec.filesystem("memory").store.clear()


def test_originals_to_compare_with_are_local(tmp_path):
    qcodec.save("memory://against/a", {"a": np.ones(5, np.float32)})
    qcodec.save(f"{tmp_path}/a", {"a": np.ones(5, np.float32)})
    qcodec.verify("memory://against/a", f"file://{tmp_path}/a")
    with pytest.raises(qcodec.ArgumentError, match="local"):
        qcodec.verify("memory://against/a", "memory://against/a")


def test_missing_objects_and_folders(folder):
    with pytest.raises(FileNotFoundError):
        qcodec.load(f"{folder}/none")
    qcodec.save(f"{folder}/x/a" if folder.startswith("memory") else f"{folder}/a", {"a": 1})
    with pytest.raises(OSError):
        qcodec.load(f"{folder}/x")
    with pytest.raises(OSError):
        qcodec.load(folder)


def test_open_files(tmp_path):
    tree = state(4, (64, 64))
    with fsspec.open(f"file://{tmp_path}/a", "wb") as file:
        qcodec.save(file, tree, policy="lossless")
        assert not file.closed
    with fsspec.open(f"file://{tmp_path}/a", "rb") as file:
        assert is_same(qcodec.load(file), tree)
        assert not file.closed
    with open(tmp_path / "a", "rb", buffering=0) as file:
        assert is_same(qcodec.load(file), tree)
    cut = io.BytesIO((tmp_path / "a").read_bytes()[:-10])
    with pytest.raises(qcodec.FormatError):
        qcodec.load(cut)

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        qcodec.save(Full(), tree)
