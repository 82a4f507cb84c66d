"""The package `qcodec` as installed: trees, files, slices, verification, errors."""

import collections
import copy
import io
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import tomllib

import numpy as np
import pytest

import qcodec

Point = collections.namedtuple("Point", "x y")


@pytest.fixture
def qcodec_command(request):
    """The command; the fixture's own name is the package's here."""
    return request.getfixturevalue("qcodec")


@pytest.fixture
def state():
    """Moments that a policy quantizes, and all else that training state has."""
    random = np.random.default_rng(7)
    m = random.standard_normal((96, 128)).astype(np.float32)
    v = (m * m * random.random((96, 128)) + 1e-9).astype(np.float32)
    return {
        "step": 7,
        "lr": 1e-3,
        "state": {0: {"exp_avg": m, "exp_avg_sq": v, "step": np.float32(3)}, "0": {"note": "text, not a number"}},
        "groups": [{"betas": (0.9, 0.999), "foreach": None, "fused": False, "params": [0, 1]}],
    }


def same(left, right):
    """Whether two trees are equal in values and types, arrays bit for bit."""
    assert type(left) is type(right), (type(left), type(right))
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for a, b in zip(left, right):
            same(a, b)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and left.shape == right.shape
        assert left.tobytes() == right.tobytes()
    elif isinstance(left, float):
        assert math.copysign(1, left) == math.copysign(1, right)
        assert left == right or math.isnan(left) and math.isnan(right)
    else:
        assert left == right


class TestTrees:
    @pytest.mark.parametrize(
        "tree",
        [
            {},
            [],
            (),
            None,
            True,
            "text",
            "ünïcode \U0001f600 \n\t\"\\",
            0,
            -(2**63),
            2**63,
            -(10**40),
            0.1,
            -0.0,
            math.inf,
            math.nan,
            5e-324,
            1 + 2j,
            b"\x00\xff",
            {"a": {0: 1, "0": 2, -5: [(), [], {}, (1,)]}},
            collections.OrderedDict([("b", 1), ("a", 2)]),
            np.arange(6).reshape(2, 3),
            np.float32(1.5),
            np.int64(-3),
            np.bool_(True),
            [np.zeros((0, 4), np.float32), np.array(2.5), np.array([True, False]), np.array([1 + 2j])],
            {"a/b": np.ones(2), "a": {"b": np.zeros(2)}},
            {0: np.ones(2), "0": np.zeros(2)},
            {"": np.ones(1)},
            # The order of a set of text is another in each process.
            pytest.param(
                [{3, 1, 2}, frozenset(["b", "a"]), collections.Counter(a=2), pathlib.Path("a/b"), set()], id="sets"),
        ],
        ids=repr,
    )
    def test_comes_back_as_it_was(self, tmp_path, tree):
        path = tmp_path / "tree.qckpt"
        qcodec.save(path, tree)
        same(tree, qcodec.load(path))

    # NumPy's own: ml_dtypes adds to the dictionary where a test before this one has imported it.
    @pytest.mark.parametrize("dtype", [
        name for name, kind in np.sctypeDict.items()
        if isinstance(name, str) and name.startswith(("int", "uint", "float")) and kind.__module__ == "numpy"])
    def test_every_number_type_is_kept_bit_for_bit(self, tmp_path, dtype):
        if dtype in ("float128", "longdouble", "float96"):
            pytest.skip("wider than any type of the format")
        array = np.arange(24, dtype=dtype).reshape(2, 3, 4)
        qcodec.save(tmp_path / "t.qckpt", [array, array.T, array[:, ::-1], array.astype(array.dtype.newbyteorder(">"))])
        plain, transposed, reversed_, swapped = qcodec.load(tmp_path / "t.qckpt")
        same(array, plain)
        same(np.ascontiguousarray(array.T), transposed)
        same(np.ascontiguousarray(array[:, ::-1]), reversed_)
        same(array, swapped)

    def test_ml_dtypes_are_kept_bit_for_bit(self, tmp_path):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        names = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"]
        arrays = {name: np.arange(200, dtype=np.uint8).repeat(2).view(getattr(ml_dtypes, name)) for name in names}
        qcodec.save(tmp_path / "t.qckpt", arrays, policy="lossless")
        back = qcodec.load(tmp_path / "t.qckpt")
        for name in names:
            assert back[name].dtype == arrays[name].dtype and back[name].tobytes() == arrays[name].tobytes()

    def test_bfloat16_moments_are_quantized_without_a_detour(self, tmp_path):
        ml_dtypes = pytest.importorskip("ml_dtypes")
        m = np.random.default_rng(0).standard_normal((64, 128)).astype(ml_dtypes.bfloat16)
        qcodec.save(tmp_path / "t.qckpt", {"exp_avg": m, "exp_avg_sq": m * m})
        view = qcodec.open(tmp_path / "t.qckpt")["exp_avg"]
        assert view.dtype == "BF16" and view.is_quantized and view.numpy().dtype == m.dtype

    def test_named_tuples_come_back_by_field_and_with_like_by_class(self, tmp_path):
        path = tmp_path / "t.qckpt"
        tree = {"p": Point(np.arange(3), [Point(1, 2)])}
        qcodec.save(path, tree)
        loaded = qcodec.load(path)["p"]
        assert type(loaded).__name__ == "Point" and loaded._fields == ("x", "y") and loaded.y[0].x == 1
        same(tree, qcodec.load(path, like=tree))

    def test_one_array_in_two_places_is_stored_once(self, tmp_path):
        path = tmp_path / "t.qckpt"
        array = np.random.default_rng(0).random(100_000)
        qcodec.save(path, {"tied": array, "weight": array}, policy="lossless", compression="none")
        assert path.stat().st_size < 1.1 * array.nbytes
        loaded = qcodec.load(path)
        assert loaded["tied"] is loaded["weight"]

    def test_copies_at_one_address_after_another_are_different_arrays(self, tmp_path):
        base = np.arange(2000.0).reshape(2, 1000).T
        tree = [base + k for k in range(20)]
        qcodec.save(tmp_path / "t.qckpt", tree)
        same([np.ascontiguousarray(x) for x in tree], qcodec.load(tmp_path / "t.qckpt"))

    @pytest.mark.parametrize(
        ("tree", "place"),
        [
            ({"a": [object()]}, "a/0"),
            ({"a": {1.5: 0}}, "a"),
            ({"s": {1, object()}}, "s/[01]"),
            ({"q": collections.deque([1])}, "q"),
            ({"o": np.array(["x"])}, "o"),
            ({"o": np.array([None])}, "o"),
            (lambda: 0, "the tree"),
        ],
    )
    def test_what_cannot_be_stored_is_named_by_its_path(self, tmp_path, tree, place):
        with pytest.raises(TypeError, match=f"^{place}: "):
            qcodec.save(tmp_path / "t.qckpt", tree)
        assert os.listdir(tmp_path) == []

    def test_a_tree_too_deep_is_refused(self, tmp_path):
        tree = {}
        for _ in range(100):
            tree = {"a": tree}
        with pytest.raises(qcodec.ArgumentError, match="levels"):
            qcodec.save(tmp_path / "t.qckpt", tree)

    def test_another_programs_file_is_its_tensors_by_name(self, tmp_path, qcodec_command, states):
        qcodec_command("encode", states[0], "-o", tmp_path / "c.qckpt", "--policy", "lossless")
        tree = qcodec.load(tmp_path / "c.qckpt")
        assert tree and all(isinstance(array, np.ndarray) for array in tree.values())

    def test_a_damaged_document_is_an_error(self, tmp_path):
        for document in [{}, [], {"version": 2, "root": 1}, {"version": 1}, {"version": 1, "root": {"x": 1}}] + [
            {"version": 1, "root": root}
            for root in [{"dict": 5}, {"dict": [[1.5, 2]]}, {"dict": [[1]]}, {"tensor": 7}, {"bytes": "!"}, {}, 1.5,
                         {"float": "x"}, {"namedtuple": "class", "items": []}, {"list": {"a": 1}}, {"complex": ["1"]}]
        ]:
            path = tmp_path / "d.qckpt"
            with qcodec.Writer(path) as writer:
                writer.set_member("tree", document)
            with pytest.raises(qcodec.FormatError):
                qcodec.load(path)


class TestLike:
    def test_every_difference_is_listed(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        qcodec.save(path, state)
        like = copy.deepcopy(state)
        like["state"][0]["exp_avg"] = np.zeros((2, 2), np.float32)
        like["state"][0]["exp_avg_sq"] = like["state"][0]["exp_avg_sq"].astype(np.float64)
        like["new"] = 1
        del like["step"]
        like["groups"][0]["betas"] = 0.9
        with pytest.raises(qcodec.MismatchError) as caught:
            qcodec.load(path, like=like)
        text = "\n".join(caught.value.differences)
        assert len(caught.value.differences) == 7
        for part in ["exp_avg: shape (96, 128) in the checkpoint, (2, 2) wanted", "exp_avg_sq: float32 in the checkpoint, "
                     "float64 wanted", "new: missing", "step: in the checkpoint, but not wanted", "groups/0/betas"]:
            assert part in text

    def test_what_fits_is_returned_in_the_containers_of_like(self, tmp_path, state):
        qcodec.save(tmp_path / "t.qckpt", state, policy="lossless")
        same(state, qcodec.load(tmp_path / "t.qckpt", like=state))

    def test_remap_renames_paths_and_their_beginnings(self, tmp_path):
        path = tmp_path / "t.qckpt"
        qcodec.save(path, {"old": {"w": np.ones(2), "b": np.zeros(2)}, "keep": 1})
        like = {"new": {"net": {"w": np.empty(2), "bias": np.empty(2)}}, "keep": 0}
        remap = {"old": "new/net", "old/b": "new/net/bias"}
        loaded = qcodec.load(path, like=like, remap=remap)
        assert loaded["new"]["net"]["w"].sum() == 2 and loaded["keep"] == 1
        assert qcodec.load(path, remap={"old": "new"}).keys() == {"new", "keep"}
        assert qcodec.load(path, remap=str.upper).keys() == {"OLD", "KEEP"}
        with pytest.raises(qcodec.ArgumentError, match="another parent"):
            qcodec.load(path, remap={"old/w": "keep/w"})


class TestFiles:
    def test_names_shapes_lazy_tensors_slices_and_metadata(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        written = qcodec.save(path, state, metadata={"run": "seven"})
        assert written.file_bytes == path.stat().st_size and written.tensors == 3
        whole = qcodec.load(path)["state"][0]["exp_avg"]
        with qcodec.open(path) as checkpoint:
            assert sorted(checkpoint) == ["state/0/exp_avg", "state/0/exp_avg_sq", "state/0/step"] == list(checkpoint)
            assert "state/0/exp_avg" in checkpoint and "nothing" not in checkpoint and len(checkpoint) == 3
            assert checkpoint.metadata == {"run": "seven"} and checkpoint.policy["name"] == "adam8"
            view = checkpoint["state/0/exp_avg"]
            assert view.shape == (96, 128) and view.dtype == "F32" and view.role == "first_moment" and len(view) == 96
            assert view.scheme.map == "cubic" and view.scheme.domain == "update" and view.guaranteed_max_abs_error > 0
            keys = [
                slice(None), slice(3, 5), slice(-2, None), slice(90, 200), slice(5, 2), slice(None, None, -7),
                slice(80, 3, -5), slice(0, 0), 7, -1, np.int64(2), (3, slice(1, 4)), (slice(2, 4), 5), Ellipsis,
                (Ellipsis, 0), (slice(None), None), np.array([1, 3]), whole[:, 0] > 0,
            ]
            for key in keys:
                assert np.array_equal(view[key], whole[key]), key
            for bad in (96, -97):
                with pytest.raises(IndexError):
                    view[bad]
            assert np.array_equal(np.asarray(view), whole) and np.asarray(view, dtype=np.float64).dtype == np.float64
            assert checkpoint["state/0/step"].numpy() == 3 and checkpoint["state/0/step"][()] == 3
            with pytest.raises(KeyError):
                checkpoint["nothing"]
            assert np.array_equal(checkpoint.read()["state/0/exp_avg"], whole)
        with pytest.raises(qcodec.ArgumentError, match="closed"):
            list(checkpoint)

    def test_reports_are_dataclasses_of_what_the_command_prints(self, tmp_path, state, qcodec_command):
        path = tmp_path / "t.qckpt"
        qcodec.save(path, state, measure_epsilon=1e-8)
        report = qcodec.inspect(path)
        printed = qcodec_command("inspect", path, json_output=True)
        assert report.file_bytes == printed["file_bytes"] and report.update_error.pairs == 1
        assert [t.name for t in report.tensors] == [t["name"] for t in printed["tensors"]]
        assert report.tensors[0].max_abs_error == printed["tensors"][0]["max_abs_error"]
        verified = qcodec.verify(path)
        assert verified.ok and len(verified.tensors) == 3

    def test_verify_holds_every_element_against_arrays_or_a_file(self, tmp_path, state):
        path, exact = tmp_path / "t.qckpt", tmp_path / "exact.qckpt"
        qcodec.save(path, state)
        qcodec.save(exact, state, policy="lossless")
        moments = {f"state/0/{key}": value for key, value in state["state"][0].items() if key != "step"}
        originals = moments | {"state/0/step": np.asarray(state["state"][0]["step"])}
        for against in (originals, exact):
            report = qcodec.verify(path, against)
            assert report.ok and 0 < report.update_error.rel_l2 < 0.02
        moments["state/0/exp_avg"] = moments["state/0/exp_avg"] + np.float32(1)
        with pytest.raises(qcodec.BoundError) as caught:
            qcodec.verify(path, originals | moments)
        assert caught.value.tensor == "state/0/exp_avg" and caught.value.report.violations > 0
        with pytest.raises(qcodec.BoundError, match="limit"):
            qcodec.verify(path, max_rel_l2=1e-9)

    def test_policies_by_name_document_and_path(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        for policy, bits in [("adam4", 4), ("paper8", 8), ("lossless", None)]:
            qcodec.save(path, state, policy=policy)
            assert qcodec.inspect(path).tensors[0].bits == bits
        document = {"name": "own", "rules": [{"match": {"name": "**exp_avg*"}, "action": "drop"}]}
        (tmp_path / "own.json").write_text(json.dumps(document))
        for policy in (document, str(tmp_path / "own.json"), tmp_path / "own.json"):
            qcodec.save(path, state, policy=policy)
            assert qcodec.load(path)["state"][0]["exp_avg"] is None
        for policy, kind in [("nope", "policies are"), ({"rules": 5}, "rules"), (5, "a policy is")]:
            with pytest.raises(qcodec.ArgumentError, match=kind):
                qcodec.save(path, state, policy=policy)

    def test_a_quality_is_the_error_of_the_update(self, tmp_path):
        path = tmp_path / "t.qckpt"
        random = np.random.default_rng(5)
        moments = {"exp_avg": random.normal(0, 0.3, 50_000).astype(np.float32), "exp_avg_sq": np.ones(50_000, np.float32)}
        moments["exp_avg_sq"] *= np.exp(random.normal(0, 3, 50_000)).astype(np.float32)
        moments["exp_avg"] *= np.sqrt(moments["exp_avg_sq"])
        sizes = []
        for quality in (0.02, 0.1):
            written = qcodec.save(path, moments, policy="adamq", quality=quality, measure_epsilon=0.0)
            assert abs(qcodec.verify(path, moments, epsilon=0.0).update_error.rel_l2 / quality - 1) < 0.05
            sizes.append(written.file_bytes)
        assert sizes[1] < 0.7 * sizes[0]
        with pytest.raises(qcodec.ArgumentError, match="goes with"):
            qcodec.save(path, moments, quality=0.1)
        with pytest.raises(qcodec.ArgumentError, match="0.001 to 0.6"):
            qcodec.save(path, moments, policy="adamq", quality=0.7)

    def test_a_previous_file_stays_where_saving_fails(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        qcodec.save(path, {"a": 1})
        state["state"][0]["exp_avg"][3, 4] = np.nan
        with pytest.raises(qcodec.EncodeError, match="exp_avg") as caught:
            qcodec.save(path, state)
        assert caught.value.tensor == "state/0/exp_avg" and caught.value.element == 3 * 128 + 4 and caught.value.code == 20
        assert qcodec.load(path) == {"a": 1} and os.listdir(tmp_path) == ["t.qckpt"]
        qcodec.save(path, state, nonfinite="lossless")
        assert np.isnan(qcodec.load(path)["state"][0]["exp_avg"][3, 4])

    def test_equal_trees_are_equal_bytes_at_any_number_of_threads(self, tmp_path, state):
        contents = set()
        for threads in (1, 2, 5):
            qcodec.save(tmp_path / "t.qckpt", state, threads=threads)
            contents.add((tmp_path / "t.qckpt").read_bytes())
        assert len(contents) == 1

    def test_binary_files_serve_as_paths(self, state):
        file = io.BytesIO()
        qcodec.save(file, state)
        assert qcodec.load(file)["step"] == 7
        assert qcodec.load(io.BytesIO(file.getvalue()))["step"] == 7

    def test_errors_of_a_file_object_come_through(self, state):
        class Full(io.RawIOBase):
            def write(self, data):
                raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left"):
            qcodec.save(Full(), state)

    def test_foreign_and_damaged_files_are_typed_errors(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        cases = {"pickle": pickle.dumps({"a": 1}), "text": b"hello", "empty": b"", "zip": b"PK\x05\x06" + bytes(18)}
        for name, content in cases.items():
            path.write_bytes(content)
            with pytest.raises(qcodec.FormatError):
                qcodec.load(path)
        qcodec.save(path, state)
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
        with pytest.raises(qcodec.FormatError) as caught:
            qcodec.verify(path)
        assert caught.value.offset is not None
        with pytest.raises(FileNotFoundError):
            qcodec.load(tmp_path / "nothing")
        with pytest.raises(FileNotFoundError):
            qcodec.save(tmp_path / "no" / "folder", state)
        with pytest.raises(IsADirectoryError):
            qcodec.save(tmp_path, state)

    def test_errors_are_copied_to_other_processes_whole(self):
        error = qcodec.FormatError("message", 38, tensor="t", element=3, offset=9, description="message (tensor 't')")
        copied = pickle.loads(pickle.dumps(error))
        assert (type(copied), str(copied), copied.code, copied.tensor, copied.offset) == (
            qcodec.FormatError, "message (tensor 't')", 38, "t", 9)
        assert pickle.loads(pickle.dumps(qcodec.MismatchError(["a: b"]))).differences == ["a: b"]

    def test_many_threads_read_one_checkpoint(self, tmp_path, state):
        path = tmp_path / "t.qckpt"
        qcodec.save(path, state)
        whole = qcodec.load(path)["state"][0]["exp_avg"]
        failures = []
        with qcodec.open(path, threads=1) as checkpoint:

            def work(seed):
                random = np.random.default_rng(seed)
                for _ in range(50):
                    start = int(random.integers(0, 95))
                    if not np.array_equal(checkpoint["state/0/exp_avg"][start : start + 2], whole[start : start + 2]):
                        failures.append(start)

            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not failures

    def test_other_threads_run_while_the_library_works(self, tmp_path):
        arrays = {f"exp_avg_{k}": np.random.default_rng(k).standard_normal(1 << 22).astype(np.float32) for k in range(4)}
        counted, done = [0], threading.Event()

        def count():
            while not done.is_set():
                counted[0] += 1

        thread = threading.Thread(target=count)
        thread.start()
        before = counted[0]
        qcodec.save(tmp_path / "t.qckpt", arrays, threads=1)
        during = counted[0] - before
        done.set()
        thread.join()
        # With the GIL held not one turn would have come.
        assert during > 100


class TestArrays:
    @pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_arrays_in_memory(self, bits, dtype):
        array = np.random.default_rng(0).standard_normal((70, 131)).astype(dtype)
        encoded = qcodec.encode(array, qcodec.Scheme("cubic", bits))
        assert encoded.stream.size == -(-array.size // encoded.scheme.block) * 4 + -(-array.size * bits // 8)
        decoded = qcodec.decode(encoded)
        assert decoded.dtype == dtype and encoded.stream.dtype == np.uint8
        error = np.abs(decoded.astype(np.float64) - array.astype(np.float64)).max()
        assert error == encoded.max_abs_error <= encoded.guaranteed_max_abs_error
        assert np.array_equal(qcodec.decode(encoded, slice(5, 9)), decoded[5:9])
        out = np.empty_like(array)
        assert qcodec.decode(encoded, out=out) is out and np.array_equal(out, decoded)
        with pytest.raises(qcodec.ArgumentError):
            qcodec.decode(encoded, out=np.empty(3, dtype))

    def test_schemes_are_what_policies_hold(self):
        table = tuple(np.linspace(-1, 1, 16, dtype=np.float32).tolist())
        for scheme in [
            qcodec.Scheme("log", signed=False), qcodec.Scheme("linear-nozero", 4, False, "rank1"),
            qcodec.Scheme("normal", 4, block=64), qcodec.Scheme("dynamic", rounding="stochastic", seed=2**64 - 1),
            qcodec.Scheme("custom", 4, True, table=table), qcodec.Scheme("linear", scaling="row"),
            qcodec.Scheme("custom", 3, True, table=table[8:]), qcodec.Scheme("log", 6, False), qcodec.Scheme("linear", 3),
        ]:
            array = np.abs(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)) + 1
            encoded = qcodec.encode(array, scheme, name="x")
            assert encoded.scheme.map == scheme.map and encoded.scheme.bits == scheme.bits
            again = qcodec.encode(array, encoded.scheme, name="x")
            assert np.array_equal(again.stream, encoded.stream)
        for bad in [qcodec.Scheme("nope"), qcodec.Scheme("dynamic", 5), qcodec.Scheme("linear", 7), qcodec.Scheme("dynamic", block=100)]:
            with pytest.raises(qcodec.ArgumentError):
                qcodec.encode(array, bad)

    def test_codes_of_three_bits_go_in_and_out_as_they_are(self, tmp_path):
        table = (0.5, -3.0, 2.0, 0.0, 1.0, -1.0, 0.25, 7.0)
        scheme = qcodec.Scheme("custom", 3, True, block=64, table=table, is_import=True)
        random = np.random.default_rng(1)
        numbers, scales = random.integers(0, 8, 1001, np.uint8), random.random(16).astype(np.float32)
        codes = np.packbits(np.unpackbits(numbers[:, None], axis=1)[:, 5:].ravel())
        with qcodec.Writer(tmp_path / "t.qckpt") as writer:
            writer.add_codes("x", numbers.shape, scheme, scales, codes)
        with qcodec.open(tmp_path / "t.qckpt") as checkpoint:
            view = checkpoint["x"]
            assert view.scheme.bits == 3 and np.array_equal(view.codes()[1], codes)
            expected = np.array(table, np.float32)[numbers] * np.repeat(scales, 64)[:1001] + np.float32(0)
            assert np.array_equal(view.numpy(), expected)
            assert np.array_equal(view[333:340], expected[333:340])

    def test_codes_of_another_system_go_in_and_out_as_they_are(self, tmp_path):
        random = np.random.default_rng(0)
        codes = random.integers(0, 255, 300_001, np.uint8)
        scales = random.random(-(-codes.size // 256)).astype(np.float32)
        scheme = qcodec.Scheme("dynamic", 8, True, block=256)
        with qcodec.Writer(tmp_path / "t.qckpt") as writer:
            writer.add_codes("exp_avg", codes.shape, scheme, scales, codes, role="first_moment")
        with qcodec.open(tmp_path / "t.qckpt") as checkpoint:
            view = checkpoint["exp_avg"]
            back = view.codes()
            assert np.array_equal(back[0], scales) and np.array_equal(back[1], codes)
            assert view.scheme.rounding == "unknown" and view.guaranteed_max_abs_error is None
            expected = view.table()[codes] * np.repeat(scales, 256)[: codes.size] + np.float32(0)
            assert np.array_equal(view.numpy(), expected)
        assert qcodec.verify(tmp_path / "t.qckpt").ok


class TestWheel:
    @pytest.mark.parametrize("release", ["lowest", "newest"])
    def test_works_in_a_clean_environment_with_only_numpy(self, root, tmp_path, release):
        wheels = os.environ.get("QCODEC_WHEELS")
        if not wheels:
            pytest.skip("QCODEC_WHEELS names no folder of wheels")
        (wheel,) = [name for name in os.listdir(wheels) if name.endswith(".whl")]
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
        python = tmp_path / "venv" / "bin" / "python"
        project = tomllib.loads((root / "Sources" / "PyQCodec" / "pyproject.toml").read_text())["project"]
        (numpy,) = project["dependencies"]
        numpy = numpy.replace(">=", "==") if release == "lowest" else "numpy"
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", numpy], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", os.path.join(wheels, wheel)],
            check=True)
        program = (
            "import sys, numpy as np, qcodec\n"
            "qcodec.save('t.qckpt', {'a': np.arange(9.0)})\n"
            "assert qcodec.load('t.qckpt')['a'][8] == 8\n"
            "assert not {'torch', 'jax', 'ml_dtypes'} & set(sys.modules)\n"
        )
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("QCODEC", "PYTHON"))}
        clean["LD_LIBRARY_PATH"] = ""
        subprocess.run([python, "-c", program], check=True, cwd=tmp_path, env=clean)
        command = tmp_path / "venv" / "bin" / "qcodec"
        done = subprocess.run([command, "inspect", "t.qckpt"], capture_output=True, text=True, check=True, cwd=tmp_path, env=clean)
        assert "1 tensors" in done.stdout
