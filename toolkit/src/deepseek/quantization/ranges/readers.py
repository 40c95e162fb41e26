"""Who reads the codes of an activation, and what an error of it becomes there."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import QuantizedModel, Recipe
from deepseek_core.ir.query import at, constant

__all__ = ["Reader", "readers"]

_SKETCH = 32
"""Columns that stand for a layer's outputs: |e W|² and |e W S|² agree for a random S (Johnson and Lindenstrauss)."""


_TOWARDS = frozenset(("Add", "Sub", "Mul", "Div", "Where", "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"))


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A layer seen from one of its inputs.

    Attributes:
        value: name of the tensor it reads.
        shape: of the tensor's channels among its axes, aligned with the last axis: 1 along places.
        matrix: float32 [C, m]: errors of the C channels of a place become errors [m] of the output; [C] where each
            channel has an output of its own; None where the layer has no constant weight and all count the same.
        relative: whether the error at every place counts relative to what is at the place.
        kind: `layer` (it has a constant weight), `logits` (it leads to a Softmax) or `other`.
    """

    value: str
    shape: tuple[int, ...]
    matrix: NDArray[np.float32] | None
    relative: bool
    kind: str = "layer"


def readers(model: QuantizedModel, recipe: Recipe) -> dict[str, list[Reader]]:
    """Readers of each activation of a recipe, those included that read it moved (reshaped, pooled)."""
    values = {v.name or "": v for node in model.graph for v in node.outputs} | {
        v.name or "": v for v in model.graph.inputs
    }
    roots = {name: _root(name, recipe) for name in (*recipe.activations, *recipe.shared)}
    result: dict[str, list[Reader]] = {name: [] for name in recipe.activations}
    for name, root in roots.items():
        if name in values:
            result[root] += [
                _reader(values[name], use.node, use.idx) for use in values[name].uses() if _counts(use.node, recipe)
            ]
    for name, found in result.items():
        if not found and name in values:
            found.append(Reader(name, _channels(values[name]), None, relative=False, kind="other"))
    return result


def _root(name: str, recipe: Recipe) -> str:
    while name in recipe.shared:
        name = recipe.shared[name]
    return name


def _counts(node: ir.Node, recipe: Recipe) -> bool:
    """Readers in float and those that only move codes on are left out."""
    moved = any((value.name or "") in recipe.shared for value in node.outputs)
    return node.name not in recipe.skipped and not moved


def _reader(value: ir.Value, node: ir.Node, position: int) -> Reader:
    name, weight = value.name or "", constant(at(node, 1)) if position == 0 else None
    if weight is not None and node.op_type in ("Conv", "ConvTranspose") and weight.ndim >= 3:
        groups, outer, width = node.attributes.get_int("group", 1), *weight.shape[:2]
        channels = groups * width if node.op_type == "Conv" else outer
        shape = (channels, *(1,) * (weight.ndim - 2))
        return Reader(name, shape, _convolution(node, weight, channels), relative=False)
    if weight is not None and node.op_type in ("Gemm", "MatMul") and weight.ndim == 2:
        flipped = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
        matrix = weight.T if flipped else weight
        if not node.attributes.get_int("transA", 0):
            return Reader(name, (matrix.shape[0],), _sketch(matrix, name), relative=True)
    kind = "logits" if _leads_to_softmax(node) else "other"
    return Reader(name, _channels(value), None, relative=False, kind=kind)


def _leads_to_softmax(node: ir.Node) -> bool:
    """Whether a Softmax takes what `node` makes, scaled, masked or moved on the way."""
    while node.op_type in _TOWARDS:
        uses = list(node.outputs[0].uses())
        if len(uses) != 1:
            return False
        node = uses[0].node
    return node.op_type in ("Softmax", "LogSoftmax")


def _convolution(node: ir.Node, weight: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """Taps side by side, as if errors of neighbouring places were independent."""
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "Conv":
        parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1).transpose(0, 2, 1, 3)
    else:
        parts = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    blocks = parts.reshape(groups, channels // groups, -1)
    if groups == 1:
        return _sketch(blocks[0], node.name or "")
    return np.asarray(np.sqrt(np.square(blocks).sum(axis=2)).reshape(-1), np.float32)


def _sketch(matrix: NDArray[Any], name: str) -> NDArray[np.float32]:
    if matrix.shape[1] <= _SKETCH:
        return np.ascontiguousarray(matrix, np.float32)
    random = np.random.default_rng(zlib.crc32(name.encode()))
    signs = random.standard_normal((matrix.shape[1], _SKETCH), np.float32) / np.sqrt(np.float32(_SKETCH))
    return np.asarray(matrix @ signs, np.float32)


def _channels(value: ir.Value) -> tuple[int, ...]:
    """An axis of known size to tell channels by: axis 1 of images, otherwise the last."""
    sizes = () if value.shape is None else tuple(d if isinstance(d, int) else None for d in value.shape)
    axis = 1 if len(sizes) >= 4 and sizes[1] is not None else len(sizes) - 1
    size = sizes[axis] if sizes else None
    return (1,) if size is None else (size, *(1,) * (len(sizes) - 1 - axis))
