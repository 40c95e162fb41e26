"""Cycles of the matrix kernels by their compiled inner loops.

For each kernel a program of one product was run under QEMU, the executions of its blocks were counted, and llvm-mca
simulated each block on a core with that instruction set (`benchmarks/arm_kernels.py` does it again). Cycles grow
linearly with the depth: what a tile costs for each sixteen codes of depth, and what it costs once, with its share of
everything around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from deepseek_backend_arm.selection.product import Product

__all__ = ["KERNELS", "estimated"]

_CHUNK = 30
"""Rows that are multiplied at once (`DS_ROWS`)."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A tile of a kernel.

    Attributes:
        rows, channels: of the tile.
        cycles: for sixteen codes of depth, and besides.
        instructions: likewise.
        clock: cycles in a second.
    """

    rows: int
    channels: int
    cycles: tuple[float, float]
    instructions: tuple[float, float]
    clock: float


_A72, _N1, _N2 = 1.5e9, 2.6e9, 3.0e9
KERNELS = {
    "pairs": Kernel(6, 4, (48.2, 113.1), (82.0, 189.8), _A72),
    "fours": Kernel(4, 4, (32.2, 97.9), (54.2, 147.7), _A72),
    "sdot-5x16": Kernel(5, 16, (40.2, 165.1), (96.0, 267.9), _N1),
    "sdot-8x8": Kernel(8, 8, (34.2, 139.8), (79.0, 256.1), _N1),
    "smmla": Kernel(8, 8, (20.1, 143.4), (60.0, 281.2), _N2),
    "sdot": Kernel(5, 16, (40.2, 161.1), (96.0, 267.6), _N2),
}
"""llvm-mca 22: pairs and fours on Cortex-A72, sdot on Neoverse N1, the two of i8mm on Neoverse N2."""
_LOOSE = 1.1
"""Pairs in between fours cost more than alone: a branch for each block."""


def estimated(product: Product, name: str) -> tuple[float, float]:
    """Seconds of a product on one core, and its instructions."""
    kernel = KERNELS[name]
    tiles = _row_tiles(product.positions, kernel.rows) * ceil(product.channels / kernel.channels) * product.groups
    blocks = tiles * ceil(product.depth / 16)
    cycles, instructions = (
        blocks * _mixed(product, name, row) + tiles * besides
        for row, besides in enumerate((kernel.cycles[1], kernel.instructions[1]))
    )
    return cycles / kernel.clock, instructions


def _mixed(product: Product, name: str, row: int) -> float:
    """Cycles or instructions of a block; where sums of four do not fit, smull sums pairs."""
    kernel, pairs = KERNELS[name], KERNELS["pairs"]
    own, other = ((k.cycles, k.instructions)[row][0] for k in (kernel, pairs))
    if name != "fours":
        return own
    loose = other * kernel.rows * kernel.channels / (pairs.rows * pairs.channels) * _LOOSE
    return product.tight * own + (1 - product.tight) * loose


def _row_tiles(positions: int, rows: int) -> int:
    """Tiles of rows in all chunks."""
    whole, left = divmod(positions, _CHUNK)
    return whole * ceil(_CHUNK / rows) + ceil(left / rows)
