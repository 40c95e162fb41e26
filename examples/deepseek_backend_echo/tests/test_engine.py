"""The simulated device against numbers worked out by hand."""

import numpy as np
import pytest

from deepseek_backend_echo.engine import OPCODES, execute
from deepseek_backend_echo.program import Instruction, Program
from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError


def _codes(*values: int) -> np.ndarray:
    return np.array(values, np.int8)


def test_ties_round_away_from_zero() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)
    codes = OPCODES["quantize"](halves, np.float32(1), np.int32(0))
    assert codes.tolist() == [1, 2, 3, -1, -2, -3]


def test_codes_saturate() -> None:
    wild = np.array([1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)
    assert OPCODES["quantize"](wild, np.float32(1e-3), np.int32(7)).tolist() == [127, -128, 127, -128, 7]


def test_a_product_accumulates_in_int32_and_is_rescaled() -> None:
    x, w = np.full((1, 300), -128, np.int8), np.full((300, 1), 127, np.int8)
    settings = {"x_zero": 127, "zero": -3, "low": -128}
    multiplier = np.array([1e-6], np.float32)
    y = OPCODES["matmul"](x, w, np.array([9_715_600], np.int32), multiplier, **settings)
    assert y.tolist() == [[round((-255 * 127 * 300 + 9_715_600) * 1e-6) - 3]]


def test_relu_cuts_at_the_code_of_zero() -> None:
    same = {"x_scale": 0.5, "x_zero": 10, "scale": 0.5, "zero": 10, "low": 10}
    assert OPCODES["rescale"](_codes(-100, 10, 11), **same).tolist() == [10, 10, 11]


def test_addition_brings_both_sides_to_one_scale() -> None:
    settings = {"a_scale": 0.5, "a_zero": 0, "b_scale": 0.25, "b_zero": 4, "scale": 1.0, "zero": 0, "low": -128}
    assert OPCODES["add"](_codes(4, -4), _codes(8, 4), **settings).tolist() == [3, -2]


def test_quantizing_undoes_dequantizing() -> None:
    codes = np.arange(-128, 128, dtype=np.int8)
    scale, zero = np.float32(0.037), np.int32(-5)
    real = OPCODES["dequantize"](codes, scale, zero)
    np.testing.assert_array_equal(OPCODES["quantize"](real, scale, zero), codes)


@pytest.mark.parametrize("step", [Instruction("warp", (), "y", {}), Instruction("rescale", ("z",), "y", {})])
def test_a_program_that_names_what_does_not_exist_is_refused(step: Instruction) -> None:
    program = Program((), (TensorInfo("y", "int8", (1,)),), (step,), {})
    with pytest.raises(PackageError, match="does not exist"):
        execute(program, {})
