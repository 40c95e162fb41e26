"""Positions of a window by what of it meets the input: those with the same taps inside share a bias.

A sum leaves out its products with padding, and the input's zero point is in the bias: so a position at the border has
a bias of its own, less the zero point times the weights that meet no input. Nothing is left to do in the inner loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.windows import Window

__all__ = ["Borders"]


@dataclass(frozen=True, slots=True, eq=False)
class Borders:
    """Classes of positions.

    Attributes:
        classes: int32, class of each position along the vertical axis, then along the horizontal one.
        inside: bool [classes, taps]: taps that meet the input; vertical classes are the outer ones.
        columns: classes along the horizontal axis.
    """

    classes: NDArray[np.int32]
    inside: NDArray[np.bool_]
    columns: int

    @classmethod
    def of(cls, window: Window) -> Borders:
        """Of a window over height and width."""
        (down, down_inside), (across, across_inside) = (_axis(window, axis) for axis in range(2))
        both = down_inside[:, None, :, None] & across_inside[None, :, None, :]
        taps = window.kernel[0] * window.kernel[1]
        inside = both.reshape(len(down_inside) * len(across_inside), taps)
        return cls(np.concatenate([down, across]).astype(np.int32), inside, len(across_inside))


def _axis(window: Window, axis: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class of each position, and the taps of each class that are inside."""
    start = np.arange(window.positions[axis]) * window.strides[axis] - window.begin[axis]
    places = start[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
    inside = (places >= 0) & (places < window.size[axis])
    kinds, classes = np.unique(inside, axis=0, return_inverse=True)
    return classes.reshape(-1), kinds
