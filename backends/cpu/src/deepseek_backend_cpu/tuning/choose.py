"""The choice: measured unit costs, costs of changing the layout between neighbours, a minimum cut, a final check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepseek_backend_cpu.float8 import uses_float8
from deepseek_backend_cpu.kernels import FLOAT32, INT8, estimate, kernel_names, rounds_otherwise
from deepseek_backend_cpu.lowering import lower
from deepseek_backend_cpu.tuning.layout import channels_last_values
from deepseek_backend_cpu.tuning.measurer import Measurer, serialize
from deepseek_backend_cpu.tuning.micro import symbol_sizes
from deepseek_core import Basis, CompileOptions, QuantizedModel, Target, Unit
from deepseek_core.errors import ModelError
from deepseek_core.ir import with_input_shapes
from deepseek_core.selection import Border, assign

__all__ = ["EXACT", "Choice", "choose", "preset"]

EXACT = "exact"
"""The preset that gives the IR's codes: integer operators but where they round otherwise."""

_CHOSEN = "chosen"
_BUDGET = 1.5
"""Seconds for the final comparison of whole models."""


@dataclass(slots=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        integer: names of the units that run in integer operators.
        basis: of the latencies; None when nothing was compared.
        latencies: unit name → kernel → seconds, for units that have an integer kernel.
        whole: variant of the whole model → seconds.
    """

    integer: frozenset[str]
    basis: Basis | None = None
    latencies: dict[str, dict[str, float]] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)


def preset(model: QuantizedModel, kernel: str) -> Choice:
    """One kernel for every unit that has it; or `EXACT`."""
    if kernel == EXACT:
        rounding = (unit.name for unit in model.all_units() if rounds_otherwise(unit))
        return Choice(preset(model, INT8).integer.difference(rounding))
    found = {unit.name: kernel_names(unit, normalized=True) for unit in model.all_units()}
    if kernel == FLOAT32:
        return Choice(frozenset(name for name, names in found.items() if FLOAT32 not in names))
    return Choice(frozenset(name for name, names in found.items() if names[0] != FLOAT32))


def choose(model: QuantizedModel, target: Target, options: CompileOptions, *, here: bool) -> Choice:
    """Kernels of a normalized model.

    Args:
        here: the target is this machine, so measure; otherwise estimate.
    """
    model = _as_used(model)
    integer = preset(model, INT8).integer
    eligible = [unit for unit in model.all_units() if unit.name in integer]
    if not here:
        latencies = {unit.name: _estimates(unit, target) for unit in eligible}
        fastest = (name for name, by in latencies.items() if min(by, key=lambda kernel: by[kernel]) != FLOAT32)
        return Choice(frozenset(fastest), Basis.ANALYTIC, latencies)
    main = model.units()
    measurer = Measurer(options.threads, symbol_sizes(model), channels_last_values(main), float8=uses_float8(model))
    choice = Choice(integer, Basis.MEASURED)
    for number, unit in enumerate(eligible):
        options.progress(f"measure {unit.name}", number / len(eligible))
        measured = measurer.unit(unit)
        choice.latencies[unit.name] = {
            k: measured[k] for k in kernel_names(unit, normalized=True) if k in measured
        } or _estimates(unit, target)
    inner = integer - {unit.name for unit in main}
    choice.integer = _cheapest(main, choice, measurer) | inner
    _compare(model, choice, measurer)
    measurer.save()
    return choice


def _as_used(model: QuantizedModel) -> QuantizedModel:
    """The model with the input shapes that its calibration samples had, where it knows them."""
    shapes: Any = model.metadata.get("sample_shapes")
    if not shapes or all(isinstance(d, int) for info in model.inputs for d in info.shape or (None,)):
        return model
    try:
        return with_input_shapes(model, shapes)
    except ModelError:  # the samples belong to an earlier form of the model
        return model


def _estimates(unit: Unit, target: Target) -> dict[str, float]:
    return {kernel: estimate(unit, kernel, target).seconds for kernel in kernel_names(unit, normalized=True)}


def _cheapest(units: Sequence[Unit], choice: Choice, measurer: Measurer) -> frozenset[str]:
    costs = {}
    for unit in units:
        latencies = choice.latencies.get(unit.name, {FLOAT32: 0.0})
        costs[unit.name] = {FLOAT32 if name == FLOAT32 else INT8: seconds for name, seconds in latencies.items()}
    for unit in units:
        if INT8 in costs[unit.name]:
            values = {o.value for o in (*unit.inputs, *unit.outputs) if o is not None}
            outer = (value for value in values if value.is_graph_input() or value.is_graph_output())
            costs[unit.name][INT8] += sum(map(measurer.transpose, outer))
    labels = assign(costs, _borders(units, measurer), (INT8, FLOAT32))
    return frozenset(name for name, label in labels.items() if label == INT8)


def _borders(units: Sequence[Unit], measurer: Measurer) -> Iterator[Border]:
    makers = {operand.value: unit.name for unit in units for operand in unit.outputs}
    for unit in units:
        for value in dict.fromkeys(o.value for o in unit.inputs if o is not None):
            if value in makers:
                yield Border(makers[value], unit.name, measurer.transpose(value))


def _compare(model: QuantizedModel, choice: Choice, measurer: Measurer) -> None:
    """Measure the chosen whole beside all-int8 and all-float, and keep the fastest."""
    variants = {_CHOSEN: choice.integer} | {kernel: preset(model, kernel).integer for kernel in (INT8, FLOAT32)}
    distinct = {name: units for name, units in variants.items() if name == _CHOSEN or units != choice.integer}
    if len(distinct) == 1:
        return
    payloads = {name: _lowered(model, units) for name, units in distinct.items()}
    choice.whole = dict(measurer.whole(payloads, budget=_BUDGET))
    if choice.whole:
        choice.integer = distinct[min(choice.whole, key=lambda name: choice.whole[name])]


def _lowered(model: QuantizedModel, integer: frozenset[str]) -> bytes:
    work = model.clone()
    lower(work, integer)
    return serialize(work)
