"""The program format: what goes in comes out, and nothing damaged comes in."""

import numpy as np
import pytest

from deepseek_backend_echo.program import Instruction, Program
from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError

PROGRAM = Program(
    inputs=(TensorInfo("x", "int8", (2, 3)),),
    outputs=(TensorInfo("y", "int8", (2, 4)),),
    instructions=(
        Instruction("matmul", ("x", "w", "b", "m"), "y", {"x_zero": 1, "zero": -7, "low": -128}),
        Instruction("rescale", ("y",), "z", {"x_scale": 0.1, "x_zero": 0, "scale": 0.3, "zero": 0, "low": 0}),
    ),
    constants={
        "w": np.arange(12, dtype=np.int8).reshape(3, 4),
        "b": np.array([1 << 30, -5, 0, 7], np.int32),
        "m": np.array([0.1], np.float32),
    },
)


def test_a_program_survives_the_trip() -> None:
    data = PROGRAM.encode()
    copy = Program.decode(data)
    assert (copy.inputs, copy.outputs, copy.instructions) == (PROGRAM.inputs, PROGRAM.outputs, PROGRAM.instructions)
    for name, array in PROGRAM.constants.items():
        np.testing.assert_array_equal(copy.constants[name], array)
        assert copy.constants[name].dtype == array.dtype
    assert copy.encode() == data


def test_every_damaged_byte_is_noticed() -> None:
    data = PROGRAM.encode()
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        with pytest.raises(PackageError):
            Program.decode(bytes(damaged))


def test_every_cut_is_noticed() -> None:
    data = PROGRAM.encode()
    for size in range(len(data)):
        with pytest.raises(PackageError):
            Program.decode(data[:size])


def test_another_format_version_is_refused_by_number() -> None:
    data = bytearray(PROGRAM.encode())
    data[4] = 9
    with pytest.raises(PackageError, match="format 9, this backend reads 1"):
        Program.decode(bytes(data))
