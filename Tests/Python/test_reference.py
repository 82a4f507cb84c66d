"""The command against the reference reader and the fixtures' writer, neither of which shares code with it."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

import tensorfile

PRESETS = ["adam8", "adam4", "paper8", "paper4", "lossless"]
STATISTICS = {
    "max_abs_error": "max_abs", "max_scaled_error": "max_scaled", "squared_error": "squared_error",
    "squared_source": "squared_source", "zeros_created": "zeros", "sign_changes": "signs",
}


def recorded(tensor):
    return {key: getattr(tensor, field) for key, field in STATISTICS.items()}


# The golden fixtures


def golden_cases(root):
    return json.loads((root / "Fixtures" / "golden" / "expected.json").read_text())


def test_the_reference_reader_certifies_every_golden_file(root, reader):
    cases = golden_cases(root)
    assert sorted(cases) == sorted(path.stem for path in (root / "Fixtures" / "golden").glob("*.qckpt"))
    for case, expected in cases.items():
        checkpoint = reader.read_file(root / "Fixtures" / "golden" / f"{case}.qckpt")
        assert hashlib.sha256(checkpoint.data).hexdigest() == expected["sha256"], case
        found = reader.summary(checkpoint)
        for entry, tensor in zip(found["tensors"], checkpoint.tensors, strict=True):
            entry["xxh3"] = f"{reader.xxh3(checkpoint.read(tensor)):016x}"
            if tensor.quantized:
                entry["statistics"] = recorded(tensor)
        assert found == {key: expected[key] for key in (
            "format_version", "base", "metadata", "tensors", "update_errors")}, case


def test_the_generator_reproduces_the_golden_files(root):
    command = [sys.executable, root / "Fixtures" / "make_golden.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_generator_reproduces_the_invalid_files(root):
    command = [sys.executable, root / "Fixtures" / "make_invalid.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_decodes_every_golden_file_as_expected(root, qcodec, tmp_path):
    for case, expected in golden_cases(root).items():
        source, target = root / "Fixtures" / "golden" / f"{case}.qckpt", tmp_path / f"{case}.safetensors"
        if case == "c128":
            # safetensors has no name for it.
            qcodec("decode", source, "-o", target, status=3)
            continue
        qcodec("decode", source, "-o", target)
        tensors, _ = tensorfile.load(target.read_bytes())
        found = {name: (t.dtype, list(t.shape), hashlib.sha256(t.data).hexdigest()) for name, t in tensors.items()}
        assert found == {
            t["name"]: (t["dtype"], t["shape"], t["sha256"]) for t in expected["tensors"]}, case


# Real states, and one whose tensors have several chunks


def moments_of_many_chunks():
    """Moments of 2 chunks and a tail, in shapes that rank1 has scale vectors for, and one odd in every way."""
    random = np.random.default_rng(20)
    tensors = {}
    for name, shape in (("wide", (520, 1031)), ("deep", (77, 83, 89)), ("flat", (2 * 262_144 + 33,))):
        first = random.standard_normal(shape) * np.exp2(random.integers(-40, 1, shape))
        second = np.square(random.standard_normal(shape)) * np.exp2(random.integers(-60, 1, shape))
        second *= random.random(shape) > 0.1
        for kind, values in (("exp_avg", first), ("exp_avg_sq", second)):
            tensors[f"{kind}/{name}"] = tensorfile.Entry("F32", shape, values.astype("<f4").tobytes())
    tensors["step"] = tensorfile.Entry("I64", (), (7).to_bytes(8, "little"))
    return tensorfile.dump(tensors, {"seed": "20"})


@pytest.fixture(scope="module")
def sources(states, tmp_path_factory):
    chunked = tmp_path_factory.mktemp("sources") / "chunked.safetensors"
    chunked.write_bytes(moments_of_many_chunks())
    return [*states, chunked]


@pytest.fixture(scope="module")
def encoded(qcodec, sources, tmp_path_factory):
    """Every source under every preset and compression: {(source, preset, compression): path}."""
    folder, files = tmp_path_factory.mktemp("encoded"), {}
    for source in sources:
        for preset in PRESETS:
            for compression in ("none", "lz4", "zstd"):
                target = folder / f"{source.stem}.{preset}.{compression}.qckpt"
                qcodec("encode", source, "-o", target, "--policy", preset, "--compression", compression)
                files[source, preset, compression] = target
    return files


def test_decode_equals_the_reference_reader_bit_for_bit(reader, qcodec, encoded, tmp_path):
    for (source, preset, compression), path in encoded.items():
        checkpoint = reader.Checkpoint(path.read_bytes())
        checkpoint.check_all_bytes()
        target = tmp_path / "decoded.safetensors"
        qcodec("decode", path, "-o", target)
        tensors, metadata = tensorfile.load(target.read_bytes())
        originals, original_metadata = tensorfile.load(source.read_bytes())
        assert metadata == original_metadata, path.name
        assert set(tensors) == {t.name for t in checkpoint.tensors} == set(originals), path.name
        for t in checkpoint.tensors:
            expected = tensorfile.Entry(t.dtype, tuple(t.shape), checkpoint.read(t))
            assert tensors[t.name] == expected, (path.name, t.name)
            assert t.quantized or tensors[t.name] == originals[t.name], (path.name, t.name)
            assert t.quantized == should_be_quantized(preset, t.name, t.elements), (path.name, t.name)


def should_be_quantized(preset, name, elements):
    return preset != "lossless" and name.startswith("exp_avg") and elements >= 4096


def test_recorded_guarantees_are_the_reference_readers(reader, encoded):
    for path in encoded.values():
        checkpoint = reader.Checkpoint(path.read_bytes())
        for t in checkpoint.tensors:
            relative = t.guaranteed_rel if t.has_relative else None
            assert (t.guaranteed, relative) == reader.guarantee(checkpoint, t), (path.name, t.name)


def remeasured(reader, writer, checkpoint, t, originals):
    """The statistics of a quantized tensor, measured by NumPy from its source and its stored codes and scales."""
    original = originals[t.name]
    how = writer.scheme(
        t.map, t.bits, t.signed, t.scaling, t.block, t.rounding, t.seed, t.rule, domain=t.domain)
    second = None if t.reference is None else checkpoint.tensors[t.reference]
    record = writer.Record(t.name, t.dtype, t.shape, original.data, how, second=second)
    divisors = checkpoint.divisors(t)
    payloads = list(map(checkpoint.payload, t.places))
    record.vector = np.zeros(0, np.float32)
    while len(record.vector) < reader.scale_count(t):
        record.vector = np.concatenate([record.vector, np.frombuffer(payloads.pop(0), "<f4")])
    x = reader.widen(original.data, t.dtype)
    for index, payload in enumerate(payloads):
        start = index * reader.CHUNK_ELEMENTS
        part = x[start:start + reader.CHUNK_ELEMENTS]
        scales = [] if t.scaling == "block" else [reader.element_scales(t, record.vector, start, len(part)).tobytes()]
        own = None if divisors is None else divisors[start:start + len(part)]
        writer.measure(record, part, [*scales, payload], start, own)
    return record


def test_recorded_statistics_are_those_of_numpy_exactly(reader, writer, encoded):
    seen = set()
    for (source, preset, compression), path in encoded.items():
        originals, _ = tensorfile.load(source.read_bytes())
        checkpoint = reader.Checkpoint(path.read_bytes())
        for t in (t for t in checkpoint.tensors if t.quantized):
            record = remeasured(reader, writer, checkpoint, t, originals)
            assert recorded(t) == recorded(record), (path.name, t.name)
            assert t.guaranteed == record.guaranteed, (path.name, t.name)
            assert np.array_equal(t.guaranteed_rel, record.relative, equal_nan=True), (path.name, t.name)
            seen.add((t.map, t.bits, t.scaling))
    assert seen == {
        ("cubic", 8, "block"), ("cubic", 4, "block"), ("log", 8, "block"), ("log", 4, "block"),
        ("dynamic", 8, "block"), ("dynamic", 4, "block"), ("linear-nozero", 4, "rank1"), ("linear-nozero", 4, "block")}


def scheme_of(writer, reader, preset, name, shape):
    """(role, scheme or None, reason) that a preset is to give a tensor, from the README and the papers."""
    elements = int(np.prod(shape, dtype=object))
    role = {"exp_avg": 1, "exp_avg_sq": 2, "param": 5}.get(name.split("/")[0], 0)
    if role not in (1, 2):
        return role, None, 0
    if elements < 4096:
        return role, None, 3
    if preset in ("adam8", "adam4"):
        bits, block = (8, 256) if preset == "adam8" else (4, 128)
        if role == 1:
            return role, writer.scheme("cubic", bits, True, block=block, domain="update"), 0
        return role, writer.scheme("log", bits, False, block=2 * block), 0
    if preset == "paper8":
        return role, writer.scheme("dynamic", 8, role == 1, block=256), 0
    if role == 1:
        return role, writer.scheme("dynamic", 4, True, block=128), 0
    axes = [length for length in shape if length != 1]
    if len(axes) < 2 or sum(axes) * 32 > elements:
        return role, writer.scheme("linear-nozero", 4, False, block=128), 0
    return role, writer.scheme("linear-nozero", 4, False, scaling="rank1"), 0


@pytest.mark.parametrize("extra", [{}, {"größe": "1 ≤ 2", "quote": 'a "b" \\ c'}], ids=["plain", "metadata"])
@pytest.mark.parametrize(("preset", "epsilon"), [
    ("paper8", None), ("paper4", None), ("adam8", None), ("adam8", 1e-8), ("adam4", None), ("adam4", 1e-3)])
def test_two_writers_give_the_same_bytes(reader, writer, qcodec, sources, tmp_path, preset, epsilon, extra):
    for source in sources:
        tensors, metadata = tensorfile.load(source.read_bytes())
        target = tmp_path / "own.qckpt"
        options = [word for key, value in extra.items() for word in ("--metadata", f"{key}={value}")]
        options += [] if epsilon is None else ["--measure-update", "--eps", str(epsilon)]
        qcodec("encode", source, "-o", target, "--policy", preset, "--compression", "none", *options)
        own = target.read_bytes()
        document = reader.Checkpoint(own).metadata()
        assert document["metadata"] == metadata | extra
        assert document["policy"]["name"] == preset
        records = {}
        # Second moments first, for first moments refer to them; the order of the file is that of the source.
        for name, (dtype, shape, data) in sorted(tensors.items(), key=lambda item: item[0].startswith("exp_avg/")):
            role, how, reason = scheme_of(writer, reader, preset, name, shape)
            is_update = how is not None and how["domain"] == "update"
            second = records[name.replace("exp_avg/", "exp_avg_sq/")] if is_update else None
            records[name] = writer.Record(
                name, dtype, shape, data, how, role, reason, second, epsilon if is_update else None)
        written = writer.build([records[name] for name in tensors], document)
        assert len(reader.Checkpoint(own).pairs) == (0 if epsilon is None else sum(bool(r.second) for r in records.values()))
        # The policy document is the command's own; everything else is made here.
        # Not compared whole: the difference of two files in a message takes minutes.
        differ = next((i for i, (one, other) in enumerate(zip(written, own)) if one != other), None)
        assert differ is None and len(written) == len(own), (source.name, differ, len(written), len(own))


QUALITY = {
    "name": "steps", "min_elements": 4096, "rules": [
        {"match": {"role": "first_moment"}, "action": "quantize", "step": {"rms": 0.25},
         "scheme": {"map": "linear", "bits": 8, "domain": "update"}, "fallback": {"map": "linear", "bits": 8}},
        {"match": {"role": "second_moment"}, "action": "quantize", "step": {"octaves": 0.7},
         "scheme": {"map": "log", "bits": 8, "block": 128}}]}


@pytest.mark.parametrize(("first", "second"), [
    ({"rms": 0.25}, {"octaves": 0.7}), ({"absolute": 0.02}, {"octaves": 0.02}), ({"rms": 0.01}, {"octaves": 1}),
    ({"rms": 1.7}, {"octaves": 1})])
def test_two_writers_make_the_same_of_steps(reader, writer, qcodec, sources, tmp_path, first, second):
    rules = [{**QUALITY["rules"][0], "step": first}, {**QUALITY["rules"][1], "step": second}]
    policy = tmp_path / "steps.json"
    policy.write_text(json.dumps({**QUALITY, "rules": rules}))
    encoded, decoded, again = (tmp_path / name for name in ("own.qckpt", "decoded.safetensors", "again.safetensors"))

    def encode(source):
        tensors, _ = tensorfile.load(source.read_bytes())
        qcodec("encode", source, "-o", encoded, "--policy", policy, "--compression", "none", "--measure-update")
        own = encoded.read_bytes()
        records = {}
        for name, (dtype, shape, data) in sorted(tensors.items(), key=lambda item: item[0].startswith("exp_avg/")):
            role, how, reason = scheme_of(writer, reader, "adam8", name, shape)
            partner = None
            if how is not None and role == 1:
                how = writer.scheme("linear", 8, True, block=256, domain="update")
                partner = records[name.replace("exp_avg/", "exp_avg_sq/")]
            elif how is not None:
                how = writer.scheme("log", 8, False, block=128)
            records[name] = writer.Record(
                name, dtype, shape, data, how, role, reason, partner, 1e-8 if partner is not None else None)
            if how is not None:
                records[name].step = next(iter((first if role == 1 else second).items()))
        written = writer.build([records[name] for name in tensors], reader.Checkpoint(own).metadata())
        differ = next((i for i, (one, other) in enumerate(zip(written, own)) if one != other), None)
        assert differ is None and len(written) == len(own), (source.name, differ, len(written), len(own))

    for source in sources:
        encode(source)
        qcodec("decode", encoded, "-o", decoded)
        # What was decoded has its step again, whatever its root mean square has become.
        encode(decoded)
        qcodec("decode", encoded, "-o", again)
        assert again.read_bytes() == decoded.read_bytes(), source.name


def test_an_update_that_is_not_finite_is_not_recorded(reader, qcodec, tmp_path):
    """ε = 0 over second moments of zero: a reader refuses such numbers, so the writer must not write them."""
    m, v = np.linspace(-1, 1, 4096, dtype=np.float32), np.zeros(4096, np.float32)
    source, target = tmp_path / "state.safetensors", tmp_path / "state.qckpt"
    source.write_bytes(tensorfile.dump({
        f"{name}/{kind}": tensorfile.Entry("F32", (4096,), x.tobytes())
        for name, second in (("a", v), ("b", v + 1)) for kind, x in (("exp_avg", m), ("exp_avg_sq", second))}, {}))
    qcodec("encode", source, "-o", target, "--measure-update", "--eps", "0")
    found = reader.summary(reader.Checkpoint(target.read_bytes()))["update_errors"]
    assert [(pair["first"], pair["eps"]) for pair in found] == [("b/exp_avg", 0.0)]
    qcodec("verify", target, "--against", source)
