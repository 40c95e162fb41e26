"""Corrupt, hostile and foreign files: one line for the user, never a traceback, never wrong content."""

import contextlib
import copy
import io
import json
import random
import struct

import pytest

from deepseek_core.errors import DeepseekError, PackageError
from deepseek_core.package import Package, generate_key
from deepseek_core.package.archive import Writer, directory
from deepseek_core.partition import split

MUTATIONS = 10_000


@pytest.fixture(scope="module")
def good(tmp_path_factory, make_package):
    """A package with every kind of member, as bytes."""
    path = tmp_path_factory.mktemp("good") / "a.ds"
    make_package(32).save(path, key=generate_key()[0])
    return path.read_bytes()


def content(data):
    package = Package.read(data)
    tensors = {n: v.const_value.tobytes() for n, v in package.model.graph.initializers.items() if n != "text"}
    parts = (package.placement, package.artifacts, package.options.taps, package.manifest.members)
    return package.model.digest(), tensors, package.model.metadata, parts


def mutate(data, rng):
    """One of many ways to damage a file."""
    found = bytearray(data)
    at, to = sorted(rng.randrange(len(found) + 1) for _ in range(2))
    match rng.randrange(8):
        case 0:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randint(2, 30)):
                found[rng.randrange(len(found))] = rng.randrange(256)
        case 2:
            del found[at:]
        case 3:
            del found[at : min(to, at + 200)]
        case 4:
            found[at:at] = rng.randbytes(rng.randint(1, 200))
        case 5:
            found[at:at] = found[at : min(to, at + 500)]
        case 6:
            width, high = rng.choice([("<H", 16), ("<I", 32), ("<Q", 64)])
            value = rng.choice([0, 1, 2 ** (high - 1), 2**high - 1, len(found), rng.randrange(2**high)])
            at = rng.choice([rng.randrange(len(found) - 8), len(found) - 8 - rng.randrange(400)])
            struct.pack_into(width, found, at, value)
        case 7:
            found += rng.choice([b"\0", data[-98:], data, b"PK\5\6" + bytes(18)])
    return bytes(found)


def test_mutated_files(good):
    expected = content(good)
    rng = random.Random(20240501)
    refused = 0
    for number in range(MUTATIONS):
        data = mutate(good, rng)
        try:
            found = content(data)
        except DeepseekError:
            refused += 1
        else:
            assert found == expected, f"mutation {number} was accepted with other content"
    assert refused > 0.95 * MUTATIONS


def test_every_flipped_byte_of_the_container_is_noticed(good):
    """Headers, directory, manifest, signature: there is no byte whose change goes unnoticed."""
    start = good.index(b"PK\3\4", good.index(b"model.weights") + 1)
    for position in [*range(300), *range(start, len(good))]:
        changed = bytearray(good)
        changed[position] ^= 0x20
        with pytest.raises(PackageError):
            Package.read(bytes(changed))


def test_every_truncation_is_noticed(good, tmp_path):
    path = tmp_path / "a.ds"
    for length in [*range(1, 200), *range(200, len(good), 97), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(PackageError):
            Package.open(path)


def repack(data, members=None, manifest=None):
    """A well-formed container around changed content: what a hostile or newer writer could give.

    `members` changes a dict of the members' bytes, for which the hashes are made to fit; `manifest` then changes
    the manifest and returns it, as a document or as bytes.
    """
    view = memoryview(data)
    content = {name: bytes(view[m.data]) for name, m in directory(view).items() if name != "signature"}
    document = json.loads(content.pop("manifest.json"))
    if members is not None:
        members(content)
    file = io.BytesIO()
    writer = Writer(file)
    for name, member in content.items():
        size, digest = writer.add(name, [member])
        if name in document["members"]:
            document["members"][name] = {"size": size, "sha256": digest}
    text = document if manifest is None else manifest(document)
    if text is not None:
        writer.add("manifest.json", [text if isinstance(text, bytes) else json.dumps(text).encode()])
    writer.close()
    return file.getvalue()


def test_repacked_unchanged_is_fine(good):
    assert content(repack(good)) == content(good)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 2}, "manifest schema 2, and this core reads up to 1; upgrade deepseek-core"),
        ({"schema": 0}, "there is no schema 0"),
        ({"schema": "1"}, "'schema' must be an integer"),
        ({"schema": True}, "'schema' must be a non-negative integer"),
        ({"more": 1}, "must have the keys"),
        ({"core": 1}, "'core' must be a string"),
        ({"hook_api": [1]}, "'hook_api' must be two numbers"),
        ({"artifacts": []}, "one artifact for each part"),
        ({"placement": None}, "one artifact for each part"),
        ({"provenance": []}, "'provenance' must be an object"),
        ({"options": {}}, "'options' must have the keys"),
        ({"members": {}}, "'artifacts/0.bin' is not listed"),
    ],
)
def test_manifest_fields(good, fields, message):
    with pytest.raises(PackageError) as caught:
        Package.read(repack(good, manifest=lambda document: document | fields))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


W = 4096  # bytes of `w`, and of model.weights
CODE = 42  # bytes of code in front of each `w`


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pieces": {}}, "'artifacts[0].pieces' must be an array"),
        ({"pieces": [[None, CODE, 1]]}, "must be an offset, or null, and a length"),
        ({"pieces": [CODE]}, "'artifacts[0].pieces[0]' must be an array"),
        ({"pieces": [["0", CODE]]}, "'artifacts[0].pieces[0][0]' must be an integer"),
        ({"pieces": [[0, None]]}, "'artifacts[0].pieces[0][1]' must be an integer"),
        ({"pieces": [[-1, CODE]]}, "must be a non-negative integer"),
        ({"pieces": [[None, 2 * CODE], [0, 0]]}, "has an empty piece"),
        ({"pieces": [[None, CODE], [0, W]]}, "does not use its member's bytes once"),
        ({"pieces": [[None, 2 * CODE], [None, 1]]}, "does not use its member's bytes once"),
        ({"pieces": [[None, 2 * CODE], [W, W]]}, "refers beyond the stored weights"),
        ({"pieces": [[None, 2 * CODE], [10**30, 1]]}, "refers beyond the stored weights"),
        ({"pieces": [[None, 2 * CODE], *[[0, W]] * 9_999]}, "repeat the weights more than 16 times"),
        ({"pieces": [[None, 2 * CODE], [0, W], [0, W]]}, "artifact for npu:x1 is corrupt"),
        ({"sha256": "0" * 64}, "artifact for npu:x1 is corrupt"),
        ({"sha256": "0" * 63}, "does not have the right form"),
        ({"member": "model.weights"}, "must be in 'artifacts/0.bin'"),
        ({"member": "artifacts/1.bin"}, "must be in 'artifacts/0.bin'"),
    ],
)
def test_pieces_of_an_artifact(good, fields, message):
    def change(document):
        assert document["artifacts"][0]["pieces"] == [[None, CODE], [0, W], [None, CODE], [0, W]]
        document["artifacts"][0].update(fields)
        return document

    with pytest.raises(PackageError) as caught:
        Package.read(repack(good, manifest=change))
    assert message in str(caught.value)


def test_member_that_nothing_uses(good):
    def change(document):
        document["members"]["stowaway.bin"] = document["members"]["model.onnx"]
        return document

    with pytest.raises(PackageError, match=r"no place for a member 'stowaway\.bin'"):
        Package.read(repack(good, lambda m: m.update({"stowaway.bin": m["model.onnx"]}), change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"[1]", "must be an object"),
        (b"{}", "has no schema number"),
        (b'{"schema": NaN}', "NaN is not JSON"),
        (b'{"schema": 1, "schema": 1}', "given twice"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "not JSON"),
        (None, "has no manifest"),
    ],
    ids=str,
)
def test_manifest_text(good, text, message):
    with pytest.raises(PackageError, match=message):
        Package.read(repack(good, manifest=lambda document: text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("model.weights"), "members are not those of its manifest"),
        (lambda m: m.pop("model.onnx"), "members are not those of its manifest"),
        (lambda m: m.update({"extra.bin": b"x"}), "members are not those of its manifest"),
        (lambda m: m.update({"../evil": b"x"}), "unsafe name"),
        (lambda m: m.update({"/etc/passwd": b"x"}), "unsafe name"),
        (lambda m: m.update({"a/../b": b"x"}), "unsafe name"),
        (lambda m: m.update({"model.onnx": b"\x08"}), "model cannot be read"),
        (lambda m: m.update({"model.weights": b"x"}), "refers beyond the stored weights"),
    ],
)
def test_members(good, change, message):
    with pytest.raises(PackageError, match=message):
        Package.read(repack(good, change))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"model.weights", b"/etc/hostname", "stored outside the package"),
        (b"model.weights", b"../../outside", "stored outside the package"),
        (b"\x06offset\x12\x010", b"\x06offset\x12\x019", "outside the stored weights"),
        (b"\x06length\x12\x044096", b"\x06length\x12\x049096", "outside the stored weights"),
    ],
)
def test_references_out_of_the_package(good, old, new, message):
    def change(members):
        assert old in members["model.onnx"]
        members["model.onnx"] = members["model.onnx"].replace(old, new)

    with pytest.raises(PackageError, match=message):
        Package.read(repack(good, change))


def test_external_data_in_an_attribute(good):
    import onnx

    def change(members):
        model = onnx.ModelProto.FromString(members["model.onnx"])
        tensor = onnx.TensorProto(data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="/etc/passwd")
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["secret"], value=tensor))
        members["model.onnx"] = model.SerializeToString()

    with pytest.raises(PackageError, match="attribute 'value' is stored outside"):
        Package.read(repack(good, change))


def test_mutated_graphs(good):
    """A graph of any bytes, with hashes that fit, is read or refused."""
    rng = random.Random(3)

    def change(members):
        members["model.onnx"] = mutate(members["model.onnx"] + bytes(8), rng)

    loaded = 0
    for _ in range(1500):
        with contextlib.suppress(PackageError):
            package = Package.read(repack(good, change))
            loaded += bool(package.model.inputs and package.model.digest() and package.model.units())
    assert loaded < 750


def wrong_values(document, rng):
    """Replace, remove or add one value anywhere in a JSON document."""
    document = copy.deepcopy(document)
    spots = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(document)
    node, key = rng.choice(spots)
    match rng.randrange(3):
        case 0:
            node[key] = rng.choice([None, True, -1, 0, 1.5, 1e400, 10**400, "", "x:y", "cpu:host", [], {}, [[]], ["x"]])
        case 1:
            del node[key]
        case 2 if isinstance(node, dict):
            node[rng.choice(["", "schema", "new"])] = node[key]
        case 2:
            node.insert(key, node[key])
    return document


def test_mutated_manifests(good):
    """A manifest of any form around good members either loads or is refused; what loads can be split or refused."""
    rng = random.Random(7)

    loaded = 0
    for _ in range(1500):
        try:
            package = Package.read(repack(good, manifest=lambda document: wrong_values(document, rng)))
            if package.placement is not None:
                split(package.model, package.placement)
        except DeepseekError:
            continue
        loaded += 1
    assert 0 < loaded < 750


def wrong_pieces(pieces, rng):
    """One of many ways to get a list of pieces wrong; now and then another one of the same payload."""
    found = [list(piece) for piece in pieces]
    at, to = rng.randrange(len(found)), rng.randrange(len(found))
    offset, length = found[at]
    cut = rng.randint(1, length - 1)
    number = rng.choice([0, 1, -1, CODE, W, 2 * W, 2**31, 2**64, rng.randrange(3 * W)])
    match rng.randrange(8):
        case 0:
            found[at][rng.randrange(2)] = rng.choice([number, None, True, 1.0, "1", [], {}])
        case 1:
            found[at][1] += rng.choice([-1, 1, cut, -cut])
        case 2:
            found[at], found[to] = found[to], found[at]
        case 3:
            del found[at]
        case 4:
            found.insert(to, rng.choice([found[at], [None, number], [number, cut], [number], []]))
        case 5:
            found[at : at + 1] = [[offset, cut], [None if offset is None else offset + cut, length - cut]]
        case 6:
            found[at : at + 1] = [[offset, cut], [offset, length - cut]]
        case 7:
            found *= rng.randint(2, 40)
    return found


def test_mutated_pieces(good):
    """Whatever a list of pieces says, the payload is the one that was built, or the package is refused."""
    expected = content(good)[-1][1]
    rng = random.Random(11)

    def change(document):
        entry = document["artifacts"][0]
        entry["pieces"] = wrong_pieces(entry["pieces"], rng)
        return document

    refused = 0
    for number in range(MUTATIONS):
        data = repack(good, manifest=change)
        try:
            found = Package.read(data)
        except PackageError:
            refused += 1
        else:
            assert found.artifacts == expected, f"mutation {number} was accepted with another payload"
    assert 0.5 * MUTATIONS < refused < MUTATIONS
