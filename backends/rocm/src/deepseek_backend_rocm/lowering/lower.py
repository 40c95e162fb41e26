"""Lower a part: every unit by the lowering of its op, then give each tensor its place in memory."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_rocm.lowering import (
    conversion,
    convolution,
    elementwise,
    functions,
    matrix,
    moves,
    normalization,
    pooling,
    reals,
)
from deepseek_backend_rocm.lowering.attention import Attention, attentions, lower_attention
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.limits import problem
from deepseek_backend_rocm.lowering.paths import in_reals, is_mixed_move
from deepseek_backend_rocm.lowering.weight_only import is_weight_only, lower_weight_only
from deepseek_backend_rocm.plan.memory import plan_memory
from deepseek_backend_rocm.plan.steps import Plan
from deepseek_core import CompileOptions, QuantizedModel, Unit
from deepseek_core.errors import BackendError

__all__ = ["LOWERINGS", "lower"]

LOWERINGS: dict[str, Callable[[Unit, Emitter], None]] = {
    **conversion.LOWERINGS,
    **convolution.LOWERINGS,
    **elementwise.LOWERINGS,
    **functions.LOWERINGS,
    **matrix.LOWERINGS,
    **moves.LOWERINGS,
    **normalization.LOWERINGS,
    **pooling.LOWERINGS,
}
"""Op → how it becomes kernels on codes; those that move elements move any type."""

_PRODUCTS = ("Gemm", "MatMul")

_MOST_BYTES = 2**31 - 2**16
"""Kernels count bytes in int32."""


def lower(model: QuantizedModel, options: CompileOptions | None = None) -> Plan:
    """The part as a plan; the model is left unchanged.

    Raises:
        BackendError: a unit that the capability table does not admit.
    """
    emitter, units = Emitter(), model.units()
    inputs = [emitter.feed(v) for v in model.graph.inputs if v.name not in model.graph.initializers]
    fused = attentions(units)
    inside = {unit for attention in fused.values() for unit in attention.units}
    for position, unit in enumerate(units):
        if options is not None:
            options.progress("rocm: planning", position / len(units))
        if unit in fused:
            _lower_attention(fused[unit], emitter)
        elif unit not in inside:
            _lower(unit, emitter)
    emitter.unit = None
    outputs = [emitter.result(value) for value in model.graph.outputs]
    arena, bound = plan_memory(emitter.steps, inputs, outputs)
    constants = emitter.constants.data()
    if max(arena, len(constants)) >= _MOST_BYTES:
        raise BackendError("the part needs more than 2 GiB", fix="place parts of it on other targets")
    return Plan(inputs, outputs, emitter.steps, constants, arena, bound)


def _lower_attention(attention: Attention, emitter: Emitter) -> None:
    """In one kernel, or unit by unit where that one does not fit."""
    if not lower_attention(attention, emitter):
        for unit in attention.units:
            _lower(unit, emitter)


def _lower(unit: Unit, emitter: Emitter) -> None:
    emitter.unit = unit
    reason = problem(unit)
    if reason is not None:
        raise BackendError(f"'{unit.name}' ({unit.op}): {reason}", fix="place it on another target")
    if in_reals(unit):
        reals.LOWERINGS[unit.op](unit, emitter)
    elif is_mixed_move(unit):
        reals.lower_mixed_move(unit, emitter)
    elif unit.op in _PRODUCTS and is_weight_only(unit):
        lower_weight_only(unit, emitter)
    else:
        LOWERINGS[unit.op](unit, emitter)
