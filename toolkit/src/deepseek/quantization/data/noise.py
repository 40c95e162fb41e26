"""Made-up inputs for networks that say nothing about their data: seeded, and of a natural kind where one is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.frontends import Tensors
from deepseek_core import QuantizedModel, TensorInfo
from deepseek_core.errors import CalibrationError

__all__ = ["id_limits", "made_up"]

_PASSED_ON = ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Clip")
_LENGTH = 32
"""Size of a free axis that is not the batch, such as a sequence."""


def made_up(model: QuantizedModel, sizes: Mapping[str, Sequence[int]], count: int, seed: int) -> Iterator[Tensors]:
    """Samples of one row each, or of the batch that the model takes.

    Floats with two or more axes of space ([N, C, H, W]) are noise whose power falls with frequency as that of
    photographs does (1/f²; Field, 1987), other floats standard normal, both of mean 0 and variance 1. Integers that
    index a constant table are drawn from its rows; other integers, and booleans, are 1, as in a mask that hides
    nothing. 8-bit codes are the same noise over their whole range.

    Args:
        sizes: input name → shape, where an example is known; it decides free axes but the first.

    Raises:
        CalibrationError: the type or rank of an input does not say what to make up.
    """
    generator = np.random.default_rng(seed)
    limits = id_limits(model)
    for _ in range(count):
        yield {info.name: _input(info, _shape(info, sizes.get(info.name)), limits, generator) for info in model.inputs}


def id_limits(model: QuantizedModel) -> dict[str, int]:
    """Input name → rows of the smallest constant table that its values index."""
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        rows = [_rows(node) for node in _readers(value) if node.op_type == "Gather"]
        known = [count for count in rows if count is not None]
        if known:
            found[value.name or ""] = min(known)
    return found


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """Nodes that read a value as it is, or after it was only reshaped or cast."""
    for use in value.uses():
        if use.node.op_type == "Gather" and use.idx == 1:
            yield use.node
        elif use.node.op_type in _PASSED_ON and use.idx == 0:
            yield from _readers(use.node.outputs[0])


def _rows(node: ir.Node) -> int | None:
    table = node.inputs[0]
    axis = node.attributes.get_int("axis", 0)
    constant = None if table is None else table.const_value
    return None if constant is None or constant.dtype.is_integer() else int(constant.shape.numpy()[axis])


def _shape(info: TensorInfo, known: Sequence[int] | None) -> tuple[int, ...]:
    if info.shape is None:
        raise CalibrationError(f"the rank of input '{info.name}' is unknown", fix="give calibration=")
    sizes = []
    for axis, size in enumerate(info.shape):
        if isinstance(size, int):
            sizes.append(size)
        else:
            sizes.append(1 if axis == 0 else known[axis] if known is not None else _LENGTH)
    return tuple(sizes)


def _input(
    info: TensorInfo, shape: tuple[int, ...], limits: Mapping[str, int], generator: np.random.Generator
) -> NDArray[Any]:
    if info.dtype in ("object", "unknown") or " of " in info.dtype:
        raise CalibrationError(f"input '{info.name}' has type {info.dtype}", fix="give calibration=")
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return _noise(shape, generator).astype(dtype)
    if info.name in limits:
        return generator.integers(0, limits[info.name], shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        codes = (low + high) / 2 + _noise(shape, generator) * (high - low) / 6
        return np.clip(np.rint(codes), low, high).astype(dtype)
    return np.ones(shape, dtype)


def _noise(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    white = generator.standard_normal(shape)
    if len(shape) < 4 or min(shape[2:]) < 2:
        return white
    axes = tuple(range(2, len(shape)))
    grids = np.meshgrid(*(np.fft.fftfreq(size) for size in shape[2:]), indexing="ij")
    frequency = np.sqrt(sum(np.square(grid) for grid in grids))
    spectrum = np.fft.fftn(white, axes=axes) / np.maximum(frequency, 1.0 / max(shape[2:]))
    natural = np.fft.ifftn(spectrum, axes=axes).real
    spread = natural.std(axis=axes, keepdims=True)
    return np.asarray((natural - natural.mean(axis=axes, keepdims=True)) / np.where(spread > 0, spread, 1.0))
