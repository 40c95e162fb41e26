"""The Echo device, simulated: int8 codes, int32 accumulators, ties rounded away from zero.

The IR's definition rounds ties to even (`deepseek_core.ir.qparams`); this difference is declared in
`plugin.deepseek_expectations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_echo.program import Program
from deepseek_core.errors import PackageError

__all__ = ["OPCODES", "execute"]

Codes = NDArray[np.int8]
Settings = Mapping[str, float]


def execute(program: Program, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a program; all state is local, so several threads may run the same one.

    Raises:
        PackageError: the program names an opcode or a tensor that does not exist.
    """
    tensors: dict[str, NDArray[Any]] = {**program.constants, **feeds}
    try:
        with np.errstate(all="ignore"):  # the device has no floating-point traps
            for step in program.instructions:
                tensors[step.output] = OPCODES[step.opcode](*(tensors[name] for name in step.inputs), **step.settings)
        return {info.name: tensors[info.name] for info in program.outputs}
    except KeyError as error:
        raise PackageError(f"the Echo program names {error}, which does not exist", fix="compile it again") from None


def _matmul(
    x: Codes, w: Codes, bias: NDArray[np.int32], multiplier: NDArray[np.float32], *, x_zero: int, zero: int, low: int
) -> Codes:
    """Codes [..., K] times w [K, N] plus bias [N or 1], rescaled by `multiplier` [N or 1] = s_x · s_w / s_y."""
    accumulator = (x.astype(np.int32) - np.int32(x_zero)) @ w.astype(np.int32) + bias
    return _to_codes(accumulator.astype(np.float32) * multiplier, zero, low)


def _add(
    a: Codes, b: Codes, *, a_scale: float, a_zero: int, b_scale: float, b_zero: int, scale: float, zero: int, low: int
) -> Codes:
    real = _to_real(a, a_scale, a_zero) + _to_real(b, b_scale, b_zero)
    return _to_codes(real / np.float32(scale), zero, low)


def _rescale(x: Codes, *, x_scale: float, x_zero: int, scale: float, zero: int, low: int) -> Codes:
    """The same real values in other codes, cut off below code `low` (ReLU: the code of 0)."""
    return _to_codes(_to_real(x, x_scale, x_zero) / np.float32(scale), zero, low)


def _reshape(x: Codes, shape: NDArray[np.int32]) -> Codes:
    return x.reshape(tuple(shape))


def _quantize(x: NDArray[np.float32], scale: NDArray[np.float32], zero: NDArray[np.int32]) -> Codes:
    """Real values to codes; NaN becomes the code of 0."""
    return _to_codes(np.nan_to_num(x / scale, nan=0.0, posinf=np.inf, neginf=-np.inf), zero, -128)


def _dequantize(
    x: NDArray[np.integer[Any]], scale: NDArray[np.float32], zero: NDArray[np.int32]
) -> NDArray[np.float32]:
    return np.asarray((x.astype(np.int32) - zero).astype(np.float32) * scale, np.float32)


OPCODES: dict[str, Callable[..., NDArray[Any]]] = {
    "matmul": _matmul,
    "add": _add,
    "rescale": _rescale,
    "reshape": _reshape,
    "quantize": _quantize,
    "dequantize": _dequantize,
}


def _to_real(codes: Codes, scale: float, zero: int) -> NDArray[np.float32]:
    return _dequantize(codes, np.asarray(scale, np.float32), np.asarray(zero, np.int32))


def _to_codes(ratio: NDArray[np.float32], zero: int | NDArray[np.int32], low: int) -> Codes:
    """Code saturate(round_half_away(ratio) + zero), with [low, 127] as the range."""
    magnitude = np.floor(np.abs(ratio).astype(np.float64) + 0.5)
    return np.asarray(np.clip(np.copysign(magnitude, ratio) + zero, low, 127), np.int8)
