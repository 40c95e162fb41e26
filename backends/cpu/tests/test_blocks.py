"""Weights in blocks of 4 bits: MatMulNBits multiplies them packed."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from deepseek_backend_cpu.lowering import integer_problem


def blocked(b, depth, columns, block, dtype, *, axis=0):
    """A weight [depth, columns] with a scale and zero point for each block and column."""
    generator = np.random.default_rng(0)
    low, high = (-8, 8) if dtype is ml_dtypes.int4 else (0, 16)
    codes = generator.integers(low, high, (depth, columns)).astype(dtype)
    shape = (-(-depth // block), columns) if axis == 0 else (depth, -(-columns // block))
    scale = generator.uniform(0.01, 0.1, shape).astype(np.float32)
    zero = generator.integers(low, high, shape).astype(dtype) if dtype is ml_dtypes.uint4 else np.zeros(shape, dtype)
    parts = (b.constant(codes), b.constant(scale), b.constant(zero))
    return b.op("DequantizeLinear", *parts, axis=axis, block_size=block)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4], ids=["int4", "uint4"])
@pytest.mark.parametrize("sizes", [(64, 32), (16, 16), (100, 32), (256, 128), (48, 16)], ids=str)
@pytest.mark.parametrize("rows", [(1,), (2, 3)], ids=["vector", "batch"])
def test_it_agrees_with_the_reference(cpu, feeds_of, builder, dtype, sizes, rows) -> None:  # noqa: PLR0917
    depth, block = sizes
    x = builder.input("x", (*rows, depth))
    builder.output(builder.op("MatMul", x, blocked(builder, depth, 5, block, dtype), name="unit"), "y")
    model = builder.model()
    report = cpu.compile(model, "int8").report
    assert report["kernels"]["unit"]["kernel"] == "int4"
    assert report["operators"] == {"MatMulNBits": 1}
    feeds = feeds_of(model)
    np.testing.assert_allclose(cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"], rtol=1e-5, atol=1e-5)


def test_it_is_measured_beside_float(cpu, builder) -> None:
    x = builder.input("x", (1, 64))
    builder.output(builder.op("MatMul", x, blocked(builder, 64, 8, 32, ml_dtypes.int4), name="unit"), "y")
    entry = cpu.compile(builder.model()).report["kernels"]["unit"]
    assert entry["kernel"] in ("int4", "float32")
    assert entry["int4_us"] > 0
    assert entry["float32_us"] > 0


def test_the_weight_stays_packed(cpu, builder) -> None:
    x = builder.input("x", (1, 256))
    builder.output(builder.op("MatMul", x, blocked(builder, 256, 64, 64, ml_dtypes.int4), name="unit"), "y")
    constants = onnx.load_from_string(cpu.compile(builder.model(), "int8").payload).graph.initializer
    assert sum(len(c.raw_data) for c in constants) < 256 * 64 // 2 + 4 * (4 + 1) * 64


REFUSED = {
    "block of 8": lambda b: b.op("MatMul", b.input("x", (2, 64)), blocked(b, 64, 4, 8, ml_dtypes.int4), name="unit"),
    "blocks along columns": lambda b: b.op(
        "MatMul", b.input("x", (2, 4)), blocked(b, 4, 64, 32, ml_dtypes.int4, axis=1), name="unit"
    ),
    "an activation": lambda b: b.op(
        "Relu", b.op("MatMul", b.input("x", (2, 64)), blocked(b, 64, 4, 32, ml_dtypes.int4), name="unit")
    ),
    "a Gemm": lambda b: b.op("Gemm", b.input("x", (2, 64)), blocked(b, 64, 4, 32, ml_dtypes.int4), name="unit"),
    "half floats": lambda b: b.op("MatMul", b.input("x", (2, 64), np.float16), _half(b), name="unit"),
}


def _half(b):
    parts = (np.zeros((64, 4), ml_dtypes.int4), np.ones((2, 4), np.float16), np.zeros((2, 4), ml_dtypes.int4))
    return b.op("DequantizeLinear", *map(b.constant, parts), axis=0, block_size=32)


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_take_runs_in_float(cpu, feeds_of, builder, case) -> None:
    builder.output(REFUSED[case](builder), "y")
    model = builder.model()
    unit = next(u for u in model.units() if u.name == "unit")
    assert integer_problem(unit) is not None
    report = cpu.compile(model, "int8").report
    assert "MatMulNBits" not in report["operators"]
    feeds = feeds_of(model)
    np.testing.assert_allclose(cpu.run(model, feeds)["y"], cpu.expected(model, feeds)["y"], rtol=1e-3, atol=1e-5)
