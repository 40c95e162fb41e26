"""Verification names the node and the mend, and says everything at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.schemas import newest_opset, signature, type_name
from deepseek_core.ir.verify import problems, verify

F = np.float32
QP = {"s": F(0.1), "z": np.int8(0)}
X = {"x": ("float", [2, 3])}
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def pair(scale="s", zero="z", **attributes):
    return [(Q, ["x", scale, zero], ["q"], attributes), (DQ, ["q", scale, zero], ["y"], attributes)]


@pytest.fixture
def found(build):
    """What verification says about a model as it is, without load_model's mending."""

    def check(*arguments, **options):
        model = ir.from_proto(build(*arguments, **options))
        for graph in model.graphs():
            for index, node in enumerate(graph):
                node.name = node.name or f"n{index}"
        return [str(problem) for problem in problems(model)]

    return check


def test_a_sound_model_has_no_problems(found):
    assert found(pair(), X, ["y"], QP) == []


@pytest.mark.parametrize("scale", [0.0, -0.5, np.nan, np.inf])
def test_scales_are_positive_and_finite(found, scale):
    said = found(pair(), X, ["y"], {**QP, "s": F(scale)})
    assert said == [f"node 'n{i}' ({op}): its scale is not positive and finite" for i, op in enumerate((Q, DQ))]


def test_zero_points_have_the_shape_of_the_scale(found):
    said = found(pair(axis=1), X, ["y"], {"s": np.full(3, 0.1, F), "z": np.zeros(2, np.int8)})
    assert said[0] == "node 'n0' (QuantizeLinear): its scale has shape (3,), its zero point (2,)"


@pytest.mark.parametrize("dtype", [np.int32, ml_dtypes.float8_e4m3fn])
def test_biases_and_floats_have_no_zero_point_but_0(found, dtype):
    kind = {"int32": "int32"}.get(np.dtype(dtype).name, "float8e4m3fn")
    said = found([(DQ, ["c", "s", "z"], ["y"])], {"c": (kind, [2])}, ["y"], {"s": F(1), "z": np.array(1, dtype)})
    assert any("zero point is not 0" in line for line in said)


@pytest.mark.parametrize(
    ("attributes", "scales", "complaint"),
    [
        ({"axis": 2}, 3, "axis 2 of a tensor with 2 dimensions"),
        ({"axis": -3}, 3, "axis -3 of a tensor with 2 dimensions"),
        ({"axis": 0}, 3, "has 3 scales for the 2 indices of axis 0"),
        ({"axis": 1}, (2, 3), "has scales of shape [2, 3] for one axis"),
        ({"axis": 1, "block_size": 2}, (2, 3), "blocks of 2 along axis 1 of [2, 3] need [2, 2]"),
        ({"axis": 1, "block_size": 2}, 3, "need [2, 2]"),
        ({"axis": 1, "block_size": -2}, (2, 2), "has block_size -2"),
        ({"axis": 1, "block_size": 2}, (), "has block_size 2 but a single scale"),
    ],
)
def test_scales_fit_the_tensor(found, attributes, scales, complaint):
    constants = {"s": np.full(scales, 0.1, F), "z": np.zeros(scales, np.int8)}
    said = found(pair(**attributes), X, ["y"], constants)
    assert any(complaint in line and line.startswith("node 'n0' (QuantizeLinear)") for line in said), said


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_blocks_that_fit_are_fine(found, block):
    shape = (2, -(-3 // block))
    constants = {"s": np.full(shape, 0.1, F), "z": np.zeros(shape, np.int8)}
    assert found(pair(axis=1, block_size=block), X, ["y"], constants) == []


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([("Relu", ["missing"], ["y"])], "reads 'missing', which nothing produces"),
        ([("Relu", ["b"], ["y"]), ("Neg", ["x"], ["b"])], "reads 'b', which is produced later"),
        ([("Relu", ["x"], ["a"])], "output 'y' is produced by no node"),
        ([("Nonsense", ["x"], ["y"])], "the operator does not exist in opset 21"),
        ([("Upsample", ["x", "x"], ["y"])], "the operator is deprecated in opset 21"),
        ([("Relu", ["x", "x"], ["y"])], "has 2 inputs, needs 1"),
        ([("Relu", ["x"], ["y", "w"])], "has 2 outputs, needs 1"),
        ([("Add", ["x", ""], ["y"])], "has 1 inputs, needs 2"),
        ([("Concat", ["x", "x"], ["y"])], "required attribute 'axis' is missing"),
        ([("Relu", ["x"], ["y"], {"alpha": 1.0})], "has no attribute 'alpha'"),
        ([("Concat", ["x"], ["y"], {"axis": 1.0})], "attribute 'axis' is FLOAT, not INT"),
        ([("Gemm", ["x", "", "x"], ["y"])], "required input 'B' is missing"),
        (
            [("BitShift", ["x", "x"], ["y"], {"direction": "LEFT"})],
            "'x' is tensor(float), which opset 21 does not take",
        ),
        ([("Add", ["x", "n"], ["y"])], "'n' is tensor(int8), another tensor of type T tensor(float)"),
        ([("vendor::Op", ["x"], ["y"])], "its domain 'vendor' is not imported"),
    ],
)
def test_nodes_fit_their_operators(found, nodes, complaint):
    said = found(nodes, X, ["y"], {"n": np.ones(3, np.int8)})
    assert any(complaint in line for line in said), said


def test_a_type_that_only_a_later_opset_has(found):
    said = found(pair(), X, ["y"], {"s": F(1), "z": np.int16(0)}, opset=19)
    assert any("tensor(int16), which opset 19 does not take" in line for line in said)


def test_an_opset_that_the_onnx_package_does_not_know(found):
    said = found([("Relu", ["x"], ["y"])], X, ["y"], opset=newest_opset() + 1)
    assert said == [
        f"the model: needs opset {newest_opset() + 1}, newer than the installed onnx knows ({newest_opset()})"
    ]


@pytest.mark.parametrize(
    ("nodes", "inputs", "complaint"),
    [
        ([("Constant", [], ["c"], {"value_float": 1.0}), ("Add", ["x", "c"], ["y"])], X, "is a Constant node"),
        ([(Q, ["w", "s", "z"], ["q"]), (DQ, ["q", "s", "z"], ["y"])], {}, "quantizes a constant"),
        ([(Q, ["x", "s"], ["q"]), (DQ, ["q", "s"], ["y"])], X, "has no explicit zero point"),
        ([(DQ, ["c", "s", "z"], ["d"]), ("Add", ["d", "d"], ["y"])], {"c": ("int8", [2])}, "feeds 2 inputs"),
        (
            [("QLinearMatMul", ["c", "s", "z", "c", "s", "z", "s", "z"], ["y"])],
            {"c": ("int8", [2, 2])},
            "is a QOperator",
        ),
        ([("Add", ["x", "w"], ["y"])], {**X, "w": ("float", [3])}, "is an input and an initializer"),
    ],
)
def test_canonical_form(found, nodes, inputs, complaint):
    said = found(nodes, inputs, ["y"], {**QP, "w": np.ones(3, F)})
    assert any(complaint in line for line in said), said


def test_two_things_of_one_name(build):
    model = load_model(build([("Relu", ["x"], ["a"]), ("Neg", ["a"], ["y"])], X, ["y"]))
    model.graph[0].name = model.graph[1].name
    model.graph[0].outputs[0].name = "x"
    said = list(map(str, problems(model.model)))
    assert any("shares its name with another node" in line for line in said)
    assert any("value 'x': is defined more than once" in line for line in said)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (np.zeros((), np.uint8), "is said to be INT8 and holds UINT8"),
        (np.zeros(2, np.int8), r"shape \[\] and holds \[2\]"),
    ],
)
def test_an_initializer_that_is_not_what_it_is_said_to_be(build, data, complaint):
    model = load_model(build(pair(), X, ["y"], QP))
    model.graph.initializers["z"].const_value = ir.tensor(data, name="z")
    with pytest.raises(ModelError, match=complaint):
        verify(model)


def test_an_output_listed_twice(build):
    model = load_model(build([("Relu", ["x"], ["y"])], X, ["y"]))
    model.graph.outputs.append(model.graph.outputs[0])
    with pytest.raises(ModelError, match="lists an output twice"):
        verify(model)


def test_everything_is_reported_at_once_with_each_fix(build):
    model = load_model(build(pair(), X, ["y"], QP))
    model.graph.initializers["s"].const_value = ir.tensor(F(-1), name="s")
    model.graph[1].attributes["nonsense"] = ir.AttrInt64("nonsense", 1)
    with pytest.raises(ModelError) as caught:
        verify(model)
    text = str(caught.value)
    assert "node 'QuantizeLinear' (QuantizeLinear): its scale" in text
    assert "node 'DequantizeLinear' (DequantizeLinear): its scale" in text
    assert "has no attribute 'nonsense'" in text
    assert "recalibrate" in caught.value.fix
    assert "correct the node" in caught.value.fix
    assert "\n" not in text


def test_a_flood_of_problems_is_counted(build):
    nodes = [("Relu", [f"missing{i}"], [f"a{i}"]) for i in range(30)]
    with pytest.raises(ModelError, match="and 20 more") as caught:
        load_model(build([*nodes, ("Sum", [f"a{i}" for i in range(30)], ["y"])], {}, ["y"]))
    assert len(str(caught.value)) < 2000


def test_a_graph_that_is_no_graph(build):
    model = QuantizedModel(ir.Model(ir.Graph([], [], nodes=[]), ir_version=10))
    with pytest.raises(ModelError, match=r"has no outputs.*imports no operator set"):
        verify(model)


def test_signatures_are_those_of_the_version():
    assert "block_size" not in signature("", Q, 19).attributes
    assert "block_size" in signature("", Q, 21).attributes
    assert signature("", "Squeeze", 12).max_inputs == 1
    assert signature("", "Squeeze", 13).max_inputs == 2
    assert signature("", "Nothing", 21) is None


@pytest.mark.parametrize(
    ("type_", "name"),
    [
        (ir.TensorType(ir.DataType.FLOAT), "tensor(float)"),
        (ir.TensorType(ir.DataType.DOUBLE), "tensor(double)"),
        (ir.TensorType(ir.DataType.FLOAT8E4M3FN), "tensor(float8e4m3fn)"),
        (ir.SparseTensorType(ir.DataType.INT8), "sparse_tensor(int8)"),
        (ir.SequenceType(ir.TensorType(ir.DataType.INT64)), "seq(tensor(int64))"),
        (ir.OptionalType(ir.SequenceType(ir.TensorType(ir.DataType.BOOL))), "optional(seq(tensor(bool)))"),
    ],
)
def test_types_are_spelt_as_in_the_schemas(type_, name):
    assert type_name(type_) == name
