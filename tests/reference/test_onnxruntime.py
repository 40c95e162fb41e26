"""Agreement with ONNX Runtime: bit for bit where the formulas coincide, within one code elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

U8, S8 = np.uint8, np.int8


def runtime(model: onnx.ModelProto, feeds, *, fused=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    if not any(array.dtype == S8 for array in feeds.values()):
        # Without VNNI, u8 × s8 kernels add pairs in 16 bits and saturate; this asks for exact ones. With int8 inputs
        # the same option makes graphs that ONNX Runtime has no kernels for.
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def codes(rng, dtype, shape):
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


CONVS = {
    "plain": ((1, 8, 9, 9), (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
    "strided": ((2, 8, 9, 11), (16, 8, 3, 3), {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "dilated": ((1, 8, 9, 9), (16, 8, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    "grouped": ((1, 8, 9, 9), (16, 4, 3, 3), {"group": 2}),
    "depthwise": ((1, 8, 9, 9), (8, 1, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
    "pointwise": ((1, 32, 7, 7), (16, 32, 1, 1), {}),
    "one_dimensional": ((1, 8, 20), (16, 8, 5), {"pads": [2, 2]}),
}


@pytest.mark.parametrize("geometry", CONVS)
@pytest.mark.parametrize(("x_type", "w_type"), [(U8, S8), (U8, U8), (S8, S8)], ids=["u8s8", "u8u8", "s8s8"])
def test_qlinear_conv_is_the_same(run, build, geometry, x_type, w_type):
    """With a scale for each channel, an int32 bias and zero points off 0."""
    rng = np.random.default_rng(3)
    x_shape, w_shape, attributes = CONVS[geometry]
    channels = w_shape[0]
    per_channel = w_type is S8
    constants = {
        "xs": np.float32(0.02),
        "xz": x_type(7),
        "w": codes(rng, w_type, w_shape),
        "ws": rng.uniform(0.001, 0.01, channels).astype(np.float32) if per_channel else np.float32(0.004),
        "wz": np.zeros(channels, w_type) if per_channel else w_type(101),
        "ys": np.float32(0.09),
        "yz": x_type(11),
        "b": rng.integers(-9999, 9999, channels).astype(np.int32),
    }
    node = helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], **attributes)
    feeds = {"x": codes(rng, x_type, x_shape)}
    mine = run([node], feeds, ["y"], constants)["y"]
    np.testing.assert_array_equal(mine, runtime(typed(build([node], feeds, ["y"], constants)), feeds)["y"])


def qdq_conv(rng, x_type, activation):
    constants = {
        "xs": np.float32(0.02),
        "xz": x_type(7),
        "w": codes(rng, S8, (12, 6, 3, 3)),
        "ws": rng.uniform(0.001, 0.01, 12).astype(np.float32),
        "wz": np.zeros(12, S8),
        "ys": np.float32(0.05),
        "yz": x_type(0 if x_type is U8 else -128),
        "b": rng.integers(-9999, 9999, 12).astype(np.int32),
    }
    constants["bs"] = constants["xs"] * constants["ws"]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["x_real"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w_real"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["b_real"], axis=0),
        helper.make_node("Conv", ["x_real", "w_real", "b_real"], ["real"], pads=[1, 1, 1, 1]),
    ]
    if activation:
        nodes.append(helper.make_node(activation, ["real"], ["active"]))
    last = nodes[-1].output[0]
    return [*nodes, helper.make_node("QuantizeLinear", [last, "ys", "yz"], ["y"])], constants


@pytest.mark.parametrize("x_type", [U8, S8], ids=["u8s8", "s8s8"])
@pytest.mark.parametrize("activation", [None, "Relu"])
def test_a_qdq_conv_is_the_fused_kernel(run, build, x_type, activation):
    rng = np.random.default_rng(4)
    nodes, constants = qdq_conv(rng, x_type, activation)
    feeds = {"x": codes(rng, x_type, (2, 6, 10, 10))}
    mine = run(nodes, feeds, ["y"], constants)["y"]
    np.testing.assert_array_equal(mine, runtime(typed(build(nodes, feeds, ["y"], constants)), feeds)["y"])


def test_a_qdq_conv_is_within_one_code_of_float_arithmetic(run, build):
    rng = np.random.default_rng(5)
    nodes, constants = qdq_conv(rng, U8, "Relu")
    feeds = {"x": codes(rng, U8, (2, 6, 10, 10))}
    mine = run(nodes, feeds, ["y"], constants)["y"].astype(int)
    theirs = runtime(typed(build(nodes, feeds, ["y"], constants)), feeds, fused=False)["y"].astype(int)
    assert np.abs(mine - theirs).max() <= 1
    assert np.mean(mine != theirs) < 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([(U8, S8), (U8, U8), (S8, S8)]), st.booleans())
def test_qlinear_matmul_is_the_same(run, build, seed, types, by_column):
    rng = np.random.default_rng(seed)
    m, k, n = rng.integers(1, 40, 3)
    by_column = by_column and types[1] is S8
    constants = {
        "as": np.float32(0.03),
        "az": codes(rng, types[0], ()),
        "b": codes(rng, types[1], (k, n)),
        "bs": rng.uniform(0.001, 0.02, n).astype(np.float32) if by_column else np.float32(0.01),
        "bz": np.zeros(n, S8) if by_column else codes(rng, types[1], ()),
        "ys": np.float32(0.11),
        "yz": codes(rng, types[0], ()),
    }
    node = helper.make_node("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"])
    feeds = {"a": codes(rng, types[0], (m, k))}
    mine = run([node], feeds, ["y"], constants)["y"]
    np.testing.assert_array_equal(mine, runtime(typed(build([node], feeds, ["y"], constants)), feeds)["y"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50),
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]),
    st.floats(2**-8, 2**6, width=32),
)
def test_quantize_linear_is_the_same(run, build, values, dtype, scale):
    x = np.array(values, np.float32)
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    constants = {"s": np.float32(scale), "z": dtype(5)}
    mine = run([node], {"x": x}, ["y"], constants)["y"]
    np.testing.assert_array_equal(mine, runtime(typed(build([node], {"x": x}, ["y"], constants)), {"x": x})["y"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1e-3, 1e4]))
def test_dynamic_quantize_linear_is_the_same(run, build, seed, size):
    x = (np.random.default_rng(seed).normal(0.3, 1, 40) * size).astype(np.float32)
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    mine = run([node], {"x": x}, ["y", "s", "z"])
    theirs = runtime(typed(build([node], {"x": x}, ["y", "s", "z"])), {"x": x})
    for name, array in theirs.items():
        np.testing.assert_array_equal(mine[name], array)


CONTRIB = {
    "QLinearAdd": (2, {}),
    "QLinearMul": (2, {}),
    "QLinearSigmoid": (1, {}),
    "QLinearLeakyRelu": (1, {"alpha": 0.2}),
    "QLinearGlobalAveragePool": (1, {"channels_last": 0}),
    "QLinearAveragePool": (1, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1}),
    "QLinearSoftmax": (1, {"axis": 1, "opset": 13}),
}


@pytest.mark.parametrize("op", CONTRIB)
@pytest.mark.parametrize("dtype", [U8, S8], ids=["u8", "s8"])
def test_contrib_operators_are_within_one_code(run, build, op, dtype):
    operands, attributes = CONTRIB[op]
    rng = np.random.default_rng(6)
    names = [f"x{i}" for i in range(operands)]
    inputs = [part for name in names for part in (name, f"{name}_s", f"{name}_z")]
    constants = {f"{name}_s": np.float32(0.03 + 0.01 * i) for i, name in enumerate(names)}
    constants |= {f"{name}_z": dtype(9) for name in names}
    probability = op in ("QLinearSigmoid", "QLinearSoftmax")
    constants |= {"ys": np.float32(1 / 256 if probability else 0.05), "yz": dtype(0 if dtype is U8 else -128)}
    node = helper.make_node(op, [*inputs, "ys", "yz"], ["y"], domain="com.microsoft", **attributes)
    feeds = {name: codes(rng, dtype, (2, 5, 7, 6)) for name in names}
    mine = run([node], feeds, ["y"], constants)["y"]
    model = build([node], feeds, [], constants)
    model.graph.output.append(
        helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), mine.shape)
    )
    theirs = runtime(model, feeds)["y"]
    assert np.abs(mine.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("with_output", [True, False])
def test_qgemm_is_the_same(run, build, with_output):
    rng = np.random.default_rng(8)
    constants = {
        "as": np.float32(0.02),
        "az": U8(120),
        "b": codes(rng, S8, (7, 20)),
        "bz": np.zeros(7, S8),
        "bs": rng.uniform(0.001, 0.01, 7).astype(np.float32),
        "c": rng.integers(-5000, 5000, 7).astype(np.int32),
        **({"ys": np.float32(0.06), "yz": U8(100)} if with_output else {}),
    }
    inputs = ["a", "as", "az", "b", "bs", "bz", "c", *(["ys", "yz"] if with_output else [])]
    node = helper.make_node("QGemm", inputs, ["y"], domain="com.microsoft", transB=1)
    feeds = {"a": codes(rng, U8, (5, 20))}
    mine = run([node], feeds, ["y"], constants)["y"]
    model = build([node], feeds, [], constants)
    model.graph.output.append(
        helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(mine.dtype), mine.shape)
    )
    np.testing.assert_array_equal(mine, runtime(model, feeds)["y"])


@pytest.mark.parametrize("op", ["MatMulIntegerToFloat", "DynamicQuantizeMatMul"])
def test_integer_products_with_float_results(run, build, op):
    rng = np.random.default_rng(9)
    b = codes(rng, S8, (20, 7))
    constants = {"b": b, "bs": np.float32(0.01), "bz": S8(0), "bias": rng.normal(0, 1, 7).astype(np.float32)}
    if op == "MatMulIntegerToFloat":
        feeds = {"a": codes(rng, U8, (5, 20))}
        constants |= {"as": np.float32(0.02), "az": U8(120)}
        inputs = ["a", "b", "as", "bs", "az", "bz", "bias"]
    else:
        feeds = {"a": rng.normal(0, 1, (5, 20)).astype(np.float32)}
        inputs = ["a", "b", "bs", "bz", "bias"]
    node = helper.make_node(op, inputs, ["y"], domain="com.microsoft")
    mine = run([node], feeds, ["y"], constants)["y"]
    model = build([node], feeds, [], constants)
    model.graph.output.append(helper.make_tensor_value_info("y", 1, mine.shape))
    np.testing.assert_allclose(mine, runtime(model, feeds)["y"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "ceil_mode": 1}),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [0, 1, 1, 0]}),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "count_include_pad": 1}),
        ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 3], "auto_pad": "SAME_UPPER"}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
        ("ConvTranspose", {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 2], "group": 3}),
        ("ConvTranspose", {"strides": [2, 2], "dilations": [2, 1], "auto_pad": "SAME_UPPER"}),
    ],
)  # fmt: skip
def test_float_windows_are_the_same(run, build, op, attributes):
    rng = np.random.default_rng(10)
    feeds = {"x": rng.normal(0, 1, (2, 3, 9, 8)).astype(np.float32)}
    weight = {"w": rng.normal(0, 1, (3, 2, 3, 3)).astype(np.float32)} if op == "ConvTranspose" else {}
    node = helper.make_node(op, ["x", *weight], ["y"], **attributes)
    mine = run([node], feeds, ["y"], weight)["y"]
    theirs = runtime(typed(build([node], feeds, ["y"], weight)), feeds)["y"]
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
