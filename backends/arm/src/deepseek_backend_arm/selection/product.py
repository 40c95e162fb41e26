"""A product of codes with constant weights, as far as it decides which kernel is fastest, and the kernels there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NAMES", "WAYS", "Product", "Way"]

WAYS = {"neon": ("pairs", "fours"), "dotprod": ("sdot-5x16", "sdot-8x8"), "i8mm": ("smmla", "sdot")}
"""Kernels by instruction set: how smull sums, which tile sdot fills, whether smmla or sdot multiplies."""
NAMES = tuple(name for names in WAYS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Product:
    """Sizes of a product.

    Attributes:
        positions: rows of codes; with one group each is multiplied by all channels.
        channels: of one group.
        depth: codes of a row.
        groups: that many products.
        tight: share of the weights' blocks in which sums of four products fit int16; see `lowering.weights.tight`.
    """

    positions: int
    channels: int
    depth: int
    groups: int = 1
    tight: float = 0.0

    @classmethod
    def of(cls, positions: int, rows: Sequence[NDArray[np.int8]], flags: NDArray[np.uint8]) -> Product:
        """From the weights [channels, depth] of each group and their flags."""
        channels, depth = rows[0].shape
        return cls(positions, channels, depth, len(rows), float(flags.mean()) if flags.size else 0.0)

    @property
    def signature(self) -> str:
        """Key under which measurements are kept."""
        share = round(self.tight * 8) / 8
        return f"{self.groups} x int8 [{self.positions}, {self.depth}] x [{self.depth}, {self.channels}], tight {share}"


@dataclass(frozen=True, slots=True)
class Way:
    """What was chosen, for a CPU of each instruction set.

    Attributes:
        fours: smull sums four products where they fit.
        narrow: sdot fills tiles of 8 rows by 8 channels, not of 5 by 16.
        by_dot: sdot multiplies where smmla could.
    """

    fours: bool = False
    narrow: bool = False
    by_dot: bool = False

    @classmethod
    def of(cls, names: Sequence[str]) -> Way:
        """From one name for each instruction set."""
        return cls("fours" in names, "sdot-8x8" in names, "sdot" in names)

    @property
    def word(self) -> int:
        """Argument of the kernel, as `runtime/convolution.c` reads it."""
        return int(self.narrow) | int(self.by_dot) << 1
