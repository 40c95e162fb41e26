"""The analytic cost: hand-computed counts, and no shape that breaks it."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.cost import Basis
from deepseek_core.partition import roofline
from deepseek_core.partition.roofline import macs
from deepseek_core.target import Capabilities, Target

CAPS = Capabilities(Target("npu", "x"), (), peak_macs=1e6, bandwidth=1e6, launch=0.5)


def test_conv_macs(builder):
    x = builder.input("x", (1, 8, 10, 10))
    w = builder.constant("w", np.zeros((16, 4, 3, 3), np.float32))
    y = builder.op("Conv", x, w, shape=(1, 16, 8, 8), group=2)
    (unit,) = builder.model(y).units()
    assert macs(unit) == 16 * 8 * 8 * 4 * 3 * 3


def test_conv_transpose_macs(builder):
    x = builder.input("x", (1, 8, 5, 5))
    w = builder.constant("w", np.zeros((8, 3, 2, 2), np.float32))
    (unit,) = builder.model(builder.op("ConvTranspose", x, w, shape=(1, 3, 10, 10), strides=[2, 2])).units()
    assert macs(unit) == 8 * 5 * 5 * 3 * 2 * 2


@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_macs(builder, trans):
    x = builder.input("x", (4, 6))
    w = builder.constant("w", np.zeros((5, 6) if trans else (6, 5), np.float32))
    (unit,) = builder.model(builder.op("Gemm", x, w, shape=(4, 5), transB=trans)).units()
    assert macs(unit) == 4 * 5 * 6


def test_matmul_of_two_inputs(builder):
    a, b = builder.input("a", (2, 3, 4)), builder.input("b", (2, 4, 5))
    (unit,) = builder.model(builder.op("MatMul", a, b, shape=(2, 3, 5))).units()
    assert macs(unit) == 2 * 3 * 5 * 4


def test_memory_bound_unit(builder):
    (unit,) = builder.model(builder.op("Relu", builder.input("x", (1000,)))).units()
    cost = roofline([unit], CAPS)
    assert macs(unit) == 0
    assert cost.bytes == 8000
    assert cost.seconds == pytest.approx(0.5 + 8000 / 1e6)
    assert cost.bases == {Basis.ANALYTIC: cost.seconds}


def test_quantized_unit_moves_codes_and_runs_at_the_full_rate(builder):
    x = builder.input("x", (1, 64), ir.DataType.INT8)
    w = builder.dq(builder.constant("w", np.zeros((64, 64), np.int8)))
    (unit,) = builder.model(builder.q(builder.op("MatMul", builder.dq(x), w, shape=(1, 64)))).units()
    cost = roofline([unit], CAPS)
    assert cost.bytes == 64 + 64 * 64 + 64
    assert cost.seconds == pytest.approx(0.5 + max(64 * 64 / 1e6, cost.bytes / 1e6))


def test_four_bit_weights_take_half_a_byte(builder):
    w = builder.constant("w", np.zeros((3, 3), ir.DataType.INT4.numpy()))
    (unit,) = builder.model(
        builder.op("MatMul", builder.input("x", (1, 3)), builder.dq(w, 0.1, 0), shape=(1, 3))
    ).units()
    assert roofline([unit], CAPS).bytes == 3 * 4 + 5 + 3 * 4


def test_float_is_slower_than_int8(builder):
    x = builder.input("x", (64, 64))
    w = builder.constant("w", np.zeros((64, 64), np.float32))
    (unit,) = builder.model(builder.op("MatMul", x, w)).units()
    assert roofline([unit], CAPS).seconds == pytest.approx(0.5 + 4 * 64**3 / 1e6)


def test_unknown_dimensions_count_as_one(builder):
    (unit,) = builder.model(builder.op("Relu", builder.input("x", ("N", 10)))).units()
    assert roofline([unit], CAPS).bytes == 80


def test_absurd_shapes_do_not_overflow(builder):
    huge = (2**40,) * 30
    x, w = builder.input("x", huge), builder.input("w", huge)
    (unit,) = builder.model(builder.op("MatMul", x, w)).units()
    cost = roofline([unit] * 50, CAPS)
    assert math.isfinite(cost.seconds)
    assert cost.bytes <= 2**62


def test_bodies_count(builder, new_builder):
    cond, x = builder.input("c", (), ir.DataType.BOOL), builder.input("x", (100,))
    bodies = []
    for name in ("then", "else"):
        body = new_builder()
        bodies.append(body.graph([body.op("Relu", x, name=name)], name=name))
    y = builder.op("If", cond, shape=(100,), then_branch=bodies[0], else_branch=bodies[1])
    (unit,) = builder.model(y).units()
    assert roofline([unit], CAPS).bytes == 1 + 400 + 2 * 800


def test_empty_part_costs_its_launch():
    assert roofline([], CAPS).seconds == 0.5
