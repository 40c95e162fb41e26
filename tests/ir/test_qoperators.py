"""QOperators mean DQ → op → Q: against ONNX Runtime, which runs them, within one LSB."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.reference import evaluate

F = np.float32
MS = {"com.microsoft": 1}
U8 = {
    "as": F(0.02),
    "az": np.uint8(120),
    "bs": F(0.03),
    "bz": np.uint8(7),
    "ys": F(0.05),
    "yz": np.uint8(128),
}
IMAGE = {"a": ("uint8", [1, 3, 6, 6]), "b": ("uint8", [1, 3, 6, 6])}
A, B, Y = ["a", "as", "az"], ["b", "bs", "bz"], ["ys", "yz"]

ELEMENTWISE = {
    "QLinearAdd": ([*A, *B, *Y], {}),
    "QLinearMul": ([*A, *B, *Y], {}),
    "QLinearLeakyRelu": ([*A, *Y], {"alpha": 0.3}),
    "QLinearSigmoid": ([*A, *Y], {}),
    "QLinearSoftmax": ([*A, *Y], {"axis": -1, "opset": 13}),
    "QLinearAveragePool": ([*A, *Y], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearGlobalAveragePool": ([*A, *Y], {}),
    "QLinearConcat": ([*Y, *A, *B], {"axis": 1}),
    "QLinearWhere": (["c", *A, *B, *Y], {}),
}


def random(shape, low=0, high=255, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(dtype)


def lsb(one, other):
    return np.abs(one.astype(np.int64) - other.astype(np.int64)).max(initial=0)


def compare(proto, feeds, run_ort, lsbs=1):
    """The canonical form on our reference, and on ONNX Runtime, against the file on ONNX Runtime."""
    model = load_model(proto)
    (theirs,) = run_ort(proto.SerializeToString(), feeds)
    (canonical,) = run_ort(to_bytes(model), feeds)
    ours = evaluate(model, feeds)[model.outputs[0].name]
    assert ours.dtype == canonical.dtype == theirs.dtype
    assert lsb(theirs, canonical) <= lsbs
    assert lsb(theirs, ours) <= lsbs
    return model


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_elementwise_and_pooling(op, build, run_ort, ops):
    inputs, attributes = ELEMENTWISE[op]
    given = {n: IMAGE[n] for n in ("a", "b") if n in inputs} | ({"c": ("bool", [1, 3, 6, 6])} if "c" in inputs else {})
    proto = build([(f"com.microsoft::{op}", inputs, ["y"], attributes)], given, ["y"], U8, domains=MS)
    feeds = {n: random(IMAGE[n][1], seed=i) for i, n in enumerate(given) if n != "c"}
    if "c" in given:
        feeds["c"] = random([1, 3, 6, 6], 0, 1).astype(bool)
    model = compare(proto, feeds, run_ort)
    assert [o for o in ops(model) if "Linear" not in o] == [op.removeprefix("QLinear")]
    assert next(n for n in model.graph if "Linear" not in n.op_type).name.startswith(op), "the op keeps the node's name"


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("weight", ["uint8", "int8"])
def test_convolution(bias, channels, weight, build, run_ort):
    signed = weight == "int8"
    scale = np.linspace(0.01, 0.03, 4, dtype=F) if channels else F(0.02)
    zero = np.zeros(4, weight) if channels else np.array(0 if signed else 100, weight)
    constants = {
        **U8,
        "w": random((4, 3, 3, 3), -127 if signed else 0, 127 if signed else 255, weight, 5),
        "ws": scale,
        "wz": zero,
        "bias": random((4,), -2000, 2000, np.int32, 6),
    }
    inputs = [*A, "w", "ws", "wz", "ys", "yz", *(["bias"] if bias else [])]
    attributes = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    proto = build([("QLinearConv", inputs, ["y"], attributes)], {"a": IMAGE["a"]}, ["y"], constants)
    feeds = {"a": random([1, 3, 6, 6])}
    (unit,) = compare(proto, feeds, run_ort).units()
    assert unit.op == "Conv"
    assert unit.node.attributes.get_ints("strides") == (2, 2)
    if bias:
        product = F(0.02) * np.asarray(scale, F)
        assert np.array_equal(unit.inputs[2].qparams.scale, np.asarray(product, F)), "float32(x · w), as the reference"
        assert unit.inputs[2].value.name == "bias"


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_matrix_product(rows, columns, build, run_ort):
    constants = {
        "as": np.linspace(0.01, 0.02, 4, dtype=F) if rows else F(0.02),
        "az": np.full(4, 120, np.uint8) if rows else np.uint8(120),
        "bs": np.linspace(0.01, 0.03, 5, dtype=F) if columns else F(0.02),
        "bz": np.full(5, 3, np.int8) if columns else np.int8(3),
        "ys": F(0.05),
        "yz": np.uint8(128),
        "b": random((6, 5), -128, 127, np.int8, 3),
    }
    proto = build([("QLinearMatMul", [*A, *B, *Y], ["y"])], {"a": ("uint8", [4, 6])}, ["y"], constants)
    feeds = {"a": random([4, 6])}
    model = load_model(proto)
    (unit,) = model.units()
    assert unit.op == "MatMul"
    assert [o.qparams.scheme.axis for o in unit.inputs] == [0 if rows else None, 1 if columns else None]
    if not rows:
        compare(proto, feeds, run_ort)
        return
    # Neither ONNX Runtime nor ONNX's reference runs a scale per row, so the definition itself is the peer.
    a = (feeds["a"].astype(F) - 120) * constants["as"][:, None]
    b = (constants["b"].astype(F) - 3) * np.asarray(constants["bs"])
    expected = np.clip(np.rint(a @ b / constants["ys"]) + 128, 0, 255)
    assert lsb(evaluate(model, feeds)["y"], expected) <= 1


@pytest.mark.parametrize("opset", [13, 21])
def test_reduce_mean(opset, build):
    attributes = {"axes": [2, 3], "keepdims": 0}
    node = ("com.microsoft::QLinearReduceMean", [*A, *Y], ["y"], attributes)
    model = load_model(build([node], {"a": IMAGE["a"]}, ["y"], U8, opset=opset, domains=MS))
    (unit,) = model.units()
    assert unit.op == "ReduceMean"
    # ONNX Runtime documents the operator and has no kernel for it.
    a = random(IMAGE["a"][1])
    expected = np.clip(np.rint(((a.astype(F) - 120) * F(0.02)).mean((2, 3)) / F(0.05)) + 128, 0, 255)
    assert lsb(evaluate(model, {"a": a})["y"], expected) <= 1


def gemm_constants(transposed, columns):
    return {
        **U8,
        "bs": np.linspace(0.01, 0.03, 5, dtype=F) if columns else F(0.02),
        "bz": np.zeros(5, np.int8) if columns else np.int8(0),
        "b": random((5, 6) if transposed else (6, 5), -128, 127, np.int8, 3),
        "c": random((5,), -3000, 3000, np.int32, 4),
    }


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_gemm(*, alpha, transposed, columns, bias, build, run_ort):
    inputs = [*A, *B, "c" if bias else "", *Y]
    node = ("com.microsoft::QGemm", inputs, ["y"], {"alpha": alpha, "transB": transposed})
    proto = build([node], {"a": ("uint8", [4, 6])}, ["y"], gemm_constants(transposed, columns), domains=MS)
    (unit,) = compare(proto, {"a": random([4, 6])}, run_ort).units()
    assert unit.op == "Gemm"
    weight = unit.inputs[1].qparams
    assert weight.scheme.axis == ((0 if transposed else 1) if columns else None)
    if bias:
        assert np.allclose(unit.inputs[2].qparams.scale, alpha * F(0.02) * weight.scale)


def test_gemm_with_a_real_result(build, run_ort, ops):
    node = ("com.microsoft::QGemm", [*A, *B, "c"], ["y"], {"transB": 1})
    proto = build([node], {"a": ("uint8", [4, 6])}, ["y"], gemm_constants(1, columns=True), domains=MS)
    model = load_model(proto)
    assert ops(model)[-1] == "Gemm"
    feeds = {"a": random([4, 6])}
    (theirs,) = run_ort(proto.SerializeToString(), feeds)
    assert np.allclose(evaluate(model, feeds)["y"], theirs, rtol=1e-5)


def test_a_computed_scale_is_multiplied_in_the_graph(build, run_ort, ops):
    constants = {
        **U8,
        "w": random((4, 3, 1, 1), -127, 127, np.int8),
        "ws": F(0.02),
        "wz": np.int8(0),
        "bias": random((4,), -99, 99, np.int32),
    }
    nodes = [
        ("Abs", ["scale"], ["as2"]),
        ("QLinearConv", ["a", "as2", "az", "w", "ws", "wz", "ys", "yz", "bias"], ["y"]),
    ]
    proto = build(nodes, {"a": IMAGE["a"], "scale": ("float", [])}, ["y"], constants)
    model = load_model(proto)
    assert "Mul" in ops(model)
    feeds = {"a": random([1, 3, 6, 6]), "scale": F(0.02)}
    # ONNX Runtime wants constant scales here; ONNX's reference does not.
    (expected,) = ReferenceEvaluator(proto).run(None, feeds)
    assert lsb(evaluate(model, feeds)["y"], expected) <= 1


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("QLinearAveragePool", {"kernel_shape": [2, 2], "channels_last": 1}),
        ("QLinearGlobalAveragePool", {"channels_last": 1}),
        ("QLinearSoftmax", {"axis": 1, "opset": 11}),
    ],
)
def test_what_dq_op_q_cannot_say_stays(op, attributes, build, ops):
    proto = build([(f"com.microsoft::{op}", [*A, *Y], ["y"], attributes)], {"a": IMAGE["a"]}, ["y"], U8, domains=MS)
    assert ops(load_model(proto)) == [f"com.microsoft::{op}"]


@pytest.mark.parametrize(
    "node",
    [
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
        ("Flatten", {}),
        ("Identity", {}),
        ("DepthToSpace", {"blocksize": 2}),
    ],
)
def test_an_op_that_moves_codes_says_what_they_mean(node, build, run_ort, ops):
    op, attributes = node
    nodes = [
        ("QuantizeLinear", ["x", "as", "az"], ["q"]),
        (op, ["q"], ["m"], attributes),
        ("DequantizeLinear", ["m", "as", "az"], ["y"]),
    ]
    proto = build(nodes, {"x": ("float", [1, 4, 4, 4])}, ["y"], U8)
    model = load_model(proto)
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear", op, "QuantizeLinear", "DequantizeLinear"]
    feeds = {"x": np.random.default_rng(0).normal(0, 3, (1, 4, 4, 4)).astype(F)}
    (theirs,) = run_ort(proto.SerializeToString(), feeds)
    assert np.array_equal(theirs, evaluate(model, feeds)["y"])


@pytest.mark.parametrize("padding", ["", "pad"])
def test_padding_with_a_code_pads_with_its_value(padding, build, run_ort):
    nodes = [
        ("QuantizeLinear", ["x", "as", "az"], ["q"]),
        ("Pad", ["q", "pads", padding], ["m"]),
        ("DequantizeLinear", ["m", "as", "az"], ["y"]),
    ]
    constants = {**U8, "pads": np.array([0, 1, 0, 1]), "pad": np.uint8(200)}
    proto = build(nodes, {"x": ("float", [2, 3])}, ["y"], constants)
    model = load_model(proto)
    pad = next(u for u in model.units() if u.op == "Pad")
    assert pad.inputs[0].qparams.equals(pad.outputs[0].qparams)
    feeds = {"x": np.random.default_rng(0).normal(0, 1, (2, 3)).astype(F)}
    (theirs,) = run_ort(proto.SerializeToString(), feeds)
    assert np.array_equal(theirs, evaluate(model, feeds)["y"])


def test_split_codes_are_all_quantized_again(build, run_ort, ops):
    nodes = [
        ("QuantizeLinear", ["x", "as", "az"], ["q"]),
        ("Split", ["q"], ["m", "n"], {"axis": 1, "num_outputs": 2}),
        ("com.microsoft::QLinearAdd", ["m", "as", "az", "n", "as", "az", "ys", "yz"], ["r"]),
        ("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
    ]
    proto = build(nodes, {"x": ("float", [1, 4])}, ["y"], U8, domains=MS)
    model = load_model(proto)
    assert [u.op for u in model.units()] == ["QuantizeLinear", "Split", "Add", "DequantizeLinear"]
    feeds = {"x": np.array([[1, -1, 2, 0.5]], F)}
    (theirs,) = run_ort(proto.SerializeToString(), feeds)
    assert np.abs(theirs - evaluate(model, feeds)["y"]).max() <= 0.0501


VENDOR = [
    ("com.microsoft", "QuantizeLinear", "DequantizeLinear", "int16"),
    ("com.microsoft", "QuantizeLinear", "DequantizeLinear", "uint16"),
    ("com.microsoft", "QuantizeLinear", "DequantizeLinear", "int4"),
    ("com.amd.quark", "ExtendedQuantizeLinear", "ExtendedDequantizeLinear", "int8"),
    ("com.vai.quantize", "VitisQuantizeLinear", "VitisDequantizeLinear", "uint8"),
]


def zero_of(dtype):
    if "4" in dtype:
        return onnx.helper.make_tensor("z", getattr(onnx.TensorProto, dtype.upper()), [], [0])
    return numpy_helper.from_array(np.array(0, dtype), "z")


@pytest.mark.parametrize(("domain", "quantize", "dequantize", "dtype"), VENDOR)
def test_vendor_pairs_move_to_the_default_domain(*, domain, quantize, dequantize, dtype, build, ops):
    nodes = [
        (f"{domain}::{quantize}", ["x", "s", "z"], ["q"], {"vendor": 1} if domain != "com.microsoft" else {}),
        (f"{domain}::{dequantize}", ["q", "s", "z"], ["y"]),
    ]
    constants = {"s": F(0.1), "z": zero_of(dtype)}
    model = load_model(build(nodes, {"x": ("float", [4])}, ["y"], constants, opset=13, domains={domain: 1}))
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear"]
    assert model.opset == 21
    assert not model.graph[0].attributes
    x = np.array([0.26, -0.8, 1e9, 0.1], F)
    assert np.array_equal(evaluate(model, {"x": x})["y"], model.units()[0].outputs[0].qparams.fake_quantize(x))


@pytest.mark.parametrize(("kind", "dtype"), [("FP8", "float8_e4m3fn"), ("INT4", "int4")])
def test_tensorrt_says_the_type_in_the_name(kind, dtype, build, ops):
    nodes = [
        (f"trt::TRT_{kind}QuantizeLinear", ["x", "s"], ["q"]),
        (f"trt::TRT_{kind}DequantizeLinear", ["q", "s"], ["y"]),
    ]
    model = load_model(build(nodes, {"x": ("float", [4])}, ["y"], {"s": F(0.1)}, domains={"trt": 1}))
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear"]
    assert [unit.node.inputs[2].const_value.dtype.numpy() == dtype for unit in model.units()] == [True, True]
    x = np.array([0.26, -0.8, 1e9, 0.1], F)
    assert np.array_equal(evaluate(model, {"x": x})["y"], model.units()[0].outputs[0].qparams.fake_quantize(x))


def test_a_type_the_default_domain_does_not_have_stays_with_its_vendor(build, ops):
    zero = numpy_helper.from_array(np.int32(0), "z")
    nodes = [("com.amd.quark::ExtendedQuantizeLinear", ["x", "s", "z"], ["y"])]
    model = load_model(
        build(nodes, {"x": ("float", [4])}, ["y"], {"s": F(0.1), "z": zero}, domains={"com.amd.quark": 1})
    )
    assert ops(model) == ["com.amd.quark::ExtendedQuantizeLinear"]


def nbits(bits, block, k, n, *, zeros):
    rng = np.random.default_rng(bits * k)
    blocks = -(-k // block)
    return {
        "w": rng.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8),
        "ws": rng.uniform(0.01, 0.1, n * blocks).astype(F),
        **({"wz": rng.integers(0, 256, n * -(-blocks * bits // 8)).astype(np.uint8)} if zeros else {}),
    }


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("bits", "k"), [(4, 64), (4, 40), (8, 32)])
def test_packed_weights_become_blocks_of_codes(*, bits, k, zeros, build, run_ort, ops):
    constants = nbits(bits, 16, k, 3, zeros=zeros)
    attributes = {"K": k, "N": 3, "bits": bits, "block_size": 16}
    node = ("com.microsoft::MatMulNBits", ["x", *constants], ["y"], attributes)
    proto = build([node], {"x": ("float", [2, k])}, ["y"], constants, domains=MS)
    model = load_model(proto)
    assert ops(model) == ["DequantizeLinear", "MatMul"]
    assert model.graph[1].name == "MatMulNBits"
    (unit,) = model.units()
    weight = unit.inputs[1]
    assert weight.value.const_value.dtype.name == f"UINT{bits}"
    assert (weight.shape, weight.qparams.scheme.axis, weight.qparams.scheme.block_size) == ((k, 3), 0, 16)
    x = np.random.default_rng(1).normal(size=(2, k)).astype(F)
    (theirs,) = run_ort(proto.SerializeToString(), {"x": x})
    assert np.allclose(theirs, evaluate(model, {"x": x})["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [{"K": 10**9}, {"N": 2**62}, {"bits": 3}, {"block_size": -1}, {"K": 0}, {"block_size": 1.5}],
)
def test_packed_weights_that_are_not_there_stay_packed(change, build, ops):
    constants = nbits(4, 16, 64, 3, zeros=True)
    attributes = {"K": 64, "N": 3, "bits": 4, "block_size": 16, **change}
    node = ("com.microsoft::MatMulNBits", ["x", *constants], ["y"], attributes)
    model = load_model(build([node], {"x": ("float", [2, 64])}, ["y"], constants, domains=MS))
    assert ops(model) == ["com.microsoft::MatMulNBits"]


@pytest.mark.parametrize(
    "op", ["QLinearAdd", "QGemm", "QLinearConcat", "QLinearWhere", "QLinearSoftmax", "MatMulNBits"]
)
@pytest.mark.parametrize("inputs", [[], ["a"], ["", "", ""], ["a"] * 12])
def test_an_operator_with_other_inputs_is_not_ours_to_read(op, inputs, build, ops):
    for outputs in (["y"], ["y", "v"]):
        proto = build([(f"com.microsoft::{op}", inputs, outputs)], {"a": IMAGE["a"]}, ["y"], U8, domains=MS)
        assert ops(load_model(proto)) == [f"com.microsoft::{op}"]
