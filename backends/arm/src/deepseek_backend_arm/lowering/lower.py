"""Lower a part: every unit by the lowering of its op, then give each tensor its place in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from deepseek_backend_arm.lowering import (
    conversion,
    convolution,
    elementwise,
    functions,
    matrix,
    moves,
    normalization,
    pooling,
)
from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.limits import problem
from deepseek_backend_arm.plan.memory import plan_memory
from deepseek_backend_arm.plan.program import Program
from deepseek_backend_arm.settings import Settings
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
"""Op → how it becomes kernels."""


def lower(model: QuantizedModel, options: CompileOptions | None = None) -> Program:
    """The part as a program; the model is left unchanged.

    Raises:
        BackendError: a unit that the capability table does not admit.
    """
    emitter, units = Emitter(None if options is None else Settings.read(options)), model.units()
    inputs = [emitter.feed(v) for v in model.graph.inputs if v.name not in model.graph.initializers]
    for position, unit in enumerate(units):
        if options is not None:
            options.progress("arm: planning", position / len(units))
        emitter.unit = unit
        _lower(unit, emitter)
    emitter.unit = None
    outputs = [emitter.result(value) for value in model.graph.outputs]
    plan = plan_memory(emitter.steps, inputs, outputs)
    constants = emitter.constants.data()
    if max(plan.arena, len(constants)) >= 2**31 - 2**16:
        raise BackendError("the part needs more than 2 GiB", fix="place parts of it on other targets")
    report: dict[str, object] = {
        "arena_bytes": plan.arena,
        "arena_lower_bound": plan.bound,
        "constant_bytes": len(constants),
        "kernels": dict(sorted(Counter(step.kernel for step in emitter.steps).items())),
    }
    scratch = max((step.scratch for step in emitter.steps), default=0)
    return Program(inputs, outputs, emitter.steps, constants, emitter.constants.packs, plan.arena, scratch, report)


def _lower(unit: Unit, emitter: Emitter) -> None:
    if unit.op not in LOWERINGS:
        raise BackendError(f"the arm backend has no {unit.op} ('{unit.name}')", fix="place it on another target")
    reason = problem(unit)
    if reason is not None:
        raise BackendError(f"'{unit.name}' ({unit.op}): {reason}", fix="place it on another target")
    LOWERINGS[unit.op](unit, emitter)
