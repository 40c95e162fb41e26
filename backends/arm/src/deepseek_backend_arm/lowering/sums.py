"""Sums of products: the kernel of a convolution or matrix product, by what it sums and what it makes of the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.lowering.weights import matrix, pack_real, padded
from deepseek_backend_arm.lowering.windows import is_point, spatial, unfold, window_values
from deepseek_backend_arm.plan.abi import Value
from deepseek_backend_arm.plan.program import Memory
from deepseek_backend_arm.settings import FAST
from deepseek_core.lowering import Axis, channels_last

__all__ = ["NO_ADDEND", "ROWS", "CodeSums", "Codes", "RealSums", "Sums", "convolve", "gemm_scratch", "real_scratch"]

ROWS = 30
"""Positions that are gathered before they are multiplied (`DS_ROWS`)."""
_MOST_TAPS = 256
_REAL, _HALF, _HALF_SUMS = 0, 1, 4
"""How weights are kept; `ds_kept` in the runtime."""
NO_ADDEND: dict[str, Value] = {
    **dict.fromkeys(("addend_zero", "sum_zero"), 0),
    "sum_low": -128,
    "sum_high": 127,
    **dict.fromkeys(("own_scale", "addend_scale", "sum_scale"), 1.0),
}


@dataclass(frozen=True, slots=True)
class Codes:
    """What a result's codes mean: its zero point, and between which codes it is clamped."""

    zero: int
    low: int
    high: int


@dataclass(frozen=True, slots=True, eq=False)
class CodeSums:
    """Sums of int8 codes.

    Attributes:
        weights: [M, C / groups, kernel…].
        bias: [M], in units of the sums; the input's zero point is not in it.
        scale: [M]: of the sums over that of the result's codes, or of the sums where the result is real numbers.
        x_zero: the input's zero point.
        codes: of the result; None for real numbers.
        shift: [M] real numbers that are added, where the result is real.
        low, high: bounds of a real result.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    scale: NDArray[np.float32]
    x_zero: int
    codes: Codes | None
    shift: NDArray[np.float32] | None = None
    low: float = -inf
    high: float = inf

    @property
    def fill(self) -> int:
        """Byte of padding."""
        return self.x_zero

    def of(self, weights: NDArray[Any]) -> CodeSums:
        """The same with other weights."""
        return replace(self, weights=weights)


@dataclass(frozen=True, slots=True, eq=False)
class RealSums:
    """Sums of real numbers; as `CodeSums`.

    Attributes:
        is_half: whether the weights are float16 in the model, and so in the image.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    low: float = -inf
    high: float = inf
    is_half: bool = False
    fill: int = 0

    def of(self, weights: NDArray[Any]) -> RealSums:
        """The same with other weights."""
        return replace(self, weights=weights)


Sums = CodeSums | RealSums


def convolve(emitter: Emitter, x: Tensor, axes: Sequence[Axis], groups: int, sums: Sums) -> Tensor:
    """[N, C, spatial…] → [N, M, positions…], channels last."""
    n, rank = x.shape[0], len(x.shape)
    if rank == 5:
        images = unfold(emitter, x, axes[0], groups, sums.fill)
        made = convolve(emitter, images, axes[1:], groups, sums.of(_unfolded(sums.weights)))
        return Tensor(made.dtype, (n, sums.weights.shape[0], *spatial(axes)), channels_last(5), made.memory)
    source = emitter.ordered(x, channels_last(rank))
    real = isinstance(sums, RealSums) or sums.codes is None
    shape = (n, sums.weights.shape[0], *spatial(axes))
    result = emitter.new("float32" if real else "int8", shape, channels_last(rank))
    values: dict[str, Value] = {**window_values(axes), "n": n, "c": x.shape[1]}
    point = {"groups": groups, "pointwise": int(is_point(axes))}
    taps = prod(axis.kernel for axis in axes)
    by_channel = groups == x.shape[1] == sums.weights.shape[0] and taps <= _MOST_TAPS
    if isinstance(sums, RealSums):
        if by_channel:
            _real_depthwise(emitter, source, sums, values, result)
        else:
            _real_matrix(emitter, source, groups, sums, values={**values, **point}, result=result)
    elif by_channel and not real:
        _depthwise(emitter, source, sums, axes, values=values, result=result)
    else:
        _matrix(emitter, source, groups, sums, values={**values, **point}, result=result)
    return result


def _unfolded(weights: NDArray[Any]) -> NDArray[Any]:
    """[M, C, D, H, W] → [M, D · C, H, W]."""
    m, c, d, h, w = weights.shape
    return np.ascontiguousarray(weights.transpose(0, 2, 1, 3, 4).reshape(m, d * c, h, w))


def rows_by_group(weights: NDArray[Any], groups: int) -> list[NDArray[Any]]:
    """[channels, depth] of each group, in the order in which NHWC has a window."""
    inner = tuple(range(2, weights.ndim))
    return list(weights.transpose(0, *inner, 1).reshape(groups, weights.shape[0] // groups, -1))


def corrected(sums: CodeSums) -> NDArray[np.int32]:
    """The bias less the zero point times each channel's weights, modulo 2^32."""
    columns = sums.weights.reshape(sums.weights.shape[0], -1).sum(1, dtype=np.int64)
    return np.asarray((sums.bias - columns * sums.x_zero).astype(np.int32))


def gemm_scratch(depth: int) -> int:
    """Bytes in which one thread gathers rows of codes."""
    return (ROWS + 8) * 8 + ROWS * depth + 64


def depthwise_scratch(channels: int, axes: Sequence[Axis]) -> int:
    """Bytes of a row of codes of 0, and of quads of data and weights as `runtime/depthwise_dotprod.c` lays them."""
    width = axes[-1]
    taps = axes[0].kernel if len(axes) > 1 else 1
    columns = (max(width.positions, 4) - 1) * width.stride + (width.kernel - 1) * width.dilation + 1
    return width.size * channels + 64 + -(-taps // 4) * 64 * (columns + width.kernel)


def real_scratch(depth: int) -> int:
    """Bytes in which one thread gathers rows of real numbers, and unpacks eight columns or rounds rows to float16."""
    return (ROWS + 2) * 8 + ROWS * depth * 4 + max(8 * 4, ROWS * 2) * depth + 64


def _depthwise(
    emitter: Emitter, x: Tensor, sums: CodeSums, axes: Sequence[Axis], *, values: dict[str, Value], result: Tensor
) -> None:
    assert sums.codes is not None
    taps = np.ascontiguousarray(sums.weights.reshape(len(sums.weights), -1).T)
    places: dict[str, Tensor | Memory] = {"x": x, "y": result, "bias": emitter.constants.add(corrected(sums))}
    places |= {"scale": emitter.constants.add(sums.scale), "weights": emitter.constants.add(taps)}
    numbers = {"x_zero": sums.x_zero, "zero": sums.codes.zero, "low": sums.codes.low, "high": sums.codes.high}
    numbers["wide"] = int((sums.weights == -128).any())
    emitter.emit("depthwise", places, {**values, **numbers}, scratch=depthwise_scratch(x.shape[1], axes))


def _matrix(
    emitter: Emitter, x: Tensor, groups: int, sums: CodeSums, *, values: dict[str, Value], result: Tensor
) -> None:
    packed = matrix(
        emitter,
        prod((result.shape[0], *result.shape[2:])),
        rows_by_group(sums.weights, groups),
        corrected(sums),
        sums.scale,
    )
    codes = sums.codes or Codes(0, -128, 127)
    shift = None
    if sums.shift is not None:
        parts = [padded(part, 4, 0) for part in np.split(sums.shift, groups)]
        shift = emitter.constants.add(np.concatenate(parts).astype(np.float32))
    places: dict[str, Tensor | Memory] = {"x": x, "y": result, "weights": packed.weights, "bias": packed.bias}
    places |= {"scale": packed.scale, "tight": packed.tight, "addend": None, "shift": shift}
    numbers: dict[str, Value] = {"oc": result.shape[1], "depth": packed.depth, "wide": int(packed.wide), **NO_ADDEND}
    numbers |= {"x_zero": sums.x_zero, "zero": codes.zero, "low": codes.low, "high": codes.high}
    numbers |= {"way": packed.way.word, "real": int(sums.codes is None), "real_low": sums.low, "real_high": sums.high}
    emitter.emit("conv", places, {**values, **numbers}, scratch=gemm_scratch(packed.depth))


def _real_depthwise(emitter: Emitter, x: Tensor, sums: RealSums, values: dict[str, Value], result: Tensor) -> None:
    taps = np.ascontiguousarray(sums.weights.reshape(len(sums.weights), -1).T)
    places: dict[str, Tensor | Memory] = {"x": x, "y": result, "weights": emitter.constants.add(taps)}
    places["bias"] = None if sums.bias is None else emitter.constants.add(sums.bias)
    emitter.emit("rdepthwise", places, {**values, "low": sums.low, "high": sums.high})


def _real_matrix(
    emitter: Emitter, x: Tensor, groups: int, sums: RealSums, *, values: dict[str, Value], result: Tensor
) -> None:
    rows = rows_by_group(sums.weights, groups)
    packed = np.concatenate([pack_real(np.ascontiguousarray(part.T)).reshape(-1) for part in rows])
    kept = packed.astype(np.float16) if sums.is_half else packed
    places: dict[str, Tensor | Memory] = {"x": x, "y": result, "weights": emitter.constants.add(kept)}
    places["bias"] = None if sums.bias is None else emitter.constants.add(sums.bias)
    depth = rows[0].shape[1]
    numbers: dict[str, Value] = {
        "oc": result.shape[1],
        "depth": depth,
        "kept": (_HALF_SUMS if emitter.settings.half == FAST else _HALF) if sums.is_half else _REAL,
        "low": sums.low,
        "high": sums.high,
    }
    emitter.emit("rconv", places, {**values, **numbers}, scratch=real_scratch(depth))
