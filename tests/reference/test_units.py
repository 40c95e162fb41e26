"""What decides about integer numerics: the edges DQ → op → Q, and nothing around them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from deepseek_core.ir.frontend import load_model
from deepseek_core.reference import evaluate

# float32(float32(s_x · s_w) / s_y) is 1.5, so an odd accumulator gives a tie. Scaling the accumulator first and
# dividing by s_y afterwards misses some of those ties.
X_SCALE, W_SCALE = np.float32(0.0171), np.float32(0.0137)
Y_SCALE = np.float32(X_SCALE * W_SCALE) / np.float32(1.5)
CONSTANTS = {
    "xs": X_SCALE,
    "ws": W_SCALE,
    "ys": Y_SCALE,
    "w": np.eye(9, dtype=np.int8),
    "z": np.int8(0),
}
CODES = np.arange(-81, 81, 2, dtype=np.int8).reshape(9, 9)
TIES = np.rint(CODES * 1.5)
"""Codes of ties, rounded to even."""


def unit(*between, source="x", result="y"):
    """DQ → MatMul → nodes between → Q; each entry is an op or a node from `real` on."""
    nodes = [
        helper.make_node("DequantizeLinear", [source, "xs", "z"], ["x_real"], "dq_x"),
        helper.make_node("DequantizeLinear", ["w", "ws", "z"], ["w_real"], "dq_w"),
        helper.make_node("MatMul", ["x_real", "w_real"], ["real"], "matmul"),
        *between,
    ]
    last = between[-1].output[0] if between else "real"
    return [*nodes, helper.make_node("QuantizeLinear", [last, "ys", "z"], [result], "q_y")]


def test_ties_of_the_accumulator_go_to_even(run):
    assert (run(unit(), {"x": CODES}, ["y"], CONSTANTS)["y"] == TIES).all()


def test_float_arithmetic_would_differ(run):
    """Otherwise the tests here would show nothing."""
    nodes = unit(helper.make_node("Identity", ["real"], ["same"]))
    assert (run(nodes, {"x": CODES}, ["y"], CONSTANTS)["y"] != TIES).any()


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        ([helper.make_node("Relu", ["real"], ["a"])], 0, 127),
        ([helper.make_node("Clip", ["real", "low", "high"], ["a"])], -10, 20),
        ([helper.make_node("Clip", ["real", "", "high"], ["a"])], -128, 20),
        ([helper.make_node("Clip", ["real", "low"], ["a"])], -10, 127),
        ([helper.make_node("Clip", ["real", "high", "low"], ["a"])], -10, -10),
        ([helper.make_node("Relu", ["real"], ["r"]), helper.make_node("Clip", ["r", "low", "high"], ["a"])], 0, 20),
        ([helper.make_node("Clip", ["real", "low", "high"], ["r"]), helper.make_node("Relu", ["r"], ["a"])], 0, 20),
    ],
)
def test_bounds_cut_codes_off(run, activation, low, high):
    constants = CONSTANTS | {"low": Y_SCALE * np.float32(-10), "high": Y_SCALE * np.float32(20)}
    y = run(unit(*activation), {"x": CODES}, ["y"], constants)["y"]
    assert (y == np.clip(TIES, low, high)).all()


@pytest.mark.parametrize("other", ["output", "tap", "reader", "second_q"])
def test_who_else_reads_the_result_does_not_matter(run, other):
    nodes, outputs, taps = unit(), ["y"], []
    if other == "output":
        outputs = ["real", "y"]
    elif other == "tap":
        taps = ["real", "x_real", "w_real"]
    elif other == "reader":
        nodes.append(helper.make_node("Neg", ["real"], ["n"]))
        outputs = ["n", "y"]
    else:
        nodes.append(helper.make_node("QuantizeLinear", ["real", "ys", "z"], ["y2"]))
        outputs = ["y2", "y"]
    result = run(nodes, {"x": CODES}, outputs, CONSTANTS, taps)
    assert (result["y"] == TIES).all()
    if other == "second_q":
        assert (result["y2"] == TIES).all()
    if "real" in result:
        assert (result["real"] == CODES.astype(np.float32) * (X_SCALE * W_SCALE)).all()


def test_a_shared_dq_counts_as_each_readers_own(run):
    nodes = unit()
    nodes.append(helper.make_node("Neg", ["x_real"], ["n"]))
    nodes.append(helper.make_node("Neg", ["w_real"], ["m"]))
    assert (run(nodes, {"x": CODES}, ["n", "m", "y"], CONSTANTS)["y"] == TIES).all()


@pytest.mark.parametrize("captured", [False, True])
def test_bodies_have_the_same_numerics(run, captured):
    """Inside an If, with the DQs inside it too or captured from outside."""
    dequantize, rest = unit()[:2], unit()[2:]
    body = rest if captured else [*dequantize, *rest]
    result = [helper.make_tensor_value_info("y", 3, (9, 9))]
    then = helper.make_graph(body, "then", [], result)
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y_else"])],
        "else",
        [],
        [helper.make_tensor_value_info("y_else", 3, (9, 9))],
    )
    nodes = [
        *(dequantize if captured else []),
        helper.make_node("If", ["c"], ["out"], then_branch=then, else_branch=other),
    ]
    assert (run(nodes, {"x": CODES, "c": np.array(True)}, ["out"], CONSTANTS)["out"] == TIES).all()
    assert (run(nodes, {"x": CODES, "c": np.array(False)}, ["out"], CONSTANTS)["out"] == CODES).all()


def test_loading_changes_no_value(run, build):
    """Canonical form rewrites DQs and Qs; results stay what they were, bit for bit."""
    nodes = unit(helper.make_node("Relu", ["real"], ["a"]))
    nodes += [
        helper.make_node("Neg", ["x_real"], ["n"]),
        helper.make_node("QuantizeLinear", ["a", "ys", "z"], ["y2"]),
        helper.make_node("DequantizeLinear", ["y2", "ys", "z"], ["real2"]),
    ]
    outputs = ["y", "n", "real2", "real"]
    before = run(nodes, {"x": CODES}, outputs, CONSTANTS)
    after = evaluate(load_model(build(nodes, {"x": CODES}, outputs, CONSTANTS)), {"x": CODES})
    for name in outputs:
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
def test_real_numbers_have_the_type_of_the_scale(run, dtype):
    import ml_dtypes

    dtype = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    constants = {name: v.astype(dtype) if v.dtype == np.float32 else v for name, v in CONSTANTS.items()}
    result = run(unit(), {"x": CODES}, ["y", "real"], constants, ["x_real"])
    assert result["real"].dtype == result["x_real"].dtype == dtype
    scale = constants["xs"].astype(np.float32) * constants["ws"].astype(np.float32)
    multiplier = np.float32(scale / constants["ys"].astype(np.float32))
    assert (result["y"] == np.rint(CODES * multiplier)).all()


def test_float8_multiplies_in_float(run):
    import ml_dtypes

    codes = np.array([[1.5, -2, 448]], ml_dtypes.float8_e4m3fn)
    nodes = unit()
    constants = CONSTANTS | {"w": np.eye(3, dtype=ml_dtypes.float8_e4m3fn), "z": np.zeros((), codes.dtype)}
    constants |= {"xs": np.float32(2), "ws": np.float32(0.5), "ys": np.float32(1)}
    y = run(nodes, {"x": codes}, ["y"], constants)["y"]
    assert y.dtype == codes.dtype
    assert y.astype(float).tolist() == [[1.5, -2, 448]]


def test_scales_may_be_computed_at_run_time(run):
    nodes = [helper.make_node("Mul", ["two", "half"], ["xs"]), *unit()]
    constants = {k: v for k, v in CONSTANTS.items() if k != "xs"} | {"half": X_SCALE / np.float32(2)}
    assert (run(nodes, {"x": CODES, "two": np.array(2, np.float32)}, ["y"], constants)["y"] == TIES).all()
