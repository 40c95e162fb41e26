"""Resize (ONNX, version 19): along one axis after the other, by weights of elements that are known when compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.moves import taken
from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_core import Unit

__all__ = ["LOWERINGS", "resize_problem"]

Reals = NDArray[np.float64]

_COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"),
)
_ROUNDINGS: dict[str, Callable[[Reals], Reals]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize_problem(unit: Unit) -> str | None:
    """Why a Resize is not built; None when it is."""
    attributes, inputs = unit.node.attributes, unit.node.inputs
    if any(value is not None and value.const_value is None for value in inputs[1:]):
        return "its sizes are computed at run time"
    if attributes.get_int("antialias", 0):
        return "it filters against aliasing"
    if attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "it keeps the aspect ratio"
    mode = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return None if mode in _COORDINATES else f"coordinates by {mode}"


def _resize(piece: Piece) -> Sequence[Tensor]:
    tensor = piece.x
    for axis, size in enumerate(piece.shapes[0]):
        scale = _scale(piece, axis, size)
        crops = piece.node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
        if size == tensor.shape[axis] and scale == 1.0 and not crops:
            continue
        tensor = _along(piece, tensor, axis, size, scale)
    return [tensor]


def _scale(piece: Piece, axis: int, size: int) -> float:
    axes = piece.node.attributes.get_ints("axes", ()) or range(len(piece.x.shape))
    chosen = [number % len(piece.x.shape) for number in axes]
    scales = piece.array(2)
    if axis not in chosen:
        return 1.0
    if scales is not None:
        return float(np.float32(scales.reshape(-1)[chosen.index(axis)]))
    return size / piece.x.shape[axis]


def _along(piece: Piece, x: Tensor, axis: int, size: int, scale: float) -> Tensor:
    length = x.shape[axis]
    places = _coordinates(piece, axis, size, length, scale)
    mode = piece.node.attributes.get_string("mode", "nearest")
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    crops = piece.node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if mode == "nearest" and not crops:
        rounding = _ROUNDINGS[piece.node.attributes.get_string("nearest_mode", "round_prefer_floor")]
        indices = np.clip(rounding(places), 0, length - 1).astype(np.int32)
        return taken(piece.emitter, x, axis, piece.constant(indices), shape)
    first, weights = _weights(piece, places, mode)
    excluded = bool(piece.node.attributes.get_int("exclude_outside", 0))
    if mode == "cubic" and excluded:
        inside = (first >= 0) & (first < length)
        weights = np.where(inside, weights, 0)
        weights = weights / weights.sum(1, keepdims=True)
    first = np.clip(first, 0, length - 1)
    if crops:
        first[(places < 0) | (places > length - 1), 0] = -1
    result = piece.emitter.new("float32", shape)
    values = {"outer": prod(shape[:axis]), "axis": length, "inner": prod(shape[axis + 1 :]), "count": size}
    outside = piece.number("extrapolation_value", 0.0)
    tables = {"places": piece.constant(first.astype(np.int32)), "shares": piece.constant(weights.astype(np.float32))}
    source = piece.emitter.ordered(x, tuple(range(len(x.shape))))
    piece.emitter.emit(
        "resample", {"x": source, **tables, "y": result}, {**values, "taps": first.shape[1], "outside": outside}
    )
    return result


def _coordinates(piece: Piece, axis: int, size: int, length: int, scale: float) -> Reals:
    """Where each element of the result lies on the input."""
    i = np.arange(size, dtype=np.float64)
    mode = piece.node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode == "align_corners":
        whole = scale * length  # not rounded, where scales are given
        return i * (length - 1) / (whole - 1) if whole != 1 else i * 0
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_crop_and_resize":
        roi = np.asarray(piece.array(1), np.float64).reshape(2, -1)
        axes = list(piece.node.attributes.get_ints("axes", ())) or list(range(len(piece.x.shape)))
        begin, end = roi[:, axes.index(axis)] if axis in axes else (0.0, 1.0)
        middle = 0.5 * (begin + end) * (length - 1)
        return begin * (length - 1) + i * (end - begin) * (length - 1) / (size - 1) if size > 1 else i * 0 + middle
    if mode == "pytorch_half_pixel" and size == 1:
        return i * 0
    plain = (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return plain + length / 2 * (1 - size / (scale * length))
    return plain


def _weights(piece: Piece, places: Reals, mode: str) -> tuple[NDArray[np.int64], Reals]:
    """Elements around each place, and their shares."""
    low = np.floor(places)
    rest = (places - low)[:, None]
    if mode == "nearest":
        rounding = _ROUNDINGS[piece.node.attributes.get_string("nearest_mode", "round_prefer_floor")]
        return rounding(places).astype(np.int64)[:, None], np.ones((len(places), 1))
    if mode == "linear":
        return low.astype(np.int64)[:, None] + np.arange(2), np.concatenate([1 - rest, rest], 1)
    a = float(piece.node.attributes.get_float("cubic_coeff_a", -0.75))
    near = [(a + 2) * d**3 - (a + 3) * d**2 + 1 for d in (rest, 1 - rest)]
    far = [a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a for d in (1 + rest, 2 - rest)]
    return low.astype(np.int64)[:, None] + np.arange(-1, 3), np.concatenate([far[0], near[0], near[1], far[1]], 1)


LOWERINGS: dict[str, Lowering] = {"Resize": _resize}
"""Node → its tensors."""
