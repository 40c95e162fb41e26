"""com.microsoft operators mean DQ → operator → Q, before and after the import rewrites them as such."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from deepseek_core.ir.frontend import load_model
from deepseek_core.reference import evaluate

SCALE, ZERO, Y_SCALE, Y_ZERO = np.float32(0.03), np.uint8(9), np.float32(0.021), np.uint8(77)
CONSTANTS = {"s": SCALE, "z": ZERO, "s2": np.float32(0.05), "z2": np.uint8(200), "ys": Y_SCALE, "yz": Y_ZERO}
UNARY, BINARY = ["x", "s", "z", "ys", "yz"], ["x", "s", "z", "x2", "s2", "z2", "ys", "yz"]

CASES = {
    "QLinearAdd": (BINARY, {}),
    "QLinearMul": (BINARY, {}),
    "QLinearSigmoid": (UNARY, {}),
    "QLinearLeakyRelu": (UNARY, {"alpha": 0.3}),
    "QLinearAveragePool": (UNARY, {"kernel_shape": [2, 2], "strides": [2, 1], "pads": [0, 1, 0, 0]}),
    "QLinearGlobalAveragePool": (UNARY, {}),
    "QLinearReduceMean": (UNARY, {"axes": [1, 3], "keepdims": 0}),
    "QLinearSoftmax": (UNARY, {"axis": -1, "opset": 13}),
    "QLinearConcat": (["ys", "yz", "x", "s", "z", "x2", "s2", "z2"], {"axis": 1}),
    "QLinearWhere": (["c", *BINARY], {}),
}
FLOAT = {"QLinearReduceMean": {"keepdims": 0}, "QLinearSoftmax": {"axis": -1}}


def feeds(op):
    rng = np.random.default_rng(0)
    shape = (2, 3, 4, 5)
    found = {"x": rng.integers(0, 256, shape).astype(np.uint8), "x2": rng.integers(0, 256, shape).astype(np.uint8)}
    return {name: array for name, array in found.items() if name in CASES[op][0]} | (
        {"c": rng.random(shape) < 0.5} if op == "QLinearWhere" else {}
    )


def contrib_node(op, **changes):
    inputs, attributes = CASES[op]
    return helper.make_node(op, inputs, ["y"], "node", domain="com.microsoft", **{**attributes, **changes})


def spelled_out(op):
    """DQ → the float operator → Q, as a user would write it in opset 13."""
    inputs, attributes = CASES[op]
    nodes, reals = [], []
    for name, scale, zero in (("x", "s", "z"), ("x2", "s2", "z2")):
        if name in inputs:
            nodes.append(helper.make_node("DequantizeLinear", [name, scale, zero], [f"{name}_real"]))
            reals.append(f"{name}_real")
    if op == "QLinearWhere":
        reals = ["c", *reals]
    node = helper.make_node(op.removeprefix("QLinear"), reals, ["real"], **{**attributes, **FLOAT.get(op, {})})
    if op == "QLinearSoftmax":
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", -1))
    return [*nodes, node, helper.make_node("QuantizeLinear", ["real", "ys", "yz"], ["y"])]


@pytest.mark.parametrize("op", CASES)
def test_a_contrib_operator_is_its_spelling(run, op):
    mine = run([contrib_node(op)], feeds(op), ["y"], CONSTANTS, opset=13)["y"]
    np.testing.assert_array_equal(mine, run(spelled_out(op), feeds(op), ["y"], CONSTANTS, opset=13)["y"])


@pytest.mark.parametrize("op", CASES)
def test_loading_changes_no_code(run, build, op):
    before = run([contrib_node(op)], feeds(op), ["y"], CONSTANTS)["y"]
    model = build([contrib_node(op)], feeds(op), [], CONSTANTS)
    model.graph.output.append(helper.make_tensor_value_info("y", 2, before.shape))
    np.testing.assert_array_equal(before, evaluate(load_model(model), feeds(op))["y"])


@pytest.mark.parametrize("op", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_channels_last_is_a_transpose(run, op):
    given = feeds(op)
    plain = run([contrib_node(op)], given, ["y"], CONSTANTS)["y"]
    moved = {"x": np.moveaxis(given["x"], 1, -1)}
    last = run([contrib_node(op, channels_last=1)], moved, ["y"], CONSTANTS)["y"]
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), plain)


def test_a_channels_last_convolution_is_a_transpose(run):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (1, 3, 6, 5)).astype(np.uint8)
    constants = CONSTANTS | {"w": rng.integers(-9, 9, (4, 3, 3, 3)).astype(np.int8), "wz": np.int8(0)}
    inputs = ["x", "s", "z", "w", "s2", "wz", "ys", "yz"]
    plain = run([helper.make_node("QLinearConv", inputs, ["y"])], {"x": x}, ["y"], constants)["y"]
    node = helper.make_node("QLinearConv", inputs, ["y"], domain="com.microsoft", channels_last=1)
    last = run([node], {"x": np.moveaxis(x, 1, -1)}, ["y"], constants)["y"]
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), plain)
    same = helper.make_node("QLinearConv", inputs, ["y"], domain="com.microsoft")
    np.testing.assert_array_equal(run([same], {"x": x}, ["y"], constants)["y"], plain)


def test_an_old_softmax_runs_over_everything_from_its_axis_on(run):
    """Before opset 13; as a QOperator and as a float operator."""
    given = feeds("QLinearSoftmax")
    real = (given["x"].astype(np.float64) - 9) * float(SCALE)
    flat = np.exp(real.reshape(6, 20))
    expected = (flat / flat.sum(1, keepdims=True)).reshape(real.shape)
    node = contrib_node("QLinearSoftmax", axis=2, opset=11)
    codes = run([node], given, ["y"], CONSTANTS)["y"]
    assert np.abs(codes - np.clip(np.rint(expected / Y_SCALE) + 77, 0, 255)).max() <= 1
    soft = helper.make_node("Softmax", ["x"], ["y"], axis=2)
    found = run([soft], {"x": real.astype(np.float32)}, ["y"], opset=11)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_zero_points_may_be_left_out(run):
    node = helper.make_node("QLinearSigmoid", ["x", "s", "", "ys"], ["y"], domain="com.microsoft")
    x = np.array([[0, 50, 100]], np.int8)
    y = run([node], {"x": x}, ["y"], {"s": SCALE, "ys": np.float32(1 / 100)})["y"]
    assert y.dtype == np.int8
    assert y.tolist() == [[50, 82, 95]]


@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
def test_contrib_conversions_are_the_standards(run, op):
    x = np.arange(6, dtype=np.uint8 if op == "DequantizeLinear" else np.float32).reshape(2, 3)
    scale, zero = np.array([0.5, 2], np.float32), np.array([1, 2], np.uint8)
    results = [
        run(
            [helper.make_node(op, ["x", "s", "z"], ["y"], domain=domain, axis=0)],
            {"x": x},
            ["y"],
            {"s": scale, "z": zero},
        )
        for domain in ("", "com.microsoft")
    ]
    np.testing.assert_array_equal(results[0]["y"], results[1]["y"])
