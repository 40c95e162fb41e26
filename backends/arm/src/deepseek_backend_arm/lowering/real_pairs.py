"""Functions of two tensors with broadcasting, on numbers of any type, and what is made of several of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf

import numpy as np

from deepseek_backend_arm.lowering.elementwise import laid_out
from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.piece import Lowering, Piece, function
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_backend_arm.lowering.weights import padded
from deepseek_backend_arm.plan.abi import PAIRS, Value
from deepseek_backend_arm.plan.program import TYPES, Step

__all__ = ["LOWERINGS", "paired"]

_COMPARISONS = PAIRS[PAIRS.index("Equal") :]


def paired(emitter: Emitter, name: str, a: Tensor, b: Tensor, shape: Sequence[int]) -> Tensor:
    """`name` of each pair of elements; truths from comparisons."""
    places, layout, order = laid_out(emitter, {"a": a, "b": b}, shape)
    result = emitter.new("bool" if name in _COMPARISONS else a.dtype, shape, order)
    values: dict[str, Value] = {"op": PAIRS.index(name), "type": TYPES.index(a.dtype), **layout}
    emitter.emit("pairs", {**places, "y": result}, values)
    return result


def _pair(piece: Piece, name: str = "") -> Sequence[Tensor]:
    a, b = piece.input(0), piece.input(1)
    if a.dtype != b.dtype:  # Pow alone may have two types
        b = piece.emitter.cast(b, a.dtype)
    return [paired(piece.emitter, name or piece.node.op_type, a, b, piece.shapes[0])]


def _add(piece: Piece) -> Sequence[Tensor]:
    """A row of constants joins the product before it, where nothing else reads that."""
    for own, other in ((0, 1), (1, 0)):
        result = _joined(piece, own, other)
        if result is not None:
            return [result]
    return _pair(piece)


def _joined(piece: Piece, own: int, other: int) -> Tensor | None:
    value, constant = piece.node.inputs[own], piece.node.inputs[other]
    if value is None or constant is None or constant.const_value is None:
        return None
    if value.const_value is not None or len(value.uses()) != 1 or value.is_graph_output():
        return None
    tensor = piece.input(own)
    step = piece.emitter.producer(tensor)
    if step is None or not _takes_row(step) or tensor.shape != piece.shapes[0]:
        return None
    numbers, axis = constant.const_value.numpy(), tensor.order[-1]
    form = (*(1 for _ in range(len(tensor.shape) - numbers.ndim)), *numbers.shape)
    if numbers.dtype != np.float32 or any(n != 1 for i, n in enumerate(form) if i != axis):
        return None
    row = np.broadcast_to(numbers.reshape(-1), (tensor.shape[axis],))
    step.memory["shift"] = piece.emitter.constants.add(padded(row, 4, 0))
    return tensor


def _takes_row(step: Step) -> bool:
    """Whether a product gives real numbers, to which nothing was done."""
    if step.kernel != "conv" or step.memory["shift"] is not None:
        return False
    values = step.values
    plain = (values["real_low"], values["real_high"]) == (-inf, inf)
    return plain and values["real"] == 1 and values["groups"] == 1


def _pow(piece: Piece) -> Sequence[Tensor]:
    """Squares and square roots have instructions of their own."""
    value = piece.node.inputs[1]
    constant = None if value is None or value.const_value is None else value.const_value.numpy()
    if constant is not None and constant.size == 1 and piece.x.shape == piece.shapes[0]:
        exponent = float(constant.reshape(-1)[0])
        if exponent == 2:
            return [paired(piece.emitter, "Mul", piece.x, piece.x, piece.shapes[0])]
        if exponent == 0.5 and piece.x.dtype == "float32":
            return [function(piece.emitter, piece.x, "Sqrt")]
    return _pair(piece)


def _many(piece: Piece, name: str) -> Sequence[Tensor]:
    result, *rest = (piece.input(i) for i in range(len(piece.inputs)))
    for other in rest:
        shape = np.broadcast_shapes(result.shape, other.shape)
        result = paired(piece.emitter, name, result, other, shape)
    if piece.node.op_type == "Mean":
        count = piece.constant(np.array(len(piece.inputs), np.float32))
        result = paired(piece.emitter, "Div", result, count, result.shape)
    return [result]


def _where(piece: Piece) -> Sequence[Tensor]:
    sides = {name: piece.input(i) for i, name in enumerate("cab")}
    places, layout, order = laid_out(piece.emitter, sides, piece.shapes[0])
    result = piece.emitter.new(sides["a"].dtype, piece.shapes[0], order)
    piece.emitter.emit("where", {**places, "y": result}, {"size": SIZES[result.dtype], **layout})
    return [result]


def _batch_norm(piece: Piece) -> Sequence[Tensor]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias; the difference first, which may cancel."""
    scale, bias, mean, variance = (np.asarray(piece.array(i), np.float32) for i in range(1, 5))
    factor = scale / np.sqrt(variance + np.float32(piece.number("epsilon", 1e-5)))
    result, rank = piece.x, len(piece.x.shape)
    form = (-1, *(1,) * (rank - 2)) if rank > 1 else (-1,)
    for name, numbers in (("Sub", mean), ("Mul", factor), ("Add", bias)):
        result = paired(piece.emitter, name, result, piece.constant(numbers.reshape(form)), result.shape)
    return [result]


LOWERINGS: dict[str, Lowering] = {
    **{name: _pair for name in PAIRS if name not in ("Add", "Pow", "Min", "Max")},
    **{op: partial(_many, name=name) for op, name in (("Sum", "Add"), ("Mean", "Add"), ("Max", "Max"), ("Min", "Min"))},
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Pow": _pow,
    "Where": _where,
}
"""Node → its tensors."""
