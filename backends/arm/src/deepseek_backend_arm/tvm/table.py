"""Units that TVM is asked for: ops whose results were compared with the reference, less what TVM takes for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.tvm.ops import OPS
from deepseek_core import Unit

__all__ = ["Bounds", "bounds", "restriction"]

_PARTLY = ("BatchNormalization", "Conv", "ConvTranspose")
"""Own kernels want their weights, and what they normalise by, when compiling."""
_MORE = (
    "Attention",
    "CenterCropPad",
    "RotaryEmbedding",
    "Swish",
    "EyeLike",
    "IsInf",
    "MaxRoiPool",
    "OneHot",
    "RMSNormalization",
)
"""Ops that the capability table does not name: the conformance kit has no cases for them."""


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What an input is kept within before TVM's code uses it as a place: it reads and writes wherever that is.

    Attributes:
        position: of the input.
        low, high: inclusive; broadcast to the input.
    """

    position: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def restriction(unit: Unit) -> str | None:
    """Why TVM is not asked, empty where there is no more to say than that; None where it is asked."""
    if unit.op not in (*OPS, *_PARTLY, *_MORE):
        return ""
    check = _CHECKS.get(unit.op)
    return None if check is None else check(unit)


def bounds(unit: Unit) -> tuple[Bounds, ...]:
    """Of the inputs that hold places."""
    find = _BOUNDS.get(unit.op)
    found = None if find is None else find(unit)
    return () if found is None else (found,)


def _shape(unit: Unit, position: int) -> tuple[int, ...]:
    operand = unit.inputs[position]
    assert operand is not None
    return tuple(size or 0 for size in operand.shape or ())


def _within(position: int, low: object, high: object) -> Bounds:
    return Bounds(position, np.asarray(low, np.float64), np.asarray(high, np.float64))


def _along_axis(unit: Unit) -> Bounds:
    shape = _shape(unit, 0)
    size = shape[unit.node.attributes.get_int("axis", 0)]
    return _within(1, -size, size - 1)


def _rows(unit: Unit) -> Bounds:
    sizes = np.array(_shape(unit, 0)[: _shape(unit, 1)[-1]])
    return _within(1, -sizes, sizes - 1)


def _anywhere(unit: Unit) -> Bounds:
    return _within(1, 0, prod(size or 0 for size in unit.outputs[0].shape or ()) - 1)


def _samples(unit: Unit) -> Bounds:
    return _within(2, 0, _shape(unit, 0)[0] - 1)


def _rotations(unit: Unit) -> Bounds | None:
    if len(unit.inputs) < 4 or unit.inputs[3] is None:
        return None
    size = _shape(unit, 1)[0]
    return _within(3, -size, size - 1)


def _first_column(unit: Unit) -> Bounds:
    edge = np.array([0, *(np.inf,) * 4])
    return _within(1, -edge, np.array([_shape(unit, 0)[0] - 1, *(np.inf,) * 4]))


_BOUNDS: dict[str, Callable[[Unit], Bounds | None]] = {
    "MaxRoiPool": _first_column,
    "MaxUnpool": _anywhere,
    "RoiAlign": _samples,
    "RotaryEmbedding": _rotations,
    "ScatterElements": _along_axis,
    "ScatterND": _rows,
}


def _both_signs(unit: Unit) -> str | None:
    one = any(unit.node.attributes.get_int(f"detect_{sign}", 1) == 0 for sign in ("negative", "positive"))
    return ", and TVM tells no sign of infinity from the other" if one else None


def _averages(unit: Unit) -> str | None:
    attributes = unit.node.attributes
    return None if attributes.get_string("mode", "avg") == "avg" else ", and TVM's finds other maxima"


def _infers(unit: Unit) -> str | None:
    trains = bool(unit.node.attributes.get_int("training_mode", 0)) or any(v.name for v in unit.node.outputs[1:])
    return "" if trains else None


def _of_images(unit: Unit) -> str | None:
    return None if len(_shape(unit, 0)) in (3, 4) and unit.node.attributes.get_int("size", 1) % 2 else ""


_CHECKS: dict[str, Callable[[Unit], str | None]] = {
    "BatchNormalization": _infers,
    "IsInf": _both_signs,
    "LRN": _of_images,
    "RoiAlign": _averages,
}
