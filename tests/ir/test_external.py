"""Weights in files beside the model."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.serialize import to_bytes

W = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def saved(build, tmp_path):
    """`saved(location=…, offset=…, length=…)` writes a model whose weight is external, and `weights.bin`."""

    def make(data=W, folder=tmp_path, **entries):
        proto = build([("MatMul", ["x", "w"], ["y"])], {"x": ("float", [2, 3])}, ["y"], {"w": data})
        (tensor,) = proto.graph.initializer
        raw = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": "weights.bin", **entries}.items():
            tensor.external_data.add(key=key, value=str(value))
        (tmp_path / "weights.bin").write_bytes(bytes(64) + raw)
        path = folder / "m.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return make


def test_external_weights_are_mapped(saved):
    model = load_model(saved(offset=64, length=48))
    stored = model.graph.initializers["w"].const_value.numpy()
    assert np.array_equal(stored, W)
    base = stored
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert not isinstance(base, (np.ndarray, bytes)), "the file is mapped, not read"


def test_the_length_may_be_left_out(saved):
    assert np.array_equal(load_model(saved(offset=64)).graph.initializers["w"].const_value.numpy(), W)


def test_a_model_with_external_weights_is_saved_whole(saved):
    again = load_model(to_bytes(load_model(saved(offset=64))))
    assert np.array_equal(again.graph.initializers["w"].const_value.numpy(), W)


def test_packed_weights(build, tmp_path):
    codes = np.array([[1, -8, 7], [3, -1, 0], [2, 2, 2]], ml_dtypes.int4)
    proto = build(
        [("DequantizeLinear", ["w", "s", "z"], ["d"]), ("MatMul", ["x", "d"], ["y"])],
        {"x": ("float", [1, 3])},
        ["y"],
        {"w": codes, "s": np.float32(1), "z": np.array(0, ml_dtypes.int4)},
    )
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="all.bin", size_threshold=0)
    assert np.array_equal(load_model(tmp_path / "m.onnx").graph.initializers["w"].const_value.numpy(), codes)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"location": "../weights.bin"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
        ({"location": "a/../../weights.bin"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "missing.bin"}, "is missing"),
        ({"location": "."}, "is missing"),
        ({"offset": 65}, "does not have them"),
        ({"offset": 1 << 62}, "does not have them"),
        ({"offset": -8}, "says '-8' for the offset"),
        ({"length": 1 << 40}, "does not have them"),
        ({"length": 4}, "does not have them"),
        ({"offset": "many"}, "says 'many' for the offset"),
        ({"length": "²"}, "says '²' for the length"),
    ],
)
def test_files_that_do_not_hold_the_weights(saved, entries, complaint):
    with pytest.raises(ModelError, match=complaint):
        load_model(saved(**entries))


def test_a_link_out_of_the_folder_is_refused(saved, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_model(saved(folder=folder, offset=64))


def test_a_shape_beyond_the_file_allocates_nothing(saved, tmp_path):
    path = saved(offset=64)
    proto = onnx.ModelProto.FromString(path.read_bytes())
    proto.graph.initializer[0].dims[:] = [1 << 20, 1 << 30]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="does not have them"):
        load_model(path)


def test_bytes_have_no_folder(saved):
    with pytest.raises(ModelError, match="load the model from its path"):
        load_model(saved(offset=64).read_bytes())


def test_an_external_tensor_in_an_attribute(build, tmp_path):
    value = onnx.TensorProto(
        name="v", data_type=onnx.TensorProto.FLOAT, dims=[3], data_location=onnx.TensorProto.EXTERNAL
    )
    value.external_data.add(key="location", value="v.bin")
    proto = build([("Constant", [], ["c"], {"value": value}), ("Add", ["x", "c"], ["y"])], {"x": ("float", [3])}, ["y"])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "v.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    model = load_model(tmp_path / "m.onnx")
    assert model.graph.initializers["c"].const_value.numpy().tolist() == [0, 1, 2]
