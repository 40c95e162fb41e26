"""load_model: what it takes, and one line with the fix for what it does not."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model

F = np.float32
X = {"x": ("float", [2, 3])}


@pytest.fixture
def relu(build):
    return build([("Relu", ["x"], ["y"])], X, ["y"])


def refusal(source) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_model(source)
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000
    return caught.value


def test_all_sources_give_the_same_model(relu, tmp_path, ops):
    path = tmp_path / "m.onnx"
    path.write_bytes(relu.SerializeToString())
    sources = [relu, path, str(path), path.read_bytes(), ir.from_proto(relu)]
    assert {load_model(source).digest() for source in sources} == {load_model(relu).digest()}
    assert load_model(path).metadata == {"source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_model_in_memory_is_left_alone(relu):
    before = relu.SerializeToString()
    load_model(relu)
    assert relu.SerializeToString() == before


def test_shapes_are_inferred(build):
    nodes = [("MatMul", ["x", "w"], ["m"]), ("Transpose", ["m"], ["y"])]
    model = load_model(build(nodes, {"x": ("float", ["n", 3])}, ["y"], {"w": np.ones((3, 4), F)}))
    assert model.outputs[0].shape == (4, "n")
    assert model.outputs[0].dtype == "float32"


def test_large_weights_are_not_lost_to_inference(build):
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(F)
    model = load_model(build([("MatMul", ["x", "w"], ["y"])], {"x": ("float", [1, 64])}, ["y"], {"w": weights}))
    assert np.array_equal(model.graph.initializers["w"].const_value.numpy(), weights)
    assert [i.name for i in model.inputs] == ["x"]


def test_a_stale_shape_gives_way_to_the_graph(relu):
    relu.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [9, 9]))
    assert load_model(relu).outputs[0].shape == (2, 3)


def test_shapes_that_contradict_each_other_name_the_node(build):
    model = build([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], X, ["y"], {"w": np.ones((4, 4), F)})
    assert "product" in str(refusal(model))


def test_a_fault_of_onnx_itself_is_no_fault_of_the_model(build):
    """onnx cannot infer MeanVarianceNormalization without its default attribute."""
    model = load_model(build([("MeanVarianceNormalization", ["x"], ["y"])], {"x": ("float", [1, 2, 3, 3])}, ["y"]))
    assert model.outputs[0].dtype == "float32"


def test_the_other_name_of_the_default_domain(build, ops):
    proto = build([("ai.onnx::Relu", ["x"], ["y"])], X, ["y"])
    proto.opset_import[0].domain = "ai.onnx"
    model = load_model(proto)
    assert ops(model) == ["Relu"]
    assert model.opset == 21


def test_a_model_of_vendor_operators_alone(build):
    proto = build([("vendor::Op", ["x"], ["y"])], X, ["y"], domains={"vendor": 1})
    del proto.opset_import[0]
    assert load_model(proto).opset == 21


ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w") as archive:
    archive.writestr("data.pkl", b"")


@pytest.mark.parametrize(
    ("data", "complaint", "fix"),
    [
        (b"", "is empty", "again"),
        (b"\x00" * 100, "not an ONNX model", "again"),
        (b"hello world, this is no model", "not an ONNX model", "again"),
        (ARCHIVE.getvalue(), "zip archive", "torch.onnx.export"),
        (pickle.dumps([1]), "a pickle", "torch.onnx.export"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip", "unpack"),
        (b"\x89HDF\r\n\x1a\n", "HDF5", "tf2onnx"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(20), "TensorFlow Lite", "tf2onnx"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph", "again"),
    ],
)
def test_other_files_are_named(data, complaint, fix, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for source in (data, path):
        error = refusal(source)
        assert complaint in error.message
        assert fix in error.fix
    assert str(path) in error.message


def test_a_truncated_file(relu):
    data = relu.SerializeToString()
    assert "truncated" in refusal(data[:-3]).message


def test_paths_that_are_no_file(tmp_path):
    assert "there is no file" in refusal(tmp_path / "nowhere.onnx").message
    assert "is a folder" in refusal(tmp_path).message
    assert "cannot be read" in refusal("a\0b").message


def test_a_file_beyond_protobuf(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)
    error = refusal(path)
    assert "2 GiB" in error.message
    assert "external data" in error.fix


def tensor(**fields) -> onnx.TensorProto:
    return onnx.TensorProto(name="w", **fields)


FLOAT = onnx.TensorProto.FLOAT


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (tensor(data_type=FLOAT, dims=[1 << 40]), "has shape [1099511627776] but 0 of"),
        (tensor(data_type=FLOAT, dims=[1 << 40, 1 << 40], raw_data=b"1234"), "4 of"),
        (tensor(data_type=FLOAT, dims=[-2], float_data=[1, 2]), "has shape [-2]"),
        (tensor(data_type=FLOAT, dims=[2], raw_data=b"12345"), "5 of 8"),
        (tensor(data_type=FLOAT, dims=[2], float_data=[1]), "1 of 2"),
        (tensor(data_type=onnx.TensorProto.INT4, dims=[3], raw_data=b"1"), "1 of 2"),
        (tensor(data_type=onnx.TensorProto.INT8, dims=[3], int32_data=[1]), "1 of 3"),
        (tensor(data_type=onnx.TensorProto.STRING, dims=[3], string_data=[b"a"]), "1 of 3"),
        (tensor(data_type=99, dims=[1]), "unknown data type 99"),
        (tensor(data_type=0, dims=[1]), "unknown data type 0"),
    ],
)
def test_a_tensor_without_its_data(relu, bad, complaint):
    relu.graph.initializer.append(bad)
    assert complaint in refusal(relu).message
    del relu.graph.initializer[0]
    relu.graph.node.append(helper.make_node("Constant", [], ["c"], value=bad))
    error = refusal(relu)
    assert complaint in error.message
    assert "tensor in 'value'" in error.message


@pytest.mark.parametrize(
    "dtype",
    ["INT4", "UINT4", "INT8", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "INT64", "BOOL", "COMPLEX64", "DOUBLE", "UINT64"],
)
@pytest.mark.parametrize("raw", [False, True])
def test_tensors_of_every_type_pass(relu, dtype, raw):
    kind = getattr(onnx.TensorProto, dtype)
    made = helper.make_tensor("w", kind, [3], [1, 0, 1])
    if raw:
        made = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(made), "w")
        assert made.HasField("raw_data")
    relu.graph.initializer.append(made)
    relu.graph.output.append(onnx.ValueInfoProto(name="w"))
    stored = load_model(relu).graph.initializers["w"].const_value.numpy()
    assert stored.astype(np.complex64).tolist() == [1, 0, 1]


def test_sparse_tensors_are_refused(relu):
    values = helper.make_tensor("s", FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", onnx.TensorProto.INT64, [1], [3])
    relu.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40]))
    assert "sparse" in refusal(relu).message


def test_repeated_names(relu):
    relu.graph.initializer.extend([helper.make_tensor("w", FLOAT, [1], [1.0])] * 2)
    assert "names an initializer twice" in refusal(relu).message
    del relu.graph.initializer[:]
    relu.graph.node.append(helper.make_node("Neg", ["x"], ["y"]))
    assert "redeclared" in refusal(relu).message


def test_text_that_is_no_text(relu):
    data = relu.SerializeToString().replace(b"graph", b"gr\xff\xfeh")
    assert "not UTF-8" in refusal(data).message


def test_an_attribute_that_is_no_text(build):
    model = build([("Einsum", ["x"], ["y"], {"equation": b"i\x10\x8a>i"})], X, ["y"])
    assert "is not UTF-8 text" in refusal(model).message


def test_an_attribute_without_a_type(build):
    model = build([("vendor::Op", ["x"], ["y"], {"level": 3})], X, ["y"], domains={"vendor": 1})
    model.graph.node[0].attribute[0].ClearField("type")
    assert "attribute 'level' has no type" in refusal(model).message


def test_an_input_without_a_type(relu):
    relu.graph.input[0].ClearField("type")
    assert "without an element type" in refusal(relu).message


def test_map_types_are_refused(relu):
    relu.graph.input[0].type.map_type.key_type = FLOAT
    assert refusal(relu)


@pytest.mark.parametrize("size", [{"dim_value": -1}, {"dim_param": "?"}])
def test_a_placeholder_is_an_unknown_size(relu, size):
    for dim in relu.graph.input[0].type.tensor_type.shape.dim:
        dim.MergeFrom(onnx.TensorShapeProto.Dimension(**size))
    (info,) = load_model(relu).inputs
    assert info.shape == (None, None), "two placeholders need not be equal"
