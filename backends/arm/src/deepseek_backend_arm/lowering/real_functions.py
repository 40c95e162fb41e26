"""Functions of one real number, and conversions between element types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.piece import Lowering, Piece, function
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_core.lowering import clip_bounds

__all__ = ["LOWERINGS", "activated"]

_PLAIN = (
    *("Abs", "Neg", "Sqrt", "Reciprocal", "Exp", "Erf", "Tanh", "Sigmoid", "HardSwish", "Relu", "Softsign", "Log"),
    *("Softplus", "Mish", "Sign", "Ceil", "Floor", "Round", "Sin", "Cos"),
)
_SELU = (1.6732632423543772, 1.0507009873554805)
_NUMBERS: dict[str, tuple[tuple[str, float], ...]] = {
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "LeakyRelu": (("alpha", 0.01),),
    "ThresholdedRelu": (("alpha", 1.0),),
    "Elu": (("alpha", 1.0),),
    "Celu": (("alpha", 1.0),),
    "Selu": (("alpha", _SELU[0]), ("gamma", _SELU[1])),
}
"""Attributes by op, in the order of the kernel's numbers."""


def activated(emitter: Emitter, x: Tensor, node: ir.Node) -> Tensor:
    """The function of a node, of each real number."""
    name, numbers = node.op_type, [0.0, 0.0]
    if name == "Clip":
        numbers = [float(np.float32(bound)) for bound in clip_bounds(node)]
    elif name == "Gelu":
        name = "GeluTanh" if node.attributes.get_string("approximate", "none") == "tanh" else name
    for place, (attribute, default) in enumerate(_NUMBERS.get(name, ())):
        numbers[place] = float(np.float32(node.attributes.get_float(attribute, default)))
    return function(emitter, x, name, *numbers)


def _function(piece: Piece) -> Sequence[Tensor]:
    return [activated(piece.emitter, piece.x, piece.node)]


def _clip(piece: Piece) -> Sequence[Tensor]:
    """Bounds that are computed at run time, and whole numbers, are compared as pairs."""
    bounds = [value for value in piece.node.inputs[1:] if value is not None]
    if piece.x.dtype == "float32" and all(value.const_value is not None for value in bounds):
        return _function(piece)
    result = piece.x
    for position, name in ((1, "Max"), (2, "Min")):
        if piece.has(position):
            result = paired(piece.emitter, name, result, piece.input(position), piece.shapes[0])
    return [result]


def _whole(piece: Piece) -> Sequence[Tensor]:
    """Abs, Neg and Sign of whole numbers, by pairs with constants."""
    if piece.x.dtype == "float32":
        return _function(piece)
    zero, one, minus = (piece.constant(np.array(n, piece.x.dtype)) for n in (0, 1, -1))
    name, shape, e = piece.node.op_type, piece.shapes[0], piece.emitter
    if name == "Neg":
        return [paired(e, "Sub", zero, piece.x, shape)]
    if name == "Abs":
        return [paired(e, "Max", paired(e, "Sub", zero, piece.x, shape), piece.x, shape)]
    return [paired(e, "Min", paired(e, "Max", piece.x, minus, shape), one, shape)]


def _not(piece: Piece) -> Sequence[Tensor]:
    return [paired(piece.emitter, "Xor", piece.x, piece.constant(np.array(True)), piece.shapes[0])]


def _cast(piece: Piece) -> Sequence[Tensor]:
    wanted = piece.node.outputs[0].dtype
    assert wanted is not None
    name = str(wanted.numpy())
    return [piece.emitter.cast(piece.x, name if name != "float16" else "float32")]


LOWERINGS: dict[str, Lowering] = {
    **dict.fromkeys((*_PLAIN, "Gelu", *_NUMBERS), _function),
    **dict.fromkeys(("Abs", "Neg", "Sign"), _whole),
    **dict.fromkeys(("Cast", "CastLike"), _cast),
    "Clip": _clip,
    "Not": _not,
}
"""Node → its tensors."""
