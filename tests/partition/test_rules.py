"""A unit against a capability table: accepted, or refused with a reason to act on."""

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.errors import BackendError
from deepseek_core.partition import refusal_reason
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, Limit, OpRule, Target

S8 = QuantScheme(DType.INT8, symmetric=True)
A8 = QuantScheme(DType.INT8)
U8 = QuantScheme(DType.UINT8)
CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
F32 = DType.FLOAT32


def table(*rules, **options):
    return Capabilities(Target("npu", "x"), rules, **options)


def conv_unit(b, *, x_zero=0, x_dtype=np.int8, w_scale=None, w_axis=0, bias=None, bias_scale=None, **attributes):
    """DQ → Conv → Q with a 3×3 kernel over [1, 2, 8, 8] → [1, 4, 8, 8]."""
    x = b.input("x", (1, 2, 8, 8), ir.DataType.INT8 if x_dtype is np.int8 else ir.DataType.UINT8)
    w_scale = np.full(4, 0.5) if w_scale is None else w_scale
    extra = {"axis": w_axis} if np.ndim(w_scale) else {}
    w = b.dq(b.constant("w", np.ones((4, 2, 3, 3), np.int8)), w_scale, name="dq_w", **extra)
    inputs = [b.dq(x, 0.25, x_zero, name="dq_x"), w]
    if bias is not None:
        constant = b.constant("bias", np.zeros(4, bias))
        scale = np.full(4, 0.125) if bias_scale is None else bias_scale
        inputs.append(constant if bias is np.float32 else b.dq(constant, scale, name="dq_b", axis=0))
    y = b.op("Conv", *inputs, name="conv", shape=(1, 4, 8, 8), pads=[1, 1, 1, 1], **attributes)
    return only_unit(b.model(b.q(y, 0.1, name="q_y")))


def only_unit(model):
    (unit,) = model.units()
    return unit


def test_fitting_rule_accepts(builder):
    unit = conv_unit(builder, bias=np.int32)
    assert refusal_reason(unit, table(OpRule("Conv", S8, S8, CHANNEL, DType.INT32))) is None


def test_second_rule_accepts(builder):
    rules = OpRule("Conv", U8, U8, CHANNEL), OpRule("Conv", S8, S8, CHANNEL)
    assert refusal_reason(conv_unit(builder), table(*rules)) is None


def test_unknown_op_lists_what_the_target_knows(builder):
    reason = refusal_reason(conv_unit(builder), table(OpRule("Relu", S8, S8), OpRule("Add", S8, S8)))
    assert reason == "no rule for Conv; the target knows Add, Relu"


def test_reason_names_closest_rule_tensor_and_what_would_do(builder):
    unit = conv_unit(builder, x_dtype=np.uint8, x_zero=3)
    rules = (
        OpRule("Conv", S8, F32, S8, DType.FLOAT32),
        OpRule("Conv", S8, S8, CHANNEL, DType.INT32),
        OpRule("Conv", A8, S8, CHANNEL, DType.INT32),
    )
    assert refusal_reason(unit, table(*rules)) == (
        "closest rule is Conv(int8 per_tensor symmetric, weight int8 per_channel symmetric) → int8 per_tensor "
        "symmetric, but input 'x' is uint8 per_tensor asymmetric; accepted: int8 per_tensor symmetric or int8 "
        "per_tensor asymmetric"
    )


@pytest.mark.parametrize(
    ("options", "rule", "expected"),
    [
        ({"x_zero": 5}, OpRule("Conv", S8, S8, CHANNEL), "input 'x' is int8 per_tensor asymmetric"),
        ({"x_zero": 5}, OpRule("Conv", A8, S8, CHANNEL), None),
        ({}, OpRule("Conv", A8, S8, CHANNEL), None),
        (
            {"x_dtype": np.uint8, "x_zero": 128},
            OpRule("Conv", QuantScheme(DType.UINT8, symmetric=True), S8, CHANNEL),
            None,
        ),
        (
            {"x_dtype": np.uint8, "x_zero": 127},
            OpRule("Conv", QuantScheme(DType.UINT8, symmetric=True), S8, CHANNEL),
            "x",
        ),
        ({"w_scale": 0.5}, OpRule("Conv", S8, S8, CHANNEL), "weight 'w' is int8 per_tensor"),
        ({"w_scale": 0.5}, OpRule("Conv", S8, S8, S8), None),
        ({"w_scale": np.ones(2), "w_axis": 1}, OpRule("Conv", S8, S8, CHANNEL), "axis=1"),
        ({"w_axis": -4}, OpRule("Conv", S8, S8, CHANNEL), None),
        ({}, OpRule("Conv", S8, U8, CHANNEL), "output 'q_y_out' is int8"),
        ({}, OpRule("Conv", F32, S8, CHANNEL), "accepted: float32"),
        ({"bias": np.int32}, OpRule("Conv", S8, S8, CHANNEL), "accepted: no bias"),
        ({"bias": np.float32}, OpRule("Conv", S8, S8, CHANNEL, DType.INT32), "bias 'bias' is float32"),
        ({"bias": np.float32}, OpRule("Conv", S8, S8, CHANNEL, DType.FLOAT32), None),
        ({"bias": np.int32}, OpRule("Conv", S8, S8, CHANNEL, DType.FLOAT32), "accepted: float32"),
        ({"bias": np.int32, "bias_scale": np.full(4, 0.3)}, OpRule("Conv", S8, S8, CHANNEL, DType.INT32), "of its own"),
    ],
)
def test_types(builder, options, rule, expected):
    reason = refusal_reason(conv_unit(builder, **options), table(rule))
    assert (reason is None) == (expected is None), reason
    assert expected is None or expected in reason


def test_narrow_range_is_checked_on_constants(builder):
    narrow = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True, narrow_range=True)
    unit = conv_unit(builder)
    assert refusal_reason(unit, table(OpRule("Conv", S8, S8, narrow))) is None
    weight = unit.inputs[1].value
    weight.const_value = ir.tensor(np.full((4, 2, 3, 3), -128, np.int8))
    assert "weight 'w'" in refusal_reason(unit, table(OpRule("Conv", S8, S8, narrow)))


@pytest.mark.parametrize(
    ("limit", "attributes", "expected"),
    [
        (Limit("attr:group", maximum=1), {"group": 1}, None),
        (Limit("attr:group", maximum=1, default=1), {}, None),
        (Limit("attr:dilations", allowed=(1,), default=1), {"dilations": [1, 2]}, "'dilations' is [1, 2]; accepted: 1"),
        (Limit("attr:dilations", allowed=(1, 2)), {"dilations": [1, 2]}, None),
        (Limit("attr:strides", minimum=2, default=1), {}, "attribute 'strides' is 1; accepted: at least 2"),
        (Limit("attr:auto_pad", allowed=("NOTSET",)), {"auto_pad": "VALID"}, "is VALID; accepted: NOTSET"),
        (Limit("attr:auto_pad", allowed=("NOTSET",), default="NOTSET"), {}, None),
        (Limit("rank", minimum=4, maximum=4), {}, None),
        (Limit("rank", maximum=3), {}, "rank is 4; accepted: at most 3"),
        (Limit("dim:1", allowed=(4, 8)), {}, "axis 1 is 2; accepted: one of 4, 8"),
        (Limit("dim:-1", maximum=8), {}, None),
        (Limit("dim:7", maximum=8), {}, "axis 7 is missing"),
        (Limit("elements", maximum=100), {}, "elements is 128"),
        (Limit("channels", minimum=1, maximum=3), {}, "output channels is 4; accepted: 1 to 3"),
        (Limit("static"), {}, None),
    ],
)  # fmt: skip
def test_limits(builder, limit, attributes, expected):
    unit = conv_unit(builder, **attributes)
    reason = refusal_reason(unit, table(OpRule("Conv", S8, S8, CHANNEL, limits=(limit,))))
    assert (reason is None) == (expected is None), reason
    assert expected is None or expected in reason


def test_limit_on_an_unknown_figure_is_broken(builder):
    x = builder.input("x", ("N", 3))
    unit = only_unit(builder.model(builder.op("Relu", x)))
    for subject in ("dim:0", "elements", "static"):
        rule = OpRule("Relu", F32, F32, limits=(Limit(subject, minimum=1),))
        assert "before run time" in refusal_reason(unit, table(rule, dynamic_shapes=True))


def test_nonsense_limit_is_the_backends_fault(builder):
    with pytest.raises(BackendError, match="limit on 'weight'"):
        refusal_reason(conv_unit(builder), table(OpRule("Conv", S8, S8, CHANNEL, limits=(Limit("weight"),))))


def test_fused_activation(builder):
    x = builder.input("x", (1, 2), ir.DataType.INT8)
    w = builder.dq(builder.constant("w", np.ones((2, 2), np.int8)))
    y = builder.op("Relu", builder.op("MatMul", builder.dq(x), w))
    unit = only_unit(builder.model(builder.q(y)))
    assert unit.activation is not None
    assert refusal_reason(unit, table(OpRule("MatMul", S8, S8, S8, fused=("Clip", "Relu")))) is None
    reason = refusal_reason(unit, table(OpRule("MatMul", S8, S8, S8, fused=("Clip",)), OpRule("Relu", F32, F32)))
    assert "the activation behind it is Relu; accepted: Clip" in reason


def test_float_activation_may_run_apart(builder):
    x = builder.input("x", (1, 2))
    unit = only_unit(
        builder.model(builder.op("Relu", builder.op("MatMul", x, builder.constant("w", np.ones((2, 2), np.float32)))))
    )
    matmul = OpRule("MatMul", F32, F32, F32)
    assert "Relu" in refusal_reason(unit, table(matmul))
    assert refusal_reason(unit, table(matmul, OpRule("Relu", F32, F32))) is None


def test_weight_computed_at_run_time(builder):
    a, b = (builder.input(n, (2, 2)) for n in "ab")
    unit = only_unit(builder.model(builder.op("MatMul", a, b)))
    assert "its weight is computed at run time" in refusal_reason(unit, table(OpRule("MatMul", F32, F32, F32)))
    assert refusal_reason(unit, table(OpRule("MatMul", F32, F32))) is None


def test_any_float_runs_what_it_can_convert(builder):
    unit = conv_unit(builder)
    assert refusal_reason(unit, table(OpRule("Gemm", S8, S8, CHANNEL), any_float=True)) is None
    reason = refusal_reason(unit, table(OpRule("Gemm", U8, U8, CHANNEL), any_float=True))
    assert reason == (
        "'x' is int8 per_tensor symmetric; accepted: int8 per_channel symmetric or uint8 per_tensor asymmetric"
    )


def test_any_float_runs_every_float_unit(builder):
    unit = only_unit(builder.model(builder.op("Shape", builder.input("x", (2,)), dtype=ir.DataType.INT64, shape=(1,))))
    assert refusal_reason(unit, table(any_float=True)) is None
    assert refusal_reason(unit, table()) == "no rule for Shape; the target knows no op"


def test_lone_conversions_follow_the_types_of_the_table(builder):
    x = builder.input("x", (2, 3))
    model = builder.model(builder.dq(builder.q(x, zero=4, name="q"), zero=4, name="dq"))
    for unit in model.units():
        assert refusal_reason(unit, table(OpRule("Add", A8, A8))) is None
        assert "accepted: int8 per_tensor symmetric" in refusal_reason(unit, table(OpRule("Add", S8, S8)))
        assert "no quantized type" in refusal_reason(unit, table(OpRule("Add", F32, F32), any_float=True))


def test_moving_op_keeps_its_codes(builder):
    x = builder.input("x", (1, 2, 4, 4), ir.DataType.INT8)
    same = builder.op("MaxPool", builder.dq(x, 0.1), name="same", kernel_shape=[1, 1])
    other = builder.op("MaxPool", builder.dq(x, 0.1), name="other", kernel_shape=[1, 1])
    model = builder.model(builder.q(same, 0.1), builder.q(other, 0.2))
    rules = table(OpRule("MaxPool", S8, S8))
    reasons = {unit.name: refusal_reason(unit, rules) for unit in model.units()}
    assert reasons["same"] is None
    assert "the same scale and zero point" in reasons["other"]


def test_dynamic_shapes(builder):
    unit = only_unit(builder.model(builder.op("Relu", builder.input("x", ("N", 3)))))
    rule = OpRule("Relu", F32, F32)
    assert "the shape of 'x' is [?, 3]" in refusal_reason(unit, table(rule))
    assert refusal_reason(unit, table(rule, dynamic_shapes=True)) is None


def test_opset(builder):
    unit = only_unit(builder.model(builder.op("Relu", builder.input("x", (3,)))))
    rule = OpRule("Relu", F32, F32)
    assert "opset 21 and the target understands up to 19" in refusal_reason(unit, table(rule, max_opset=19))
    assert refusal_reason(unit, table(rule, max_opset=21)) is None


def test_quantized_with_a_computed_scale(builder):
    x, s = builder.input("x", (2,), ir.DataType.INT8), builder.input("s", ())
    y = builder.op("Relu", builder.op("DequantizeLinear", x, s))
    unit = only_unit(builder.model(y))
    assert "with a scale computed at run time" in refusal_reason(unit, table(OpRule("Relu", S8, F32)))


def test_control_flow(builder, new_builder):
    cond = builder.input("c", (), ir.DataType.BOOL)
    x = builder.input("x", (2,))
    bodies = []
    for op in ("Relu", "Erf"):
        body = new_builder()
        bodies.append(body.graph([body.op(op, x, name=f"inner_{op}")], name=op))
    unit = only_unit(
        builder.model(builder.op("If", cond, name="if", shape=(2,), then_branch=bodies[0], else_branch=bodies[1]))
    )
    relu, erf = OpRule("Relu", F32, F32), OpRule("Erf", F32, F32)
    assert "no control flow" in refusal_reason(unit, table(relu, erf))
    assert refusal_reason(unit, table(relu, erf, control_flow=True)) is None
    reason = refusal_reason(unit, table(relu, control_flow=True))
    assert "its body holds 'if/Erf/inner_Erf', refused because no rule for Erf" in reason
