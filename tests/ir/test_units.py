"""The unit view: a partition of the graph into compute nodes with their Q and DQ nodes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.ops import Role, channel_axis, info, roles
from deepseek_core.ir.qdq import is_q_or_dq, qparams_of
from deepseek_core.ir.units import units
from deepseek_core.scheme import DType, Granularity

F = np.float32
QP = {"s": F(0.1), "z": np.int8(0), "t": F(0.2), "zt": np.int8(3)}


def quantized_conv(build, extra=(), outputs=("y",), **constants):
    """x → Q → DQ → Conv(w, b) → Relu → Q → DQ → y, plus `extra` nodes."""
    return build(
        [
            ("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            ("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            ("DequantizeLinear", ["w", "ws", "wz"], ["wd"], {"axis": 0}),
            ("DequantizeLinear", ["b", "bs", "bz"], ["bd"], {"axis": 0}),
            ("Conv", ["xd", "wd", "bd"], ["c"]),
            ("Relu", ["c"], ["r"]),
            ("QuantizeLinear", ["r", "t", "zt"], ["rq"]),
            ("DequantizeLinear", ["rq", "t", "zt"], ["y"]),
            *extra,
        ],
        {"x": ("float", [1, 2, 4, 4])},
        list(outputs),
        {
            **QP,
            "w": np.ones((3, 2, 1, 1), np.int8),
            "ws": np.full(3, 0.1, F),
            "wz": np.zeros(3, np.int8),
            "b": np.arange(3, dtype=np.int32),
            "bs": np.full(3, 0.01, F),
            "bz": np.zeros(3, np.int32),
            **constants,
        },
    )


def test_a_unit_holds_its_dequantizers_activation_and_quantizer(build):
    first, conv, last = load_model(quantized_conv(build)).units()
    assert (first.op, conv.op, last.op) == ("QuantizeLinear", "Conv", "DequantizeLinear")
    assert [n.op_type for n in conv.nodes] == [
        "DequantizeLinear",
        "DequantizeLinear",
        "DequantizeLinear",
        "Conv",
        "Relu",
        "QuantizeLinear",
    ]
    x, w, b = conv.inputs
    assert [o.role for o in conv.inputs] == [Role.DATA, Role.WEIGHT, Role.BIAS]
    assert [o.dtype for o in conv.inputs] == [DType.INT8, DType.INT8, DType.INT32]
    assert (x.shape, w.shape, b.shape) == ((1, 2, 4, 4), (3, 2, 1, 1), (3,))
    assert (w.qparams.scheme.granularity, w.qparams.scheme.axis) == (Granularity.PER_CHANNEL, 0)
    assert (x.is_constant, w.is_constant) == (False, True)
    assert conv.activation.op_type == "Relu"
    (output,) = conv.outputs
    assert (output.value.name, output.real.name, output.qparams.scale) == ("rq", "r", F(0.2))
    assert conv.operands(Role.BIAS) == (b,)
    assert conv.is_quantized


def test_a_lone_q_or_dq_states_its_parameters_at_the_quantized_side(build):
    first, _, last = load_model(quantized_conv(build)).units()
    assert first.inputs[0].qparams is None
    assert first.outputs[0].qparams.scale == F(0.1)
    assert last.inputs[0].qparams.scale == F(0.2)
    assert last.outputs[0].qparams is None
    assert first.is_quantized
    assert last.is_quantized


def test_units_partition_the_graph(goldens):
    for path in goldens.values():
        model = load_model(path)
        nodes = [n for unit in model.units() for n in unit.nodes]
        assert len(nodes) == len(set(nodes)) == model.graph.num_nodes()
        assert all(is_q_or_dq(n) is (n.op_type in ("QuantizeLinear", "DequantizeLinear")) for n in nodes)


def test_the_real_result_leaves_a_unit_where_others_read_it(build):
    model = load_model(quantized_conv(build, [("Sigmoid", ["r"], ["v"])], ["y", "v"]))
    conv = next(u for u in model.units() if u.op == "Conv")
    assert [o.value.name for o in conv.outputs] == ["rq", "r"]


def test_the_first_of_two_quantizers_belongs_to_the_producer(build):
    extra = [("QuantizeLinear", ["r", "s", "z"], ["other"])]
    model = load_model(quantized_conv(build, extra, ["y", "other"]))
    conv = next(u for u in model.units() if u.op == "Conv")
    lone = [u for u in model.units() if u.op == "QuantizeLinear"]
    assert [o.value.name for o in conv.outputs] == ["rq", "r"]
    assert lone[-1].outputs[0].value.name == "other"


def test_an_activation_that_others_need_before_it_is_not_fused(build):
    model = load_model(quantized_conv(build, [("Sigmoid", ["c"], ["v"])], ["y", "v"]))
    assert [u.op for u in model.units()] == ["QuantizeLinear", "Conv", "Relu", "DequantizeLinear", "Sigmoid"]


def test_a_clip_with_computed_bounds_is_not_fused(build):
    model = load_model(
        build(
            [
                ("ReduceMax", ["x"], ["m"], {"keepdims": 0}),
                ("MatMul", ["x", "w"], ["p"]),
                ("Clip", ["p", "", "m"], ["y"]),
            ],
            {"x": ("float", [2, 2])},
            ["y"],
            {"w": np.eye(2, dtype=F)},
        )
    )
    assert [u.op for u in model.units()] == ["ReduceMax", "MatMul", "Clip"]


def test_control_flow_is_one_unit_and_its_bodies_have_theirs(build, body):
    branch = body([("MatMul", ["x", "w"], ["p"]), ("Relu", ["p"], ["o"])], {}, ["o"])
    model = load_model(
        build(
            [helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=branch)],
            {"c": ("bool", []), "x": ("float", [2, 2])},
            ["y"],
            {"w": np.eye(2, dtype=F)},
        )
    )
    assert [u.name for u in model.units()] == ["choose"]
    everything = list(model.all_units())
    names = [u.name for u in everything]
    assert len(names) == len(set(names)) == 3
    assert all(name.startswith("choose/") for name in names[1:])
    assert [u.op for u in everything] == ["If", "MatMul", "MatMul"]
    assert {u.activation.op_type for u in everything[1:]} == {"Relu"}


def test_omitted_inputs_keep_their_place(build):
    model = load_model(
        build([("Clip", ["x", "", "m"], ["y"])], {"x": ("float", [2])}, ["y"], {"m": F(1)}),
    )
    (clip,) = model.units()
    assert [o and o.value.name for o in clip.inputs] == ["x", None, "m"]


@pytest.mark.parametrize(
    ("op", "position", "role"),
    [
        ("Conv", 0, Role.DATA),
        ("Conv", 1, Role.WEIGHT),
        ("Conv", 2, Role.BIAS),
        ("MatMul", 1, Role.WEIGHT),
        ("Concat", 3, Role.DATA),
        ("Where", 0, Role.AUX),
        ("Where", 2, Role.DATA),
        ("Reshape", 1, Role.AUX),
        ("PRelu", 1, Role.WEIGHT),
        ("Add", 1, Role.DATA),
    ],
)
def test_roles(op, position, role):
    constant = ir.Value(name="w", const_value=ir.tensor(np.ones(2, F)))
    inputs = [ir.Value(name=f"i{i}") for i in range(4)]
    if role is Role.WEIGHT:
        inputs[position] = constant
    assert roles(ir.node(op, inputs))[position] is role


def test_a_computed_second_factor_is_data():
    assert roles(ir.node("MatMul", [ir.Value(name="a"), ir.Value(name="b")])) == (Role.DATA, Role.DATA)


def test_an_unknown_op_has_data_first():
    assert info("vendor::Magic").data == (0,)


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "axis"),
    [
        ("Conv", [4, 3, 3, 3], {}, 0),
        ("ConvTranspose", [4, 3, 3, 3], {}, 1),
        ("Gemm", [4, 3], {}, 1),
        ("Gemm", [4, 3], {"transB": 1}, 0),
        ("MatMul", [2, 4, 3], {}, 2),
    ],
)
def test_channel_axis(op, shape, attributes, axis):
    weight = ir.Value(name="w", shape=ir.Shape(shape))
    assert channel_axis(ir.node(op, [ir.Value(name="x"), weight], attributes)) == axis


def constant(name, array):
    tensor = ir.tensor(array)
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype))


def dequantizer(scale, zero, shape=(2, 3), **attributes):
    values = [
        ir.Value(name="q", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.INT8)),
        *(constant(n, a) for n, a in zip("sz", (scale, zero), strict=True) if a is not None),
    ]
    return ir.node("DequantizeLinear", values, attributes, name="dq")


def test_qparams_read_the_granularity_off_the_scale():
    assert qparams_of(dequantizer(F(1), np.int8(0))).scheme.granularity is Granularity.PER_TENSOR
    assert qparams_of(dequantizer(np.ones(1, F), np.zeros(1, np.int8))).scheme.granularity is Granularity.PER_TENSOR
    channel = qparams_of(dequantizer(np.ones(3, F), np.zeros(3, np.int8), axis=1))
    assert (channel.scheme.granularity, channel.scheme.axis, channel.scheme.symmetric) == ("per_channel", 1, True)
    one = qparams_of(dequantizer(np.ones(1, F), np.zeros(1, np.int8), shape=(1, 3), axis=0))
    assert one.scheme.granularity is Granularity.PER_CHANNEL
    block = qparams_of(dequantizer(np.ones((1, 3), F), np.zeros((1, 3), np.int8), axis=0, block_size=2))
    assert (block.scheme.granularity, block.scheme.block_size) == ("per_block", 2)


def test_qparams_without_zero_point_imply_zero_of_the_codes_type():
    assert qparams_of(dequantizer(F(1), None)).zero_point == np.int8(0)
    quantizer = ir.node("QuantizeLinear", dequantizer(F(1), None).inputs)
    assert qparams_of(quantizer).scheme.dtype is DType.UINT8


def test_computed_parameters_are_no_qparams():
    node = dequantizer(F(1), np.int8(0))
    node.replace_input_with(1, ir.Value(name="computed"))
    assert qparams_of(node) is None


def test_contradictory_parameters_name_the_node():
    with pytest.raises(ModelError, match="node 'dq'"):
        qparams_of(dequantizer(np.ones(3, F), np.zeros(2, np.int8), axis=1))


def test_a_graph_without_nodes_has_no_units():
    assert units(ir.Graph([], [], nodes=[])) == []


def test_inputs_and_outputs_are_described(build):
    model = load_model(
        build([("Cast", ["x"], ["y"], {"to": onnx.TensorProto.BFLOAT16})], {"x": ("float", ["n", 2])}, ["y"])
    )
    (given,), (result,) = model.inputs, model.outputs
    assert (given.name, given.dtype, given.shape) == ("x", "float32", ("n", 2))
    assert (result.dtype, result.shape) == ("bfloat16", ("n", 2))


def test_strings_are_objects(build):
    model = load_model(build([("Identity", ["x"], ["y"])], {"x": ("string", None)}, ["y"]))
    assert (model.inputs[0].dtype, model.inputs[0].shape) == ("object", None)
