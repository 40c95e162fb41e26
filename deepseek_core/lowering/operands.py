"""What lowerings ask of nodes and operands: known shapes, constants, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.errors import BackendError
from deepseek_core.ir.units import Operand

__all__ = ["clip_bounds", "constant_of", "reduced_axes", "scalar_of", "shape_of"]


def shape_of(operand: Operand) -> tuple[int, ...]:
    """The operand's shape, all sizes known.

    Raises:
        BackendError: one is not; the limit `static` in a capability table keeps such units away.
    """
    shape = operand.shape
    if shape is None or any(size is None for size in shape):
        raise BackendError(f"the shape of '{operand.value.name}' is not known", fix="fix the shapes of the inputs")
    return tuple(size for size in shape if size is not None)


def constant_of(value: ir.Value | None) -> NDArray[Any]:
    """The array of a constant.

    Raises:
        BackendError: it is none, or left out.
    """
    if value is None or value.const_value is None:
        name = "an input" if value is None else f"'{value.name}'"
        raise BackendError(f"{name} is not constant", fix="place its unit on another target")
    return np.asarray(value.const_value.numpy())


def scalar_of(node: ir.Node, position: int) -> float | None:
    """A constant input of one element; None where it is left out.

    Raises:
        BackendError: it is not constant, or has more elements.
    """
    value = node.inputs[position] if position < len(node.inputs) else None
    if value is None:
        return None
    array = constant_of(value)
    if array.size != 1:
        raise BackendError(f"'{value.name}' has {array.size} elements, not one", fix="place its unit on another target")
    return float(array.reshape(-1)[0])


def clip_bounds(node: ir.Node) -> tuple[float, float]:
    """What a Relu or Clip lets through, infinite where it has no bound.

    Raises:
        BackendError: a bound is not constant.
    """
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = scalar_of(node, 1), scalar_of(node, 2)  # attributes before version 11
    low, high = (node.attributes.get_float(n) if b is None else b for n, b in zip(("min", "max"), bounds, strict=True))
    return -np.inf if low is None else low, np.inf if high is None else high


def reduced_axes(node: ir.Node, rank: int) -> tuple[int, ...]:
    """Axes that a reduction of a tensor of `rank` axes goes over, in ascending order; ONNX operators Reduce…-18.

    Raises:
        BackendError: they are computed at run time.
    """
    given = tuple(node.attributes.get_ints("axes", ()))
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        given = tuple(int(axis) for axis in constant_of(node.inputs[1]).reshape(-1))
    if not given and not node.attributes.get_int("noop_with_empty_axes", 0):
        return tuple(range(rank))
    return tuple(sorted(axis % rank for axis in given))
