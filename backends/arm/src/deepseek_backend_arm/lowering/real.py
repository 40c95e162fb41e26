"""Every op that runs on real numbers, and how a unit of it is lowered whatever is quantized around it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from deepseek_backend_arm.lowering import (
    moves,
    pooling,
    real_functions,
    real_pairs,
    real_rows,
    recurrent,
    resize,
)
from deepseek_backend_arm.lowering.codes import translated
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.products import as_declared
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_core import Operand, Role, Unit
from deepseek_core.errors import BackendError

__all__ = ["REALS", "lower_moves", "lower_real"]

REALS: dict[str, Lowering] = {
    **moves.LOWERINGS,
    **pooling.REAL_LOWERINGS,
    **real_functions.LOWERINGS,
    **real_pairs.LOWERINGS,
    **real_rows.LOWERINGS,
    **recurrent.LOWERINGS,
    **resize.LOWERINGS,
}
"""Op → how its node becomes kernels."""


def lower_real(unit: Unit, emitter: Emitter, lowering: Lowering | None = None) -> None:
    """Dequantize, apply the node and its activation, quantize: each where the unit has it.

    Args:
        lowering: of the node, where it is not that of its op.
    """
    inputs = tuple(_input(emitter, operand) for operand in unit.inputs)
    piece = Piece(unit.node, inputs, tuple(_shape(unit, value) for value in _results(unit.node)), emitter)
    results = list((lowering or REALS[unit.op])(piece))
    last = unit.node
    if unit.activation is not None:
        results, last = [real_functions.activated(emitter, results[0], unit.activation)], unit.activation
    for output in unit.outputs:
        tensor = results[list(last.outputs).index(output.real)]
        if output.qparams is not None:
            tensor = emitter.quantize(tensor, qparams_for(output))
        emitter.define(output.value, as_declared(emitter, tensor, output.value))


def lower_moves(unit: Unit, emitter: Emitter) -> None:
    """Move codes, in the scale of the result."""
    y = qparams_for(unit.outputs[0])

    def codes(operand: Operand) -> Tensor:
        if operand.role is not Role.DATA:
            return emitter.tensor(operand.value)
        return translated(emitter, emitter.codes(operand), qparams_for(operand), y)

    inputs = tuple(None if operand is None else partial(codes, operand) for operand in unit.inputs)
    shapes = tuple(_shape(unit, value) for value in _results(unit.node))
    results = REALS[unit.op](Piece(unit.node, inputs, shapes, emitter, y))
    for output in unit.outputs:
        emitter.define(output.value, results[list(unit.node.outputs).index(output.real)])


def _input(emitter: Emitter, operand: Operand | None) -> Callable[[], Tensor] | None:
    return None if operand is None else partial(emitter.real, operand)


def _results(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.outputs if value.name]


def _shape(unit: Unit, value: ir.Value) -> tuple[int, ...]:
    """Shape of an output of the node; an activation behind it has the same."""
    found = [value, *(output.value for output in unit.outputs if output.real is value or unit.activation is not None)]
    for candidate in found:
        if candidate.shape is not None and candidate.shape.is_static():
            return tuple(size for size in candidate.shape if isinstance(size, int))
    if value.uses() or value.is_graph_output():
        raise BackendError(f"the shape of '{value.name}' is not known", fix="fix the shapes of the model's inputs")
    return ()
