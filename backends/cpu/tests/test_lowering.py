"""Every integer kernel gives the reference's codes, and is really the kernel that runs."""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from deepseek_backend_cpu.lowering import INTEGER_KERNELS, integer_problem, lower, normalize
from deepseek_core.errors import ModelError

IMAGE = (1, 4, 6, 6)
SMALL = (2, 3)


def codes_weight(shape, seed=1, dtype=np.int8):
    bounds = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(bounds.min, bounds.max + 1, shape).astype(dtype)


def conv(b, dtype, **attributes):
    x = b.codes("x", IMAGE, dtype=dtype)
    w = b.weight(codes_weight((5, 4, 3, 3)), np.linspace(0.001, 0.01, 5), axis=0)
    bias = b.weight(np.arange(5, dtype=np.int32) * 100, np.float32(0.02) * np.linspace(0.001, 0.01, 5), axis=0)
    return b.op("Conv", x, w, bias, name="unit", **attributes)


def gemm(b, dtype, columns=5, **attributes):
    x = b.codes("x", SMALL, dtype=dtype)
    w = b.weight(codes_weight((columns, 3)), np.linspace(0.001, 0.01, columns), axis=0)
    return b.op("Gemm", x, w, name="unit", transB=1, **attributes)


def matmul(b, dtype):
    x = b.codes("x", (2, 5, 3), dtype=dtype)
    return b.op("MatMul", x, b.weight(codes_weight((3, 4)), np.linspace(0.001, 0.01, 4), axis=1), name="unit")


def of(kind, shape=IMAGE, count=1, aux=(), **attributes):
    def build(b, dtype=np.uint8):
        data = [b.codes(f"x{i}", shape, dtype=dtype) for i in range(count)]
        return b.op(kind, *data, *map(b.constant, aux), name="unit", **attributes)

    return build


def where(b, dtype):
    condition = b.input("c", IMAGE, np.bool_)
    return b.op("Where", condition, b.codes("x", IMAGE, dtype=dtype), b.codes("z", IMAGE, dtype=dtype), name="unit")


INDEX = np.array([1, 0], np.int64)
COMPUTING = {
    "Conv": (conv, "QLinearConv"),
    "Gemm": (gemm, "QGemm"),
    "MatMul": (matmul, "QLinearMatMul"),
    "Add": (of("Add", count=2), "QLinearAdd"),
    "Mul": (of("Mul", count=2), "QLinearMul"),
    "AveragePool": (of("AveragePool", kernel_shape=[2, 2]), "QLinearAveragePool"),
    "GlobalAveragePool": (of("GlobalAveragePool"), "QLinearGlobalAveragePool"),
    "ReduceMean": (of("ReduceMean", aux=(np.array([-1, 2]),)), "QLinearGlobalAveragePool"),
    "Sigmoid": (of("Sigmoid"), "QLinearSigmoid"),
    "LeakyRelu": (of("LeakyRelu", alpha=0.3), "QLinearLeakyRelu"),
    "Softmax": (of("Softmax", axis=1), "QLinearSoftmax"),
    "Concat": (of("Concat", count=3, axis=1), "QLinearConcat"),
    "Where": (where, "QLinearWhere"),
}
MOVING = {
    "Clip": of("Clip", aux=(np.float32(-0.1), np.float32(1.5))),
    "DepthToSpace": of("DepthToSpace", blocksize=2),
    "Expand": of("Expand", (1, 4, 1, 1), aux=(np.array([2, 1, 3, 3]),)),
    "Flatten": of("Flatten"),
    "Gather": of("Gather", aux=(INDEX,), axis=1),
    "GatherElements": of("GatherElements", SMALL, aux=(np.array([[0, 1, 1]]),)),
    "GatherND": of("GatherND", SMALL, aux=(np.array([[0, 1], [1, 2]]),)),
    "Identity": of("Identity"),
    "MaxPool": of("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 0, 1]),
    "Pad": of("Pad", aux=(np.array([0, 0, 1, 2, 0, 0, 0, 1]),)),
    "Relu": of("Relu"),
    "Reshape": of("Reshape", aux=(np.array([4, -1]),)),
    "Resize": of("Resize", aux=(np.zeros(0, np.float32), np.array([1, 1, 2, 1.5], np.float32)), mode="nearest"),
    "ReverseSequence": of("ReverseSequence", SMALL, aux=(np.array([2, 1, 2]),)),
    "Slice": of("Slice", aux=(np.array([1]), np.array([3]), np.array([2]))),
    "SpaceToDepth": of("SpaceToDepth", blocksize=2),
    "Split": None,
    "Squeeze": of("Squeeze", (1, 4, 2), aux=(np.array([0]),)),
    "Tile": of("Tile", SMALL, aux=(np.array([2, 1]),)),
    "Transpose": of("Transpose", perm=[0, 3, 1, 2]),
    "Unsqueeze": of("Unsqueeze", aux=(np.array([0]),)),
}


def test_every_kernel_is_tested() -> None:
    assert {*COMPUTING, *MOVING} == set(INTEGER_KERNELS)


def quantized(b, value, dtype, *, like_input=False):
    scale, zero = (0.02, 3) if like_input else (0.031, 7)
    b.output(b.q(value, scale, zero, dtype), "y")
    return b.model()


def check(cpu, feeds_of, model, *, lsb=0, kernel="int8"):
    """The unit has an integer kernel, and codes within `lsb` of the reference's."""
    (unit,) = [u for u in model.units() if u.name == "unit"]
    assert integer_problem(unit) is None
    for seed in range(3):
        feeds = feeds_of(model, seed)
        found, expected = cpu.run(model, feeds, kernel), cpu.expected(model, feeds)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            assert np.abs(found[name].astype(np.int64) - array.astype(np.int64)).max() <= lsb


def operators(cpu, model, **options) -> Counter[str]:
    return Counter(cpu.compile(model, "int8", **options).report["operators"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op", COMPUTING)
def test_computing_units(cpu, feeds_of, builder, op, dtype) -> None:
    build, wanted = COMPUTING[op]
    model = quantized(builder, build(builder, dtype), dtype)
    check(cpu, feeds_of, model, lsb=cpu.backend.expectations(cpu.target).tolerance(op).lsb if op in ROUNDS else 0)
    found = operators(cpu, model)
    assert found[wanted] == 1
    if dtype is np.uint8:
        assert set(found) <= {wanted, "Transpose"}


ROUNDS = {"Add", "Mul", "AveragePool", "Softmax"}
"""Ops that may differ from the reference by what the backend declares; the others are exact."""


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_exact_kernels_round_as_the_reference(cpu, feeds_of, builder, op) -> None:
    """Real results lie half way between two codes, but for what rounding to float32 on the way does to them."""
    scale = np.float32(0.0123)
    data = [builder.codes(f"x{i}", (64, 64), scale) for i in range(2)]
    builder.output(builder.q(builder.op(op, *data, name="unit"), 2 * (scale if op == "Add" else scale * scale), 3), "y")
    model = builder.model()
    feeds = feeds_of(model)
    expected, exact, integer = (
        cpu.expected(model, feeds)["y"],
        *(cpu.run(model, feeds, kernels)["y"] for kernels in ("exact", "int8")),
    )
    assert np.array_equal(exact, expected)
    assert not np.array_equal(integer, expected)
    assert f"QLinear{op}" not in cpu.compile(model, "exact").report["operators"]


def test_exact_kernels_are_integer_elsewhere(cpu, builder) -> None:
    model = quantized(builder, conv(builder, np.uint8), np.uint8)
    assert cpu.compile(model, "exact").report["operators"]["QLinearConv"] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op", [op for op, build in MOVING.items() if build])
def test_moving_units_touch_no_code(cpu, feeds_of, builder, op, dtype) -> None:
    model = quantized(builder, MOVING[op](builder, dtype), dtype, like_input=True)
    check(cpu, feeds_of, model)
    assert "DequantizeLinear" not in operators(cpu, model)


def test_each_part_of_a_split_is_an_output(cpu, feeds_of, builder) -> None:
    parts = builder.op("Split", builder.codes("x", (2, 6)), name="unit", outputs=3, axis=1, num_outputs=3)
    for index, part in enumerate(parts):
        builder.output(builder.q(part, 0.02, 3), f"y{index}")
    model = builder.model()
    check(cpu, feeds_of, model)
    assert set(operators(cpu, model)) == {"Split"}


def test_indices_of_a_max_pool_survive(cpu, feeds_of, builder) -> None:
    values, indices = builder.op("MaxPool", builder.codes("x", IMAGE), name="unit", outputs=2, kernel_shape=[2, 2])
    builder.output(builder.q(values, 0.02, 3), "y")
    indices.name = "indices"
    builder.output(indices)
    model = builder.model()
    feeds = feeds_of(model)
    found = cpu.run(model, feeds)
    # ONNX Runtime counts the place of equal maxima in its own way; every index must point at the maximum.
    assert (feeds["x"].reshape(-1)[found["indices"].reshape(-1)] == found["y"].reshape(-1)).all()


@pytest.mark.parametrize("op", [op for op, build in MOVING.items() if build])
def test_another_scale_behind_a_move_needs_float(cpu, builder, op) -> None:
    model = quantized(builder, MOVING[op](builder, np.uint8), np.uint8)
    (unit,) = model.units()
    assert "another scale" in integer_problem(unit)


@pytest.mark.parametrize("bounds", [(None, 1.0), (-0.05, None), (0.0, 0.5), (0.4, 0.1), (-1e9, 1e9)])
def test_a_clip_behind_a_sum_is_exact(cpu, feeds_of, builder, bounds) -> None:
    limits = [None if b is None else builder.constant(np.float32(b)) for b in bounds]
    model = quantized(builder, builder.op("Clip", conv(builder, np.uint8), *limits), np.uint8)
    check(cpu, feeds_of, model)


def test_a_clip_that_saturation_does_already_costs_nothing(cpu, builder) -> None:
    builder.output(builder.q(builder.op("Relu", conv(builder, np.uint8)), 0.03, 0), "y")
    assert "Clip" not in operators(cpu, builder.model())


def test_a_relu_with_codes_below_zero_is_exact(cpu, feeds_of, builder) -> None:
    model = quantized(builder, builder.op("Relu", conv(builder, np.int8)), np.int8)
    check(cpu, feeds_of, model)
    assert operators(cpu, model)["Clip"] == 1


@pytest.mark.parametrize(
    "weight",
    [
        (codes_weight((5, 4, 3, 3), dtype=np.uint8), 128, True),
        (codes_weight((5, 4, 3, 3), dtype=np.uint8), 100, False),
        (codes_weight((5, 4, 3, 3)), 5, False),
        (codes_weight((5, 4, 3, 3)).clip(-8, 7).astype(ml_dtypes.int4), 0, True),
        (codes_weight((5, 4, 3, 3)).clip(0, 15).astype(ml_dtypes.uint4), 7, False),
    ],
    ids=["uint8 128", "uint8 100", "int8 asymmetric", "int4", "uint4"],
)
def test_weights_of_every_type(cpu, feeds_of, builder, weight) -> None:
    codes, zero, per_channel = weight
    scale = np.linspace(0.001, 0.01, 5) if per_channel else 0.004
    w = builder.weight(codes, scale, zero, axis=0 if per_channel else None)
    model = quantized(builder, builder.op("Conv", builder.codes("x", IMAGE), w, name="unit"), np.uint8)
    check(cpu, feeds_of, model)


@pytest.mark.parametrize("form", ["none", "float", "scalar scale", "own scale"])
def test_biases_of_every_form(cpu, feeds_of, builder, form) -> None:
    x, w = builder.codes("x", SMALL), builder.weight(codes_weight((3, 5)), 0.004)
    values = np.linspace(-0.3, 0.3, 5).astype(np.float32)
    codes = np.array([-7, 0, 3, 250, 99], np.int32)
    unit = np.float32(0.02) * np.float32(0.004)
    biases = {
        "none": [],
        "float": [values],
        "scalar scale": [(codes, unit)],
        "own scale": [(codes, np.float32(0.001))],
    }[form]
    made = [builder.constant(b) if isinstance(b, np.ndarray) else builder.weight(*b) for b in biases]
    model = quantized(builder, builder.op("Gemm", x, w, *made, name="unit"), np.uint8)
    check(cpu, feeds_of, model, lsb=0 if form in ("none", "scalar scale") else 1)


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 5), (1, 1), ()])
def test_biases_of_every_shape(cpu, feeds_of, builder, shape) -> None:
    x, w = builder.codes("x", SMALL), builder.weight(codes_weight((3, 5)), 0.004)
    codes = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape) * 1000
    bias = builder.weight(codes, np.float32(0.02) * np.float32(0.004))
    check(cpu, feeds_of, quantized(builder, builder.op("Gemm", x, w, bias, name="unit"), np.uint8))


@pytest.mark.parametrize("build", [gemm, matmul], ids=["Gemm", "MatMul"])
def test_a_float_output_is_the_accumulator_in_real_units(cpu, feeds_of, builder, build) -> None:
    builder.output(build(builder, np.uint8), "y")
    model = builder.model()
    (unit,) = model.units()
    assert integer_problem(unit) is None
    feeds = feeds_of(model)
    np.testing.assert_allclose(cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("product_first", [True, False])
def test_a_product_adds_the_bias_behind_it(cpu, feeds_of, builder, product_first) -> None:
    operands = [matmul(builder, np.uint8), builder.constant(np.linspace(-1, 1, 4, dtype=np.float32))]
    builder.output(builder.op("Add", *(operands if product_first else operands[::-1]), name="sum"), "y")
    model = builder.model()
    assert set(operators(cpu, model)) == {"MatMulIntegerToFloat"}
    feeds = feeds_of(model)
    np.testing.assert_allclose(cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"], rtol=1e-6, atol=1e-6)


def test_a_sum_that_is_no_bias_stays(cpu, feeds_of, builders) -> None:
    def other_reader(b, product):
        b.output(product, "product")
        return b.constant(np.ones(4, np.float32))

    others = {
        "read elsewhere": other_reader,
        "another shape": lambda b, _: b.constant(np.ones((5, 1), np.float32)),
        "computed": lambda b, _: b.input("z", (4,)),
        "itself": lambda _, product: product,
    }
    for name, other in others.items():
        b = builders()
        product = matmul(b, np.uint8)
        b.output(b.op("Add", product, other(b, product), name="sum"), "y")
        model = b.model()
        assert operators(cpu, model)["Add"] == 1, name
        feeds = feeds_of(model)
        np.testing.assert_allclose(cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"], rtol=1e-6, atol=1e-6)


def test_two_computed_factors(cpu, feeds_of, builder) -> None:
    a, b = builder.codes("a", (2, 4, 3)), builder.codes("b", (2, 3, 4), 0.01, 9)
    model = quantized(builder, builder.op("MatMul", a, b, name="unit"), np.uint8)
    check(cpu, feeds_of, model)
    assert set(operators(cpu, model)) == {"QLinearMatMul"}


def test_a_mean_that_drops_its_axes(cpu, feeds_of, builder) -> None:
    mean = of("ReduceMean", aux=(np.array([2, 3]),), keepdims=0)(builder, np.uint8)
    model = quantized(builder, mean, np.uint8)
    check(cpu, feeds_of, model)
    assert set(operators(cpu, model)) == {"QLinearGlobalAveragePool", "Squeeze"}


def test_a_constant_summand(cpu, feeds_of, builder) -> None:
    for dtype in (np.uint8, np.int8):
        b = type(builder)()
        x = b.codes("x", IMAGE, dtype=dtype)
        constant = b.weight(codes_weight((4, 1, 1), dtype=dtype), 0.05, 2)
        check(cpu, feeds_of, quantized(b, b.op("Add", x, constant, name="unit"), dtype), lsb=1)


REFUSED = {
    "zero points differ": (
        lambda b: b.op(
            "Conv", b.codes("x", IMAGE), b.weight(codes_weight((2, 4, 1, 1)), [0.1, 0.2], [0, 1], axis=0), name="unit"
        ),
        "different zero point",
    ),
    "another axis": (
        lambda b: b.op(
            "Conv", b.codes("x", IMAGE), b.weight(codes_weight((5, 4, 1, 1)), [0.1] * 4, axis=1), name="unit"
        ),
        "along axis 1",
    ),
    "float weight": (
        lambda b: b.op("Conv", b.codes("x", IMAGE), b.constant(np.ones((5, 4, 1, 1), np.float32)), name="unit"),
        "not a quantized constant",
    ),
    "alpha": (lambda b: gemm(b, np.uint8, alpha=0.5), "alpha or beta"),
    "no kernel": (lambda b: b.op("Tanh", b.codes("x", IMAGE), name="unit"), "no integer kernel for Tanh"),
    "16 bits": (lambda b: b.op("Sigmoid", b.codes("x", IMAGE, dtype=np.uint16), name="unit"), "not all 8-bit"),
    "ceil mode": (
        lambda b: b.op("AveragePool", b.codes("x", IMAGE), name="unit", kernel_shape=[2, 2], ceil_mode=1),
        "ceil_mode",
    ),
    "mean over channels": (of("ReduceMean", aux=(np.array([1, 2]),)), "no mean over the height"),
    "mean over everything": (of("ReduceMean"), "no mean over the height"),
    "another function": (
        lambda b: b.op("Sigmoid", gemm(b, np.uint8)),
        "no integer kernel computes Sigmoid",
    ),
    "bias by row": (
        lambda b: b.op(
            "Gemm",
            b.codes("x", SMALL),
            b.weight(codes_weight((3, 5)), 0.1),
            b.constant(np.ones((2, 5), np.float32)),
            name="unit",
        ),
        "from row to row",
    ),
    "bias too large": (
        lambda b: b.op(
            "Gemm",
            b.codes("x", SMALL),
            b.weight(codes_weight((3, 5)), 1e-6),
            b.constant(np.full(5, 1e3, np.float32)),
            name="unit",
        ),
        "does not fit int32",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_integer_kernel_takes_runs_in_float(cpu, feeds_of, builder, case) -> None:
    build, reason = REFUSED[case]
    model = quantized(builder, build(builder), np.uint8)
    (unit,) = [u for u in model.units() if u.name == "unit"]
    assert reason in integer_problem(unit)
    report = cpu.compile(model, "int8").report["kernels"]["unit"]
    assert report["kernel"] == "float32"
    assert reason in report["reason"]
    feeds = feeds_of(model)
    found, expected = cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_a_result_before_a_transpose_is_left_alone(cpu, feeds_of, builder) -> None:
    """ONNX Runtime would round it to the codes behind the Transpose."""
    x, codes = builder.input("x", (1, 2, 3, 2)), builder.codes("codes", (1, 2, 3, 2))
    between = builder.op("Reshape", x, builder.constant(np.array([1, 12])), name="between")
    builder.output(between, "real")
    builder.output(builder.op("Concat", x, codes, axis=3, name="beside"), "both")
    builder.output(builder.q(builder.op("Transpose", between, perm=[0, 1], name="unit")), "moved")
    model = builder.model()
    feeds = feeds_of(model)
    found, expected = cpu.run(model, feeds), cpu.expected(model, feeds)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_float_value_that_leaks_keeps_the_unit_in_float(cpu, builder) -> None:
    real = gemm(builder, np.uint8)
    builder.output(builder.q(real), "y")
    builder.output(real, "real")
    (unit,) = builder.model().units()
    assert "read as well" in integer_problem(unit)


def test_readers_further_down_see_the_new_values(cpu, feeds_of, builder) -> None:
    """A chain with a fork, lowered from its end to its start."""
    first = builder.q(gemm(builder, np.uint8), name="first")
    left = builder.q(builder.op("Sigmoid", builder.dq(first, 0.03), name="left"))
    right = builder.q(builder.op("LeakyRelu", builder.dq(first, 0.03), name="right"))
    total = builder.op("Add", builder.dq(left, 0.03), builder.dq(right, 0.03), name="sum")
    builder.output(builder.q(total), "y")
    builder.output(first)
    model = builder.model()
    assert set(operators(cpu, model)) == {"QGemm", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearAdd"}
    feeds = feeds_of(model)
    found, expected = cpu.run(model, feeds), cpu.expected(model, feeds)
    assert list(found) == ["y", "first"]
    assert (found["first"] == expected["first"]).all()
    assert np.abs(found["y"].astype(int) - expected["y"].astype(int)).max() <= 1


def test_units_in_bodies_are_lowered(cpu, feeds_of, builders) -> None:
    outer, branch = builders(), builders()
    x = outer.input("x", SMALL, np.uint8)
    condition = outer.input("c", (), np.bool_)
    product = branch.op("Gemm", branch.dq(x, 0.02, 3), branch.weight(codes_weight((3, 3)), 0.004), name="inner")
    inner = branch.q(product, name="inner.y")
    same = builders()
    passed = same.op("Identity", x, name="same")
    bodies = [
        ir.Graph([], [value], nodes=b.nodes, initializers=b.constants, opset_imports={"": 21}, name=name)
        for b, value, name in ((branch, inner, "then"), (same, passed, "else"))
    ]
    outer.output(outer.op("If", condition, name="if", then_branch=bodies[0], else_branch=bodies[1]), "y")
    outer.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
    model = outer.model()
    report = cpu.compile(model, "int8").report
    assert report["kernels"]["if/then/inner"]["kernel"] == "int8"
    assert report["operators"]["QGemm"] == 1
    for taken in (True, False):
        feeds = {**feeds_of(model), "c": np.array(taken)}
        assert (cpu.run(model, feeds)["y"] == cpu.expected(model, feeds)["y"]).all()


def test_the_model_that_was_given_stays_as_it_is(cpu, builder) -> None:
    model = quantized(builder, conv(builder, np.int8), np.int8)
    before = model.digest()
    for kernels in ("int8", "float32", None):
        cpu.compile(model, kernels, taps=("unit.out0",))
    assert model.digest() == before


def test_signed_tensors_stay_signed_at_the_border_only(builder) -> None:
    middle = builder.q(builder.op("Sigmoid", builder.codes("x", IMAGE, dtype=np.int8)), 0.01, -5, np.int8, "middle")
    builder.output(builder.q(builder.op("Sigmoid", builder.dq(middle, 0.01, -5)), 0.01, -5, np.int8), "y")
    model = builder.model()
    normalize(model, x86=True)
    types = {v.name: v.dtype for node in model.graph for v in node.outputs if node.op_type == "QuantizeLinear"}
    assert types["middle"] == ir.DataType.UINT8
    assert types["y"] == ir.DataType.INT8
    assert [i.dtype for i in model.inputs] == ["int8"]
    assert sum(dtype == ir.DataType.UINT8 for dtype in types.values()) == 3


def test_codes_that_something_else_reads_keep_their_type(cpu, feeds_of, builder) -> None:
    middle = builder.q(builder.op("Sigmoid", builder.codes("x", SMALL, dtype=np.int8)), 0.01, -5, np.int8)
    builder.output(builder.op("Cast", middle, to=ir.DataType.FLOAT), "codes")
    builder.output(builder.q(builder.op("Sigmoid", builder.dq(middle, 0.01, -5)), 0.01, -5, np.int8), "y")
    model = builder.model()
    feeds = feeds_of(model)
    found, expected = cpu.run(model, feeds), cpu.expected(model, feeds)
    assert all((found[name] == expected[name]).all() for name in expected)


def test_nothing_is_converted_for_other_architectures(builder) -> None:
    model = quantized(builder, conv(builder, np.int8), np.int8)
    before = model.digest()
    normalize(model, x86=False)
    assert model.digest() == before


def test_constants_that_lost_their_readers_are_dropped(builder) -> None:
    model = quantized(builder, conv(builder, np.uint8), np.uint8)
    lower(model, {"unit"})
    assert all(value.uses() for value in model.graph.initializers.values())


class TestTaps:
    """Inner values as further outputs, with the kernels of an untapped model."""

    def chain(self, builder):
        middle = builder.q(gemm(builder, np.uint8), name="middle")
        builder.output(builder.q(builder.op("Sigmoid", builder.dq(middle, 0.03), name="last")), "y")
        return builder.model()

    def test_a_quantized_value_comes_back_as_its_dequantized_codes(self, cpu, feeds_of, builder) -> None:
        model = self.chain(builder)
        feeds = feeds_of(model)
        reader = next(n for n in model.graph if n.name == "last").inputs[0]
        found = cpu.run(model, feeds, taps=("unit.out0", reader.name, "middle"))
        assert list(found) == ["y", "unit.out0", reader.name, "middle"]
        assert (found["middle"] == cpu.expected(model, feeds, taps=("middle",))["middle"]).all()
        real = found["middle"].astype(np.float32) * np.float32(0.03)
        assert (found["unit.out0"] == real).all()
        assert (found[reader.name] == real).all()

    def test_kernels_do_not_change(self, cpu, builder) -> None:
        model = self.chain(builder)
        plain, tapped = operators(cpu, model), operators(cpu, model, taps=("unit.out0",))
        assert tapped == plain + Counter(["DequantizeLinear"])

    def test_float_values_inputs_and_outputs(self, cpu, feeds_of, builder) -> None:
        builder.output(builder.op("Exp", builder.op("Neg", builder.input("x", SMALL), name="neg")), "y")
        model = builder.model()
        feeds = feeds_of(model)
        found = cpu.run(model, feeds, taps=("neg.out0", "x", "y"))
        assert list(found) == ["y", "neg.out0", "x"]
        assert (found["neg.out0"] == -feeds["x"]).all()
        assert (found["x"] == feeds["x"]).all()

    def test_an_unknown_name_is_refused(self, cpu, builder) -> None:
        with pytest.raises(ModelError, match="no value 'nothing' to tap"):
            cpu.compile(self.chain(builder), taps=("nothing",))
