"""Lower a part: every unit by the lowering of its op."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_npu.lowering import convolution, elementwise, matrix, moves, pooling, resize, softmax, tables
from deepseek_backend_npu.lowering.conversion import Conversions
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_backend_npu.lowering.limits import problem
from deepseek_backend_npu.lowering.program import Lowered
from deepseek_backend_npu.tosa import Graph
from deepseek_core import QuantizedModel, TensorInfo, Unit
from deepseek_core.errors import BackendError
from deepseek_core.lowering import shape_of

__all__ = ["LOWERINGS", "lower"]

LOWERINGS: dict[str, Callable[[Unit, Emitter], None]] = {
    **convolution.LOWERINGS,
    **elementwise.LOWERINGS,
    **matrix.LOWERINGS,
    **moves.LOWERINGS,
    **pooling.LOWERINGS,
    **resize.LOWERINGS,
    **softmax.LOWERINGS,
    **tables.LOWERINGS,
}
"""Op → how it becomes TOSA."""


def lower(model: QuantizedModel, *, every_tensor: bool = False) -> Lowered:
    """The part as a TOSA graph with the host's conversions around it; the model is left unchanged.

    Args:
        every_tensor: hand the codes of every unit to the host too, not only the part's outputs.

    Raises:
        BackendError: a unit that the capability table does not admit.
    """
    lowered = Lowered(Graph(), model.inputs, model.outputs)
    emitter = Emitter(lowered)
    conversions = Conversions(emitter)
    for value in model.graph.inputs:
        emitter.at_host(value)
    for unit in model.units():
        if unit.op == "QuantizeLinear":
            conversions.quantize(unit)
        elif unit.op == "DequantizeLinear":
            conversions.dequantize(unit)
        else:
            _lower(unit, emitter)
        if every_tensor and unit.op not in ("QuantizeLinear", "DequantizeLinear"):
            _show(unit, emitter)
    for value in model.graph.outputs:
        emitter.result(value)
    return lowered


def _show(unit: Unit, emitter: Emitter) -> None:
    """Make the unit's codes outputs of the part."""
    lowered = emitter.lowered
    for operand in unit.outputs:
        emitter.result(operand.value)
        info = TensorInfo(operand.value.name or "", str(operand.dtype), shape_of(operand))
        if info.name not in {known.name for known in lowered.outputs}:
            lowered.outputs = (*lowered.outputs, info)


def _lower(unit: Unit, emitter: Emitter) -> None:
    if unit.op not in LOWERINGS:
        raise BackendError(f"the NPU has no {unit.op} ('{unit.name}')", fix="place it on another target")
    reason = problem(unit)
    if reason is not None:
        raise BackendError(f"'{unit.name}' ({unit.op}): {reason}", fix="place it on another target")
    LOWERINGS[unit.op](unit, emitter)
