"""Lower a part: every unit by what it runs on, then give each tensor its place in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir

from deepseek_backend_arm.lowering import (
    conversion,
    convolution,
    elementwise,
    functions,
    matrix,
    normalization,
    pooling,
)
from deepseek_backend_arm.lowering.by_tvm import lower_unit
from deepseek_backend_arm.lowering.choice import runs_on_codes
from deepseek_backend_arm.lowering.control import CONTROL
from deepseek_backend_arm.lowering.emitter import Emitter, dtype_of
from deepseek_backend_arm.lowering.limits import own_problem, problem
from deepseek_backend_arm.lowering.moves import LOWERINGS as MOVES
from deepseek_backend_arm.lowering.real import lower_moves, lower_real
from deepseek_backend_arm.plan.memory import plan_memory
from deepseek_backend_arm.plan.program import Program
from deepseek_backend_arm.settings import Settings
from deepseek_backend_arm.tvm.presence import tvm_version
from deepseek_core import CompileOptions, QuantizedModel, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import units
from deepseek_core.lowering import shape_of

__all__ = ["CODES", "lower"]

Lower = Callable[[Unit, Emitter], None]

CODES: dict[str, Lower] = {
    **dict.fromkeys((*MOVES, "Resize"), lower_moves),
    **elementwise.LOWERINGS,
    **functions.LOWERINGS,
    **normalization.LOWERINGS,
    **pooling.LOWERINGS,
}
"""Op → how it becomes kernels that run on codes alone."""
_OWN: dict[str, Lower] = {**conversion.LOWERINGS, **convolution.LOWERINGS, **matrix.LOWERINGS}
"""Ops that see to codes and real numbers themselves."""


def lower(model: QuantizedModel, options: CompileOptions | None = None) -> Program:
    """The part as a program; the model is left unchanged.

    Raises:
        BackendError: a unit that is not built.
    """
    emitter = Emitter(None if options is None else Settings.read(options))
    inputs = [emitter.feed(v) for v in model.graph.inputs if v.name not in model.graph.initializers]
    found = model.units()
    for position, unit in enumerate(found):
        if options is not None:
            options.progress("arm: planning", position / len(found))
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
    if emitter.linked.units:
        report["tvm"] = {"version": tvm_version(), "units": dict(emitter.linked.units)}
    scratch = max((step.scratch for step in emitter.steps), default=0)
    return Program(
        inputs, outputs, emitter.steps, constants, emitter.constants.packs, plan.arena, scratch, report, emitter.linked
    )


def _lower(unit: Unit, emitter: Emitter) -> None:
    reason = problem(unit)
    if reason is not None:
        raise BackendError(f"'{unit.name}' ({unit.op}): {reason}", fix="place it on another target")
    emitter.unit = unit
    if unit.op in CONTROL:
        _lower_control(unit, emitter)
    elif _is_empty(unit):
        for output in unit.outputs:
            dtype = "int8" if output.qparams is not None else dtype_of(output.value)
            emitter.define(output.value, emitter.new(dtype, shape_of(output)))
    elif own_problem(unit) is not None:
        lower_unit(unit, emitter)
    elif unit.op in _OWN:
        _OWN[unit.op](unit, emitter)
    elif runs_on_codes(unit):
        CODES[unit.op](unit, emitter)
    else:
        lower_real(unit, emitter)


def _is_empty(unit: Unit) -> bool:
    return all(0 in shape_of(output) for output in unit.outputs)


def _lower_control(unit: Unit, emitter: Emitter) -> None:
    def body(graph: ir.Graph) -> None:
        for inner in units(graph, (*unit.path, unit.node.name or "", graph.name or "")):
            _lower(inner, emitter)
        emitter.unit = unit

    CONTROL[unit.op](unit, emitter, body)
