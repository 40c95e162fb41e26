from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_core.ir import QuantizedModel
from deepseek_core.selection import unit_signature


def conv(*, name="conv", channels=4, stride=1, per_channel=True, seed=0, batch=1, relu=False) -> QuantizedModel:
    weight = np.random.default_rng(seed).integers(-127, 128, (channels, 3, 3, 3)).astype(np.int8)
    shape = (channels,) if per_channel else ()
    constants = {
        f"{name}.s": np.float32(0.1 + seed),
        f"{name}.z": np.uint8(seed),
        f"{name}.w": weight,
        f"{name}.ws": np.full(shape, 0.02, np.float32),
        f"{name}.wz": np.zeros(shape, np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", f"{name}.s", f"{name}.z"], ["xf"]),
        helper.make_node("DequantizeLinear", [f"{name}.w", f"{name}.ws", f"{name}.wz"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["yf"], name=name, strides=[stride, stride]),
        *([helper.make_node("Relu", ["yf"], ["rf"])] if relu else []),
        helper.make_node("QuantizeLinear", ["rf" if relu else "yf", f"{name}.s", f"{name}.z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return QuantizedModel(ir.from_proto(onnx.shape_inference.infer_shapes(model)))


def signature(**settings) -> str:
    (unit,) = conv(**settings).units()
    return unit_signature(unit)


def test_names_and_numbers_do_not_count() -> None:
    assert signature() == signature(name="another", seed=3)


@pytest.mark.parametrize(
    "other",
    [{"channels": 5}, {"stride": 2}, {"per_channel": False}, {"batch": 2}, {"batch": "n"}, {"relu": True}],
    ids=str,
)
def test_what_changes_the_speed_counts(other) -> None:
    assert signature() != signature(**other)


def test_a_person_can_read_it() -> None:
    text = signature(stride=2, batch="n")
    assert "\n" not in text
    for part in ("Conv-21", "strides=", "data uint8 per_tensor [?,3,8,8]", "weight constant int8 per_channel"):
        assert part in text


def test_omitted_inputs_and_bodies_have_a_place() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["out"])], "b", [], [helper.make_tensor_value_info("out", 1, None)]
    )
    nodes = [
        helper.make_node("Clip", ["x", "", "high"], ["clipped"]),
        helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, None), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.float32(6), "high")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    clip, branch = (unit_signature(unit) for unit in QuantizedModel(ir.from_proto(model)).units())
    assert "(data FLOAT [?]" not in clip
    assert ", -, aux constant float32 []" in clip
    assert "then_branch=…" in branch
