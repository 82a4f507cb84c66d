"""The documents of Spec/ against the fixtures, the reference reader and the library: what they show is so."""

import json
import re
import struct

import numpy as np
import pytest

HEX_LINE = re.compile(r"([0-9a-f]{4})  ((?:[0-9a-f]{2} ){0,15}[0-9a-f]{2})(?:  +(\S.*))?")
DOCUMENTS = ("README", "Stream", "Checkpoint", "Maps", "ErrorBounds")


@pytest.fixture(scope="module")
def spec(root):
    return {name: (root / "Spec" / f"{name}.md").read_text() for name in DOCUMENTS}


def blocks(text, kind):
    """[(argument, lines)] of the fenced blocks of a kind."""
    found = re.findall(rf"^```{kind} (\S+)\n(.*?)^```$", text, re.S | re.M)
    return [(argument, body.splitlines()) for argument, body in found]


def vectors(text, name):
    """The rows of a block of vectors as dictionaries; columns are two or more spaces apart."""
    (lines,) = [lines for argument, lines in blocks(text, "vectors") if argument == name]
    head, *rows = [re.split(r"  +", line.strip()) for line in lines]
    assert rows and all(len(row) == len(head) for row in rows), name
    return [dict(zip(head, row)) for row in rows]


def tables(text, *head):
    """The cells of each table with this head, row by row."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines):
        if cells(line) == list(head):
            rows = []
            for row in lines[number + 2:]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            found.append(rows)
    return found


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def float32(pattern):
    return np.array([int(pattern, 16)], np.uint32).view(np.float32)


# Hexadecimal examples


def test_hexadecimal_examples_are_the_bytes_of_their_fixtures(root, spec):
    shown = {}
    for document, text in spec.items():
        for fixture, lines in blocks(text, "hex"):
            data, next_offset = (root / "Fixtures" / fixture).read_bytes(), None
            for line in lines:
                match = HEX_LINE.fullmatch(line)
                assert match, (document, line)
                offset, part = int(match[1], 16), bytes.fromhex(match[2])
                assert next_offset in (None, offset), (document, line)
                assert data[offset:offset + len(part)] == part, (document, line)
                shown.setdefault(fixture, set()).update(range(offset, offset + len(part)))
                next_offset = offset + len(part)
    assert len(shown["golden/no-tensors.qckpt"]) == 224, "a whole file is to be shown"
    assert set(shown) >= {f"golden/{name}.qckpt" for name in (
        "no-tensors", "names", "tails", "custom", "scalings", "log", "update-measured")}


def test_every_structure_has_an_example(spec):
    for heading in ("## Overview", "## Header", "### Leads", "## Metadata", "### Directory header", "### Tensor records",
                    "### Dims", "### Chunk records", "### Pair records", "### Map tables", "### Names", "## Trailer"):
        section = re.split(r"^##", spec["Checkpoint"].split(f"\n{heading}\n")[1], maxsplit=1, flags=re.M)[0]
        assert "```hex " in section, heading


def test_numbers_told_beside_bytes_are_in_them(root, spec):
    told = 0
    for document in ("Stream", "Checkpoint"):
        for _, lines in blocks(spec[document], "hex"):
            for line in lines:
                _, part, comment = HEX_LINE.fullmatch(line).groups()
                number = re.search(r"(?:: |scale of .*: |length |begins at |bytes at )(-?[0-9.]+)$", comment or "")
                if number and len(part) == 11:
                    integer, real = struct.unpack("<I", bytes.fromhex(part)) + struct.unpack("<f", bytes.fromhex(part))
                    assert float(number[1]) in (integer, real), line
                    told += 1
    assert told >= 8


# Tables of fields


def test_fields_follow_one_another_and_fill_their_structures(reader, spec):
    sizes = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "f64": 8}
    structures = tables(spec["Checkpoint"], "offset", "size", "type", "field", "range")
    ends = []
    for rows in structures:
        end = 0
        for offset, size, form, *_ in rows:
            assert int(offset) == end and sizes.get(form, int(size)) == int(size), (rows[0], offset)
            end += int(size)
        ends.append(end)
    # Header, preamble, frame, directory header, tensor, chunk, pair and table records, trailer.
    assert ends == [64, 16, 24, 64, 136, 32, 56, 16, 96]
    stated = re.findall(r"^(?:\*\*\w+\*\*: )?(\d+) bytes[.,]", spec["Checkpoint"], re.M)
    assert [int(number) for number in stated] == ends


def test_codes_are_those_of_the_reader_and_the_library(root, reader, spec):
    dtypes = {}
    (rows,) = tables(spec["Checkpoint"], *("code", "dtype", "bits") * 3)
    for row in rows:
        for code, name, bits in zip(row[::3], row[1::3], row[2::3]):
            if code:
                dtypes[int(code)] = (name, int(bits))
    assert dtypes == reader.DTYPES
    named = {"scaling": reader.SCALINGS, "rounding": reader.ROUNDINGS, "scale rule": reader.RULES}
    heads = {"scaling": ("scales", "default"), "rounding": ("says",), "scale rule": ("the scale is",)}
    for kind, codes in named.items():
        (rows,) = tables(spec["Stream"], "code", kind, *heads[kind])
        assert {int(row[0]): row[1].strip("`") for row in rows} == codes
    (rows,) = tables(spec["Maps"], "map", "code in files", "signed", "unsigned", "source")
    assert {int(row[1]): row[0].strip("`") for row in rows} == reader.MAPS
    (rows,) = tables(spec["Checkpoint"], "code", "role", "code", "reason", "says")
    source = (root / "Sources" / "QCheckpoint" / "Container" / "Role.swift").read_text()
    assert [row[1] for row in rows if row[0]] == re.findall(r'case \.\w+: "(\w+)"', source)
    source = (root / "Sources" / "QCheckpoint" / "Container" / "Encoding.swift").read_text()
    assert [int(row[2]) for row in rows] == list(range(len(rows)))
    assert [row[3] for row in rows][1:] == re.findall(r'case \.\w+: "(\w+)"', source)


def test_error_codes_are_those_of_the_library_and_no_others_are_named(root, reader, spec):
    source = (root / "Sources" / "QCodec" / "Support" / "QCodecError.swift").read_text()
    library = {int(number): name for name, number in re.findall(r"case (\w+) = (\d+)", source)}
    (rows,) = tables(spec["README"], "code", "name", "what is wrong")
    assert {int(row[0]): row[1].strip("`") for row in rows} == library
    looks_like_one = re.compile(r"`([a-z]+(?:[A-Z][a-zA-Z]*)+|truncated)`")
    for document, text in spec.items():
        assert set(looks_like_one.findall(text)) <= set(library.values()), document
    refused = set(re.findall(r'"([a-z]+(?:[A-Z]\w*)+|truncated)"', (
        root / "Spec" / "Reference" / "qckpt_reader.py").read_text()))
    assert refused <= set(library.values())
    assert refused <= set(looks_like_one.findall(spec["Checkpoint"] + spec["Stream"] + spec["Maps"]))


def test_every_refusal_that_the_spec_orders_has_a_fixture(root, spec):
    reading = spec["Checkpoint"].split("\n## Reading\n")[1].split("\n### Salvage\n")[0]
    ordered = set(re.findall(r"`([a-z]+[A-Z]\w+|truncated)`", reading))
    expected = json.loads((root / "Fixtures" / "invalid" / "expected.json").read_text())
    assert ordered == {what["code"] for what in expected.values()}


def test_constants_are_those_of_the_reader(reader, spec):
    for required in (0, reader.ESCAPES):
        header = struct.pack("<8sHHIQQ24x", reader.MAGIC, 1, 0, 64, required, 0)
        assert f"`{reader.xxh3(header):016x}`" in spec["Checkpoint"]
    assert f"`{reader.xxh3(b''):016x}`" in spec["Stream"]
    assert f"`{reader.MAGIC.hex(' ')}`" in spec["Checkpoint"] and f"`{reader.END_MAGIC.decode()}`" in spec["Checkpoint"]


def test_links_lead_somewhere(root, spec):
    for document, text in spec.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (root / "Spec" / target).exists(), (document, target)


# Vectors


class Shape:
    """What the reader's layout functions ask of a tensor."""

    map, domain, rule, escapes = None, "value", "unknown", False

    def __init__(self, shape, scaling, bits=8):
        self.shape, self.bits = tuple(json.loads(shape)), bits
        self.elements = int(np.prod(self.shape, dtype=object))
        self.scaling, self.block = scaling, None


def test_vectors_of_resolved_scalings(reader, spec):
    for row in vectors(spec["Stream"], "resolved"):
        shape = Shape(row["shape"], row["scaling"], int(row["bits"]))
        shape.scaling, shape.block = reader.resolved_scaling(shape)
        found = f"block({shape.block})" if shape.scaling == "block" else shape.scaling
        assert (found, str(reader.scale_count(shape))) == (row["resolved"], row["scales"]), row


def test_vectors_of_the_scales_of_elements(reader, spec):
    for row in vectors(spec["Stream"], "element-scale"):
        shape, expected = Shape(row["shape"], row["scaling"]), [int(i) for i in row["entries"].split(", ")]
        scales = np.full(reader.scale_count(shape), np.inf, np.float32)
        found = []
        for entry in range(len(scales)):
            # The entry that is least is the element's scale, if it is one of its own.
            scales[entry] = 1
            found += [entry] if reader.element_scales(shape, scales, int(row["element"]), 1)[0] == 1 else []
            scales[entry] = np.inf
        assert found == expected, row


def test_vectors_of_conversions(reader, spec):
    for row in vectors(spec["Stream"], "convert"):
        for dtype in ("BF16", "F16"):
            narrow = int.from_bytes(reader.narrow(float32(row["float32"]), dtype), "little")
            assert f"{narrow:04x}" == row[dtype], row


def table(reader, row):
    return reader.NAMED[row["map"], int(row["bits"]), row["signed"] == "signed"]


def test_vectors_of_decoding(reader, spec):
    for row in vectors(spec["Stream"], "decode"):
        t = Shape("[1]", "block", int(row["bits"]))
        t.block, t.table, t.rule = 32, table(reader, row), "unknown"
        code = int(row["code"]) << (8 - t.bits)
        payload = struct.pack("<I", int(row["scale"], 16)) + bytes([code])
        value = reader.decode_stream(t, [payload])[0]
        assert f"{value.view(np.uint32)[0]:08x}" == row["value"], row


def numbers(words):
    return np.array([float(word) for word in words.split(", ")], np.float32)


def integers(words):
    return np.array([int(word) for word in words.split(", ")])


def patterns(values):
    return ", ".join(f"{pattern:08x}" for pattern in np.asarray(values, np.float32).view(np.uint32))


def test_vectors_of_the_log_map(reader, writer, spec):
    for row in vectors(spec["Maps"], "log-decode"):
        codes = integers(row["codes"])
        t = Shape(f"[{len(codes)}]", "block", int(row["bits"]))
        t.map, t.block = "log", 32
        ends = struct.pack("<2I", int(row["lo"], 16), int(row["hi"], 16))
        values = reader.decode_stream(t, [ends + writer.pack(codes.astype(np.uint8), t.bits)])[0]
        assert patterns(values) == row["values"], row
    for row in vectors(spec["Maps"], "log-encode"):
        x, stochastic = numbers(row["x"]), row["rounding"] == "stochastic"
        how = writer.scheme("log", int(row["bits"]), False, rounding=row["rounding"], seed=12345 if stochastic else 0)
        t = writer.Record("t", "F32", x.shape, x.tobytes(), how)
        low, high = writer.ends(x)
        assert (patterns([low]), patterns([high])) == (row["lo"], row["hi"]), row
        codes = writer.choose_log(t, x, np.full(len(x), low), np.full(len(x), high), 0)
        assert ", ".join(map(str, codes)) == row["codes"], row


def test_vectors_of_the_update_domain(reader, writer, spec):
    for row in vectors(spec["Stream"], "update"):
        t = Shape("[1]", "block", int(row["bits"]))
        t.block, t.rule, t.table = 32, "unknown", reader.NAMED[row["map"], t.bits, True]
        payload = struct.pack("<I", int(row["scale"], 16)) + bytes([int(row["code"]) << (8 - t.bits)])
        value = reader.decode_stream(t, [payload], reader.divisors(float32(row["second"])))[0]
        assert patterns(value) == row["value"], row
    for row in vectors(spec["Stream"], "rounded-scale"):
        assert patterns([writer.rounded(float32(row["extreme"])[0])]) == row["scale"], row
    for row in vectors(spec["Stream"], "encode-update"):
        m, d = numbers(row["m"]), numbers(row["d"])
        how = writer.scheme(row["map"], 4, True, rounding=row["rounding"])
        t = writer.Record("t", "F32", m.shape, m.tobytes(), how)
        codes = writer.choose(t, m, np.full(len(m), np.float32(float(row["s"]))), 0, d)
        assert ", ".join(map(str, codes)) == row["codes"], row


def moved(spans, offsets, steps):
    """Encoded and decoded offsets in patterns under the two formulas of the log map."""
    codes = np.rint(offsets * (steps / spans))
    return codes, np.rint(codes * (spans / steps))


@pytest.mark.parametrize("steps", [2, 3, 6, 7, 14, 15, 30, 31, 62, 63, 254, 255])
def test_the_integers_of_the_proof_of_the_log_map(steps):
    random = np.random.default_rng(steps)
    for span in [*range(1, 2000), *np.exp2(random.uniform(11, 31, 1000)).astype(np.int64)]:
        offsets = np.arange(span + 1) if span < 2000 else np.unique(np.concatenate(
            [np.clip(np.rint((np.arange(steps) + 0.5) * span / steps) + near, 0, span) for near in (-1, 0, 1)]
            + [random.integers(0, span + 1, 200), [0, span]]))
        codes, decoded = moved(span, offsets, steps)
        step = span / steps
        assert np.max(np.abs(decoded - offsets)) <= np.floor(min(step / 2 + 0.5 + 2.0**-16, span)), (steps, span)
        assert (codes[0], decoded[0], codes[-1], decoded[-1]) == (0, 0, steps, span), (steps, span)
        again, twice = moved(span, decoded, steps)
        assert np.array_equal(again, codes) and np.array_equal(twice, decoded), (steps, span)
        gaps = np.diff(np.rint(np.arange(steps + 1) * step))
        assert np.max(gaps) <= step + 1 + 2.0**-16, (steps, span)


def test_the_relative_bound_of_the_log_map_is_that_of_its_lowest_value(reader):
    random = np.random.default_rng(3)

    def value(pattern):
        return reader.floats(np.asarray(pattern)).astype(np.float64)

    for _ in range(3000):
        base = int(np.exp2(random.uniform(0, 30.9)))
        span = min(0x7F7FFFFF - base, int(np.exp2(random.uniform(0, 31))))
        reach = random.integers(0, span + 1)
        powers = np.arange(256) << 23
        offsets = np.concatenate([base + random.integers(0, span - reach + 1, 50), powers, powers - reach])
        offsets = np.clip(offsets, base, base + span - reach)
        start = min(base, 1 << 23)
        ratio = (value(start + reach) - value(start)) / value(start)
        rises = value(offsets + reach) - value(offsets)
        assert np.max(rises / value(offsets)) <= ratio * (1 + 2.0**-40), (base, span, reach)
        top = value(base + span) - value(base + span - reach)
        assert np.max(rises) <= top * (1 + 2.0**-40), (base, span, reach)


def test_vectors_of_steps(reader, writer, spec):
    for row in vectors(spec["Stream"], "least-scale"):
        how = writer.scheme("linear", int(row["bits"]), True)
        t = writer.Record("t", row["dtype"], (0,), b"", how)
        t.domain = row["domain"]
        assert patterns([writer.steps.least_scale(t, float(row["step"]), writer.rounded)]) == row["scale"], row
    for row in vectors(spec["Stream"], "log-steps"):
        least, greatest, mean = (int(word, 16) for word in row["l, h, a"].split(", "))
        bits, dtype = int(row["bits"]), row["dtype"]
        step = writer.steps.log_step(float(row["octaves"]), bits, dtype)
        found = writer.steps.grid_ends(least, greatest, mean, int(row["L"], 16), step, bits, dtype)
        assert ("none" if found is None else ", ".join(f"{end:08x}" for end in found)) == row["ends"], row
    for row in vectors(spec["Stream"], "square-steps"):
        step = writer.steps.square_step(float(row["factor"]), numbers(row["x"]), writer.tree)
        assert step == float(row["step"]), row
    for row in vectors(spec["Stream"], "former-steps"):
        x = np.concatenate([numbers(row["x"]), np.zeros(int(row["zeros"]), np.float32)])
        found = list(writer.steps.former_steps(float(row["factor"]), x, int(row["bits"]), True, writer.tree))
        assert len(found) == int(row["count"]), row
        assert (f"{found[0]:.9g}, {found[-1]:.9g}" if found else "none") == row["first, last"], row


def test_vectors_of_the_counter_hash(writer, spec):
    for row in vectors(spec["Stream"], "random-number"):
        number = writer.random_number(int(row["seed"]), json.loads(row["name"]), int(row["element"]))
        assert str(number) == row["number"], row


def test_vectors_of_encoding(writer, spec):
    for row in vectors(spec["Stream"], "encode"):
        x = np.array([float(word) for word in row["x"].split(", ")], np.float32)
        how = writer.scheme(row["map"], int(row["bits"]), row["signed"] == "signed", block=32, rounding=row["rounding"],
                            seed=12345 if row["rounding"] == "stochastic" else 0)
        t = writer.Record("t", "F32", x.shape, x.tobytes(), how)
        codes = writer.choose(t, x, np.full(len(x), np.float32(float(row["s"]))), 0)
        assert ", ".join(map(str, codes)) == row["codes"], row


def test_vectors_of_sums(writer, spec):
    for row in vectors(spec["Stream"], "squares"):
        x = (np.float32(1) / np.arange(1, int(row["m"]) + 1, dtype=np.float32)).astype(np.float64)
        assert struct.pack(">d", writer.tree(x * x)).hex() == row["sum"], row
    # One sum in order differs, so the vectors do show the order.
    assert float(np.cumsum(x * x)[-1]) != writer.tree(x * x)


def test_vectors_of_byte_planes(spec):
    for row in vectors(spec["Checkpoint"], "planes"):
        width, payload = int(row["w"]), bytes.fromhex(row["payload"])
        planes = b"".join(payload[plane::width] for plane in range(width))
        assert planes.hex() == row["transposed"], row


def test_vectors_of_differences(spec, reader):
    sizes = {"U8": 1, "F32": 4, "BF16": 2, "C64": 4, "F4": 1}
    for row in vectors(spec["Checkpoint"], "differences"):
        size, base, payload = sizes[row["dtype"]], bytes.fromhex(row["base"]), bytes.fromhex(row["payload"])
        difference = b""
        for at in range(0, len(payload), size):
            a, b = (int.from_bytes(data[at:at + size], "little") for data in (base, payload))
            d = (b - a) % (1 << 8 * size)
            z = 2 * d if d < 1 << 8 * size - 1 else 2 * ((1 << 8 * size) - d) - 1
            assert (a + (z // 2 if z % 2 == 0 else -(z + 1) // 2)) % (1 << 8 * size) == b
            difference += z.to_bytes(size, "little")
        assert difference.hex() == row["difference"], row
        integers = reader.numbers(reader.LOSSLESS, row["dtype"])
        assert reader.take_difference(payload, base, integers) == difference, row
        assert reader.add_difference(difference, base, integers) == payload, row


def test_no_vectors_are_unchecked(spec):
    names = [name for text in spec.values() for name, _ in blocks(text, "vectors")]
    assert sorted(names) == sorted([
        "resolved", "element-scale", "convert", "decode", "random-number", "encode", "squares", "planes", "differences",
        "log-decode", "log-encode", "update", "rounded-scale", "encode-update", "least-scale", "log-steps", "square-steps",
        "former-steps"])


# Salvage by the reference reader


def whole(reader, checkpoint, end):
    """The tensors of which all bytes lie before `end`."""
    ends = {}
    for t in (t for t in checkpoint.tensors if t.count):
        parts = [t] + ([] if t.reference is None else [checkpoint.tensors[t.reference]])
        ends[t.name] = max(sum(checkpoint.chunks[part.places[-1]][:2]) for part in parts)
    return {name for name, place in ends.items() if place <= end}


@pytest.mark.parametrize("name", [
    "names", "custom", "tails", "scalings", "lz4", "empty-tensors", "log", "update", "update-measured", "pair-chunks"])
def test_what_stands_before_a_cut_is_salvaged(root, reader, name):
    data = (root / "Fixtures" / "golden" / f"{name}.qckpt").read_bytes()
    checkpoint = reader.Checkpoint(data)
    expected = {t.name: checkpoint.read(t) for t in checkpoint.tensors}
    for end in [*range(64, min(len(data), 3000), 61), checkpoint.meta_offset, len(data)]:
        salvage = reader.Salvage(data[:end])
        found = {t.name: salvage.read(t) for t in salvage.tensors}
        assert set(found) == whole(reader, checkpoint, end), end
        assert all(found[name] == expected[name] for name in found), end


def test_a_damaged_chunk_or_lead_costs_its_tensor_alone(root, reader):
    data = (root / "Fixtures" / "golden" / "names.qckpt").read_bytes()
    checkpoint = reader.Checkpoint(data)
    names = {t.name for t in checkpoint.tensors}
    for index, chunk in enumerate(checkpoint.chunks):
        lost = checkpoint.tensors[chunk[7]].name
        lead, frame = checkpoint.leads[index][0], chunk[0] - 24
        for place in (lead + -lead % 8, frame + 16, chunk[0]):
            damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1:]
            assert {t.name for t in reader.Salvage(damaged).tensors} == names - {lost}, (lost, place)


def test_a_second_moment_that_is_lost_takes_its_first_moment_with_it(root, reader):
    data = (root / "Fixtures" / "golden" / "pair-chunks.qckpt").read_bytes()
    checkpoint = reader.Checkpoint(data)
    names = {t.name for t in checkpoint.tensors}
    assert sorted(t.count for t in checkpoint.tensors) == [1, 1, 2, 2, 4, 4]
    for chunk in checkpoint.chunks:
        owner = checkpoint.tensors[chunk[7]].name
        lost = {owner, owner.replace("/v", "/m")}
        damaged = data[:chunk[0]] + bytes([data[chunk[0]] ^ 1]) + data[chunk[0] + 1:]
        assert {t.name for t in reader.Salvage(damaged).tensors} == names - lost, (owner, chunk[0])


def test_salvage_passes_over_a_damaged_header_but_not_over_another_version(root, reader, writer):
    data = (root / "Fixtures" / "golden" / "names.qckpt").read_bytes()
    assert len(reader.Salvage(data[:24] + b"\1" + data[25:]).tensors) == 4
    for header, code in ((writer.header(version=(2, 0)), "unsupportedVersion"),
                         (writer.header(version=(0, 1)), "unsupportedVersion"),
                         (writer.header(required=1 << 2), "unsupportedFeature"), (b"GGUF" + bytes(60), "notACheckpoint")):
        with pytest.raises(reader.QckptError) as error:
            reader.Salvage(header + data[64:])
        assert error.value.code == code
