"""Any assignment of kernels gives the same codes.

Scales are powers of two, so sums of 8 · 255 · 128 steps are exact in float32 too: not even a rounding tie can excuse a
difference.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_backend_cpu.host import architecture
from deepseek_backend_cpu.lowering import integer_problem, lower, normalize
from deepseek_backend_cpu.saturation import open_exact
from deepseek_backend_cpu.tuning.measurer import serialize

SHAPE = (3, 8)
OPS = ("Gemm", "MatMul", "Add", "Mul", "Relu", "LeakyRelu", "Transpose", "Concat", "Clip")


def value_of(b, draw, values, dtype):
    """The real value of some tensor drawn so far, with its scale and zero point."""
    codes, scale, zero = values[draw(st.integers(0, len(values) - 1))]
    return b.dq(codes, scale, zero), scale, zero


def weight(b, draw, seed):
    codes = np.random.default_rng(seed).integers(-128, 128, (8, 8)).astype(np.int8)
    axis = draw(st.sampled_from([None, 1]))
    scale = 2.0**-7 if axis is None else 2.0 ** -np.arange(5.0, 13.0)
    return b.weight(codes, scale, axis=axis)


def grow(b, draw, values, dtype, number) -> None:
    """Append a unit on tensors of one shape; every tensor may be read any number of times."""
    op = draw(st.sampled_from(OPS))
    x, scale, zero = value_of(b, draw, values, dtype)
    name = f"{op.lower()}{number}"
    keeps = False
    match op:
        case "Gemm" | "MatMul":
            y = b.op(op, x, weight(b, draw, number), name=name)
        case "Add" | "Mul":  # with an output scale that needs no rounding, which these two do in their own way
            other, other_scale, _ = value_of(b, draw, values, dtype)
            y = b.op(op, x, other, name=name)
            scale, keeps = min(scale, other_scale) if op == "Add" else scale * other_scale, True
        case "LeakyRelu":
            y = b.op(op, x, name=name, alpha=0.25)
        case "Concat":
            half = [b.constant(np.array(v)) for v in ([0], [4], [1])]
            left = b.q(b.op("Slice", x, *half, name=f"{name}.left"), scale, zero, dtype)
            right = b.q(b.op("Slice", value_of(b, draw, values, dtype)[0], *half), 2.0**-4, zero, dtype)
            y = b.op(op, b.dq(left, scale, zero), b.dq(right, 2.0**-4, zero), name=name, axis=1)
        case "Transpose":
            turned = b.q(b.op(op, x, name=name), scale, zero, dtype)
            y, keeps = b.op("Reshape", b.dq(turned, scale, zero), b.constant(np.array(SHAPE))), True
        case _:
            bounds = [b.constant(np.float32(v)) for v in (-1.0, 1.5)] if op == "Clip" else []
            y, keeps = b.op(op, x, *bounds, name=name), draw(st.booleans())
    if not keeps:
        scale = 2.0 ** -draw(st.integers(1, 6))
        zero = draw(st.integers(0, 255) if dtype is np.uint8 else st.integers(-128, 127))
    values.append((b.q(y, scale, zero, dtype), scale, zero))


def run(model, integer, feeds):
    work = model.clone()
    lower(work, integer)
    session = open_exact(serialize(work), threads=1)
    return session.run(None, feeds)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_assignment_gives_the_same_codes(builders, dtype, data) -> None:
    b = builders()
    values = [(b.input(f"x{i}", SHAPE, dtype), 2.0**-5, 3) for i in range(2)]
    for number in range(data.draw(st.integers(1, 6))):
        grow(b, data.draw, values, dtype, number)
    for index, (codes, _, _) in enumerate(values[2:]):
        if index == len(values) - 3 or data.draw(st.booleans()):
            b.output(codes)
    model = b.model()
    generator = np.random.default_rng(0)
    bounds = np.iinfo(dtype)
    feeds = {f"x{i}": generator.integers(bounds.min, bounds.max + 1, SHAPE).astype(dtype) for i in range(2)}
    exact = run(model, set(), feeds)
    normalize(model, x86=architecture() == "x86_64")
    eligible = sorted(u.name for u in model.units() if u.is_quantized and integer_problem(u, normalized=True) is None)
    integer = set(data.draw(st.lists(st.sampled_from(eligible), unique=True))) if eligible else set()
    for chosen in (integer, set(eligible)):
        for found, wanted in zip(run(model, chosen, feeds), exact, strict=True):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted, err_msg=str(sorted(chosen)))
