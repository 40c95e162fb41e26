"""Saving and opening: everything comes back, bytes are reproducible, weights are mapped in place."""

import json
import mmap
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from deepseek_core.artifact import Artifact
from deepseek_core.errors import PackageError, StorageError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.package import Package


def content(package):
    """All of a package that must survive a round trip."""
    return (
        package.model.digest(),
        package.model.metadata,
        package.placement,
        package.artifacts,
        (package.options.optimize, package.options.threads, package.options.taps, dict(package.options.extra)),
        (package.manifest.core, package.manifest.hook_api, package.manifest.schema),
    )


@pytest.mark.parametrize("size", [8, 64])
def test_round_trip(tmp_path, make_package, size):
    package = make_package(size)
    package.save(tmp_path / "a.ds")
    opened = Package.open(tmp_path / "a.ds")
    assert opened.is_compiled
    assert opened.manifest.signature == "none"
    assert content(opened)[1:] == content(package)[1:]
    for name, value in package.model.graph.initializers.items():
        stored = opened.model.graph.initializers[name].const_value
        assert stored.dtype == value.const_value.dtype
        np.testing.assert_array_equal(stored.numpy(), value.const_value.numpy())


def test_saving_again_gives_the_same_bytes(tmp_path, make_package):
    make_package(64).save(tmp_path / "a.ds")
    make_package(64).save(tmp_path / "b.ds")
    Package.open(tmp_path / "a.ds").save(tmp_path / "c.ds")
    first = (tmp_path / "a.ds").read_bytes()
    assert first == (tmp_path / "b.ds").read_bytes() == (tmp_path / "c.ds").read_bytes()


def test_saving_over_the_file_it_is_mapped_from(tmp_path, make_package):
    path = tmp_path / "a.ds"
    make_package(64).save(path)
    opened = Package.open(path)
    before = opened.model.graph.initializers["w"].const_value.numpy().copy()
    make_package(32).save(path)
    np.testing.assert_array_equal(opened.model.graph.initializers["w"].const_value.numpy(), before)
    opened.save(path)
    np.testing.assert_array_equal(Package.open(path).model.graph.initializers["w"].const_value.numpy(), before)


def test_model_alone(tmp_path, model):
    Package(model()).save(tmp_path / "a.ds")
    opened = Package.open(tmp_path / "a.ds")
    assert not opened.is_compiled
    assert opened.artifacts == ()
    assert opened.model.metadata == model().metadata


def test_any_zip_tool_reads_it(tmp_path, make_package):
    make_package(64).save(tmp_path / "a.ds")
    with zipfile.ZipFile(tmp_path / "a.ds") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "model.onnx",
            "model.weights",
            "artifacts/0.bin",
            "artifacts/1.bin",
            "manifest.json",
        ]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["schema"] == 1
        assert set(manifest["members"]) == set(archive.namelist()) - {"manifest.json"}


def test_extracted_members_are_an_ordinary_onnx_model(tmp_path, make_package):
    package = make_package(64)
    package.save(tmp_path / "a.ds")
    with zipfile.ZipFile(tmp_path / "a.ds") as archive:
        archive.extractall(tmp_path)
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    np.testing.assert_array_equal(tensors["w"], package.model.graph.initializers["w"].const_value.numpy())


def test_weights_are_aligned_and_mapped(tmp_path, make_package):
    path = tmp_path / "a.ds"
    make_package(128).save(path)
    for name in ("w", "four"):
        tensor = Package.open(path).model.graph.initializers[name].const_value
        array = np.asarray(tensor.raw)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable
        base = array
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base.obj, mmap.mmap)
    with zipfile.ZipFile(path) as archive, archive.open("model.onnx") as graph:
        entries = {
            t.name: {e.key: e.value for e in t.external_data}
            for t in onnx.load_model(graph, load_external_data=False).graph.initializer
        }
    assert entries["text"] == {}
    assert int(entries["w"]["offset"]) % 64 == 0
    assert entries["w"]["location"] == "model.weights"


def test_one_tensor_under_two_names_is_stored_once(tmp_path, model):
    source = model(64)
    w = source.graph.initializers["w"]
    twin = ir.Value(name="twin", const_value=w.const_value, shape=w.shape, type=w.type)
    source.graph.register_initializer(twin)
    Package(source).save(tmp_path / "a.ds")
    opened = Package.open(tmp_path / "a.ds")
    assert opened.manifest.members["model.weights"].size < 2 * w.const_value.nbytes
    for name in ("w", "twin"):
        stored = opened.model.graph.initializers[name].const_value.numpy()
        np.testing.assert_array_equal(stored, w.const_value.numpy())


def test_no_constant_is_stored_twice(tmp_path, make_package):
    """Not as an artifact's bytes, not as a constant with equal bytes, and not after the file was opened."""
    package = make_package(64)
    w = package.model.graph.initializers["w"].const_value
    twin = ir.Value(name="twin", const_value=ir.tensor(w.numpy().copy()), shape=w.shape, type=ir.TensorType(w.dtype))
    package.model.graph.register_initializer(twin)
    package.save(tmp_path / "a.ds")
    opened = Package.open(tmp_path / "a.ds")
    opened.save(tmp_path / "b.ds")
    data = (tmp_path / "a.ds").read_bytes()
    assert data.count(w.tobytes()) == 1
    assert data == (tmp_path / "b.ds").read_bytes()
    assert opened.artifacts == package.artifacts
    assert opened.manifest.members["artifacts/0.bin"].size == len(package.artifacts[0].payload) - 2 * w.nbytes
    for name in ("w", "twin"):
        np.testing.assert_array_equal(opened.model.graph.initializers[name].const_value.numpy(), w.numpy())


def test_corrupt_artifact_is_not_saved(tmp_path, package):
    wrong = replace(package.artifacts[0], payload=b"changed")
    with pytest.raises(PackageError, match="artifact for npu:x1 is corrupt"):
        replace(package, artifacts=(wrong, package.artifacts[1])).save(tmp_path / "a.ds")
    assert not list(tmp_path.iterdir())


def test_constants_of_bodies_are_stored_beside_the_graph(tmp_path):
    cond = ir.Value(name="c", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    bodies = []
    for name in ("then", "else"):
        big = np.random.default_rng(len(name)).normal(size=2000)
        value = ir.Value(
            name=f"big_{name}",
            const_value=ir.tensor(big),
            shape=ir.Shape([2000]),
            type=ir.TensorType(ir.DataType.DOUBLE),
        )
        node = ir.node("Identity", [value], name=name)
        node.outputs[0].name, node.outputs[0].type = f"out_{name}", value.type
        bodies.append(ir.Graph([], [node.outputs[0]], nodes=[node], initializers=[value], name=name))
    choose = ir.node("If", [cond], attributes={"then_branch": bodies[0], "else_branch": bodies[1]}, name="if")
    choose.outputs[0].name, choose.outputs[0].type = "y", ir.TensorType(ir.DataType.DOUBLE)
    graph = ir.Graph([cond], list(choose.outputs), nodes=[choose], opset_imports={"": 21}, name="g")
    source = QuantizedModel(ir.Model(graph, ir_version=10))
    before = source.digest()
    Package(source).save(tmp_path / "a.ds")
    assert source.digest() == before
    opened = Package.open(tmp_path / "a.ds")
    assert opened.manifest.members["model.onnx"].size < 2000
    assert opened.model.digest() == before


def test_metadata_must_be_plain_json(tmp_path, model):
    path = tmp_path / "a.ds"
    path.write_bytes(b"old")
    for value in (object(), float("nan"), np.float32(1), b"x"):
        with pytest.raises(PackageError, match="not plain JSON"):
            Package(QuantizedModel(model().model, {"value": value})).save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.ds"]


def test_nowhere_to_write(tmp_path, package):
    with pytest.raises(StorageError, match="create the folder"):
        package.save(tmp_path / "missing" / "a.ds")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (Path.exists, "No such file"),
        (Path.mkdir, "Is a directory"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"hello world" * 100), "is not a .ds package"),
        (lambda p: p.write_bytes(b"PK\3\4"), "cut off"),
    ],
)
def test_not_a_package(tmp_path, prepare, message):
    path = tmp_path / "a.ds"
    prepare(path)
    with pytest.raises(PackageError, match=message) as caught:
        Package.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_foreign_zip_is_refused(tmp_path, package):
    package.save(tmp_path / "a.ds")
    with zipfile.ZipFile(tmp_path / "a.ds") as source, zipfile.ZipFile(tmp_path / "b.ds", "w") as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    with pytest.raises(PackageError, match="damaged"):
        Package.open(tmp_path / "b.ds")


def test_read_from_memory(tmp_path, package):
    package.save(tmp_path / "a.ds")
    data = (tmp_path / "a.ds").read_bytes()
    assert content(Package.read(data))[1:] == content(package)[1:]


def test_many_artifacts(tmp_path, package):
    names = tuple(package.placement.units)
    target = package.artifacts[0].target
    placement = replace(package.placement, units=dict.fromkeys(names, target), parts=tuple((n,) for n in names))
    artifacts = tuple(Artifact(target, name.encode() * 5000, "x") for name in names)
    Package(package.model, placement, artifacts).save(tmp_path / "a.ds")
    assert Package.open(tmp_path / "a.ds").artifacts == artifacts


def test_path_may_be_text(tmp_path, package):
    package.save(str(tmp_path / "a.ds"))
    assert Package.open(str(Path(tmp_path) / "a.ds")).is_compiled
