"""A model as bytes, and as a file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from deepseek_core.errors import ModelError, StorageError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.serialize import save, to_bytes


@pytest.fixture
def model(build):
    return load_model(
        build([("MatMul", ["x", "w"], ["y"])], {"x": ("float", [1, 2])}, ["y"], {"w": np.eye(2, dtype=np.float32)})
    )


def test_metadata_comes_back(model):
    model.metadata = {"recipe": {"a": [1, 2.5, None, "ü"]}, "source_sha256": "abc"}
    again = load_model(to_bytes(model))
    assert again.metadata == model.metadata
    assert not again.model.metadata_props


def test_bytes_do_not_depend_on_the_order_of_metadata(model):
    model.metadata = {"a": 1, "b": 2}
    one = to_bytes(model)
    model.metadata = {"b": 2, "a": 1}
    assert to_bytes(model) == one


def test_it_is_an_ordinary_onnx_file(model, tmp_path):
    save(model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)


@pytest.mark.parametrize("text", ["no json", "[1]", "[" * 100_000])
def test_a_foreign_property_of_our_name_is_left_alone(build, text):
    proto = build([("Relu", ["x"], ["y"])], {"x": ("float", [1])}, ["y"])
    proto.metadata_props.add(key="deepseek.metadata", value=text)
    model = load_model(proto)
    assert model.metadata == {}
    assert model.model.metadata_props == {"deepseek.metadata": text}


def test_a_model_beyond_protobuf_is_refused_before_it_is_copied(model):
    huge = np.broadcast_to(np.float32(1), (1 << 15, 1 << 15))
    value = model.graph.initializers["w"]
    import onnx_ir as ir

    value.const_value = ir.Tensor(huge, name="w")
    with pytest.raises(ModelError, match=r"\.ds package"):
        to_bytes(model)


def test_a_folder_that_is_not_there(model, tmp_path):
    with pytest.raises(StorageError):
        save(model, tmp_path / "nowhere" / "m.onnx")
