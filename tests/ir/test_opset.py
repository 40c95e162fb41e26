"""Raising the opset keeps every value, or keeps the opset."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.opset import OPSET, raise_opset
from deepseek_core.ir.serialize import to_bytes

F = np.float32
IMAGE = {"x": ("float", [1, 4, 4, 4])}
ROI = {"sizes": np.array([1, 1, 2, 2], F)}

CASES = {
    "softmax-11": (11, [("Softmax", ["x"], ["y"], {"axis": 1})], ["y"], {}),
    "logsoftmax-11": (11, [("LogSoftmax", ["x"], ["y"])], ["y"], {}),
    "squeeze-11": (11, [("Squeeze", ["x"], ["y"], {"axes": [0]})], ["y"], {}),
    "unsqueeze-11": (11, [("Unsqueeze", ["x"], ["y"], {"axes": [0, 2]})], ["y"], {}),
    "split-11": (11, [("Split", ["x"], ["y", "z"], {"axis": 1, "split": [1, 3]})], ["y", "z"], {}),
    "split-11-equal": (11, [("Split", ["x"], ["y", "z"], {"axis": 1})], ["y", "z"], {}),
    "split-13-equal": (13, [("Split", ["x"], ["y", "z"], {"axis": 1})], ["y", "z"], {}),
    "clip-9": (9, [("Clip", ["x"], ["y"], {"min": 0.0, "max": 0.5})], ["y"], {}),
    "pad-9": (9, [("Pad", ["x"], ["y"], {"pads": [0, 0, 1, 1, 0, 0, 2, 2], "value": 3.0})], ["y"], {}),
    "batchnorm-9": (
        9,
        [("BatchNormalization", ["x", "a", "b", "c", "d"], ["y"])],
        ["y"],
        {
            "a": np.linspace(1, 2, 4, dtype=F),
            "b": np.ones(4, F),
            "c": np.zeros(4, F),
            "d": np.full(4, 2, F),
        },
    ),
    "reducemean-13": (13, [("ReduceMean", ["x"], ["y"], {"axes": [2, 3]})], ["y"], {}),
    "reducesum-11": (11, [("ReduceSum", ["x"], ["y"], {"axes": [1], "keepdims": 0})], ["y"], {}),
    "upsample-9": (9, [("Upsample", ["x", "sizes"], ["y"], {"mode": "nearest"})], ["y"], ROI),
    "resize-10": (10, [("Resize", ["x", "sizes"], ["y"], {"mode": "nearest"})], ["y"], ROI),
    "slice-9": (9, [("Slice", ["x"], ["y"], {"starts": [0, 1], "ends": [1, 3], "axes": [0, 2]})], ["y"], {}),
    "topk-9": (9, [("TopK", ["x"], ["y", "z"], {"k": 2})], ["y", "z"], {}),
    "dropout-10": (10, [("Dropout", ["x"], ["y"])], ["y"], {}),
    "gemm-7": (
        7,
        [("Flatten", ["x"], ["f"]), ("Gemm", ["f", "w", "b"], ["y"])],
        ["y"],
        {
            "w": np.ones((64, 2), F),
            "b": np.ones(2, F),
        },
    ),
    "quantize-10": (
        10,
        [("QuantizeLinear", ["x", "s", "q"], ["c"]), ("DequantizeLinear", ["c", "s", "q"], ["y"])],
        ["y"],
        {
            "s": F(0.02),
            "q": np.uint8(128),
        },
    ),
    "quantize-13": (
        13,
        [
            ("QuantizeLinear", ["x", "s", "q"], ["c"], {"axis": 1}),
            ("DequantizeLinear", ["c", "s", "q"], ["y"], {"axis": 1}),
        ],
        ["y"],
        {
            "s": np.linspace(0.01, 0.04, 4, dtype=F),
            "q": np.zeros(4, np.int8),
        },
    ),
    "gridsample-16": (
        16,
        [("GridSample", ["x", "g"], ["y"], {"mode": "bilinear"})],
        ["y"],
        {
            "g": np.random.default_rng(0).uniform(-1, 1, (1, 3, 3, 2)).astype(F),
        },
    ),
    "maxpool-8": (8, [("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2]})], ["y"], {}),
    "averagepool-7": (7, [("AveragePool", ["x"], ["y"], {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]})], ["y"], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_stay(case, build, run_ort):
    opset, nodes, outputs, constants = CASES[case]
    proto = build(nodes, IMAGE, outputs, constants, opset=opset)
    proto.ir_version = 4
    model = load_model(proto)
    assert model.opset == OPSET
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(F)}
    types = {o.name: o.type for o in onnx.shape_inference.infer_shapes(proto).graph.output}
    for output in proto.graph.output:
        output.type.CopyFrom(types[output.name])
    before, after = run_ort(proto.SerializeToString(), feeds), run_ort(to_bytes(model), feeds)
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype
        # Two versions of an operator may be two kernels of ONNX Runtime, which sum in different orders.
        assert np.allclose(one, other, rtol=1e-6, atol=1e-6) if one.dtype == F else np.array_equal(one, other)
    onnx.checker.check_model(to_bytes(model), full_check=True)


def test_the_node_keeps_its_name_and_the_model_its_interface(build):
    proto = build([helper.make_node("ReduceMean", ["x"], ["y"], "mean", axes=[2])], IMAGE, ["y"], opset=13)
    model = load_model(proto)
    assert [n.name for n in model.graph] == ["mean"]
    assert model.outputs[0].name == "y"
    assert model.graph[0].inputs[1].const_value.numpy().tolist() == [2]


def test_what_the_converter_does_not_know_is_not_shown_to_it(build, ops):
    """4-bit tensors, vendor operators and bodies would each make it fail or forget."""
    branch = helper.make_graph(
        [helper.make_node("Squeeze", ["a"], ["o"], axes=[0])], "b", [], [onnx.ValueInfoProto(name="o")]
    )
    zero = helper.make_tensor("z", onnx.TensorProto.INT4, [], [0])
    codes = helper.make_tensor("w", onnx.TensorProto.INT4, [1, 3], [1, -2, 3])
    proto = build(
        [
            ("com.microsoft::DequantizeLinear", ["w", "s", "z"], ["d"]),
            ("com.microsoft::Gelu", ["x"], ["g"]),
            ("Add", ["d", "g"], ["a"]),
            helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ],
        {"x": ("float", [1, 3]), "c": ("bool", [])},
        ["y"],
        {"w": codes, "s": F(0.1), "z": zero},
        opset=12,
        domains={"com.microsoft": 1},
    )
    model = load_model(proto)
    assert model.opset == 21
    assert ops(model) == ["DequantizeLinear", "com.microsoft::Gelu", "Add", "If"]
    assert model.model.ir_version >= 10
    assert model.graph.initializers["w"].const_value.dtype is ir.DataType.INT4


def test_a_model_that_cannot_be_raised_stays_and_loads(build, ops):
    """The batched Scan of opset 8 has no successor."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["s", "i"], ["n"])],
        "body",
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "si"],
        [helper.make_tensor_value_info("n", onnx.TensorProto.FLOAT, [2])],
    )
    inputs = {"start": ("float", [1, 2]), "x": ("float", [1, 3, 2])}
    node = helper.make_node("Scan", ["", "start", "x"], ["y"], body=inner, num_scan_inputs=1)
    model = load_model(build([node], inputs, ["y"], opset=8))
    assert model.opset == 8
    assert ops(model) == ["Scan"]


def test_newer_opsets_stay(build):
    assert load_model(build([("Relu", ["x"], ["y"])], IMAGE, ["y"], opset=23)).opset == 23


def test_a_model_that_the_converter_refuses_stays_untouched(build):
    proto = build([("Upsample", ["x", "t"], ["y"])], {**IMAGE, "t": ("float", [4])}, ["y"], opset=9)
    model = ir.from_proto(proto)
    before = ir.to_proto(model).SerializeToString()
    model.graph[0].attributes["mode"] = ir.AttrString("mode", "linear")
    raised = raise_opset(model)
    if not raised:
        del model.graph[0].attributes["mode"]
        assert ir.to_proto(model).SerializeToString() == before
        assert model.opset_imports[""] == 9
