"""Weights as the matrix kernels read them: panels of four channels, blocks of sixteen codes. See `runtime/gemm.c`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.plan.program import Memory
from deepseek_backend_arm.selection import Product, Way, choose
from deepseek_core import Role, Unit
from deepseek_core.lowering import constant_of

__all__ = [
    "BLOCK",
    "PANEL",
    "Matrix",
    "matrix",
    "pack",
    "pack_codes",
    "pack_nibbles",
    "pack_real",
    "padded",
    "rows_of",
    "tight",
]

PANEL, SLAB, BLOCK, LANES, COLUMNS = 4, 4, 16, 8, 8


@dataclass(frozen=True, slots=True)
class Matrix:
    """Constants of a matrix product, in the order of its channels.

    Attributes:
        tight: where products of four are summed in int16; see `tight`.
        way: of the kernel that multiplies.
        depth: products behind one sum, up to a whole block.
        wide: whether a weight is -128.
    """

    weights: Memory
    bias: Memory
    scale: Memory
    tight: Memory
    way: Way
    depth: int
    wide: bool


def matrix(
    emitter: Emitter,
    positions: int,
    groups: list[NDArray[np.int8]],
    bias: NDArray[np.int32],
    scale: NDArray[np.float32],
) -> Matrix:
    """Pack weights, for the kernels that are chosen.

    Args:
        positions: rows that they are multiplied by.
        groups: [channels, depth] of each group of channels.
        bias: [all channels], with the input's zero point in it.
        scale: [all channels].
    """
    packed = np.concatenate([pack(group) for group in groups])
    numbers = (bias, scale)
    rows = [np.concatenate([padded(part, PANEL, 0) for part in np.split(n, len(groups))]) for n in numbers]
    flags = np.concatenate([tight(group) for group in groups])
    settings = emitter.settings
    way = choose(Product.of(positions, groups, flags), settings.kernels, settings.threads)
    return Matrix(
        emitter.constants.add(packed, packed=True, by_dot=way.by_dot),
        emitter.constants.add(rows[0]),
        emitter.constants.add(rows[1]),
        emitter.constants.add(flags) if way.fours and flags.any() else None,
        way,
        -(-groups[0].shape[1] // BLOCK) * BLOCK,
        any(bool((group == -128).any()) for group in groups),
    )


def pack(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """[channels, depth] → slabs of up to four panels, each [blocks, panels, channel, code]; what is missing is 0."""
    blocks = _blocks(rows)
    slabs = (blocks[first : first + SLAB] for first in range(0, len(blocks), SLAB))
    return np.concatenate([slab.transpose(2, 0, 1, 3).reshape(-1) for slab in slabs])


def tight(rows: NDArray[np.int8]) -> NDArray[np.uint8]:
    """[panels, depth / 32]: whether any codes times the weights fit int16 when products of four are summed.

    Those of a lane lie eight codes apart, so that the sum of their magnitudes may be 255: 128 · 255 < 2^15.
    """
    blocks = np.abs(_blocks(rows).astype(np.int32))
    pairs = blocks.shape[2] // 2
    lanes = blocks[:, :, : 2 * pairs].reshape(len(blocks), PANEL, pairs, 2 * BLOCK // LANES, LANES)
    return np.asarray((lanes.sum(3).max((1, 3)) <= 255).astype(np.uint8))


def _blocks(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """[panels, channel, blocks, code]."""
    whole = padded(padded(rows, PANEL, 0), BLOCK, 1)
    blocks: NDArray[np.int8] = whole.reshape(whole.shape[0] // PANEL, PANEL, whole.shape[1] // BLOCK, BLOCK).astype(
        np.int8
    )
    return blocks


def padded(array: NDArray[np.generic], multiple: int, axis: int) -> NDArray[np.generic]:
    """With zeros behind it, up to a multiple of elements."""
    missing = -array.shape[axis] % multiple
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])


def rows_of(unit: Unit) -> list[NDArray[np.int8]]:
    """Weights [channels, depth] of each group of channels, in the order in which NHWC has the codes of a window."""
    (w,) = unit.operands(Role.WEIGHT)
    weights = constant_of(w.value).astype(np.int8)
    if unit.op != "Conv":
        is_turned = bool(unit.node.attributes.get_int("transB", 0))
        return [np.ascontiguousarray(weights if is_turned else weights.T)]
    groups = unit.node.attributes.get_int("group", 1)
    spatial = tuple(range(2, weights.ndim))
    return list(weights.transpose(0, *spatial, 1).reshape(groups, weights.shape[0] // groups, -1))


def pack_real(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """[depth, columns] → [panels, depth, 8]; what is missing is 0."""
    return np.ascontiguousarray(_panels(matrix, COLUMNS), np.float32)


def pack_codes(matrix: NDArray[np.int8]) -> NDArray[np.int8]:
    """The same of codes of 8 bits."""
    return np.ascontiguousarray(_panels(matrix, COLUMNS), np.int8)


def pack_nibbles(matrix: NDArray[np.int8]) -> NDArray[np.uint8]:
    """[panels, depth, 4]: codes of 4 bits in two's complement, that of the even column in the low half of a byte."""
    panels = _panels(matrix, COLUMNS).astype(np.uint8) & 15
    return np.ascontiguousarray(panels[..., ::2] | panels[..., 1::2] << 4)


def _panels(matrix: NDArray[Any], width: int) -> NDArray[Any]:
    whole = padded(matrix, width, 1)
    return whole.reshape(whole.shape[0], whole.shape[1] // width, width).swapaxes(0, 1)
