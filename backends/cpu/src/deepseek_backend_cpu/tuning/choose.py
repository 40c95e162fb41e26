"""The choice: measured unit costs, costs of changing the layout between neighbours, a minimum cut, a final check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from deepseek_backend_cpu.kernels import FLOAT32, INT8, estimate
from deepseek_backend_cpu.lowering import integer_problem, lower
from deepseek_backend_cpu.tuning.layout import channels_last_values
from deepseek_backend_cpu.tuning.measurer import Measurer, serialize
from deepseek_backend_cpu.tuning.micro import symbol_sizes
from deepseek_core import Basis, CompileOptions, QuantizedModel, Target, Unit
from deepseek_core.selection import Border, assign

__all__ = ["Choice", "choose", "preset"]

_CHOSEN = "chosen"
_BUDGET = 1.5
"""Seconds for the final comparison of whole models."""


@dataclass(slots=True)
class Choice:
    """What was chosen, and why.

    Attributes:
        integer: names of the units that run in int8.
        basis: where the choice comes from.
        latencies: unit name → seconds by kernel, where known.
        whole: variant of the whole model → seconds.
        payload: the lowered model, when it was built on the way.
    """

    integer: frozenset[str]
    basis: Basis | None = None
    latencies: dict[str, dict[str, float]] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)


def preset(model: QuantizedModel) -> frozenset[str]:
    """Every unit that has an integer kernel."""
    return frozenset(u.name for u in model.all_units() if u.is_quantized and integer_problem(u) is None)


def choose(model: QuantizedModel, target: Target, options: CompileOptions, *, here: bool) -> Choice:
    """Kernels of a normalized model.

    Args:
        here: the target is this machine, so measure; otherwise estimate.
    """
    eligible = preset(model)
    if not here:
        return _estimated(model, eligible, target)
    main = model.units()
    measurer = Measurer(options.threads, symbol_sizes(model), channels_last_values(main))
    wanted = [unit for unit in model.all_units() if unit.name in eligible]
    choice = Choice(eligible, Basis.MEASURED)
    for number, unit in enumerate(wanted):
        options.progress(f"measure {unit.name}", number / max(len(wanted), 1))
        latencies = dict(measurer.unit(unit)) or _estimates(unit, target)
        choice.latencies[unit.name] = latencies
    choice.integer = _cheapest(main, choice, measurer) | (eligible - {unit.name for unit in main})
    _compare(model, choice, eligible, measurer)
    measurer.save()
    return choice


def _estimated(model: QuantizedModel, eligible: frozenset[str], target: Target) -> Choice:
    latencies = {u.name: _estimates(u, target) for u in model.all_units() if u.name in eligible}
    integer = frozenset(name for name, by in latencies.items() if by[INT8] <= by[FLOAT32])
    return Choice(integer, Basis.ANALYTIC, latencies)


def _estimates(unit: Unit, target: Target) -> dict[str, float]:
    return {kernel: estimate(unit, kernel, target).seconds for kernel in (INT8, FLOAT32)}


def _cheapest(units: Sequence[Unit], choice: Choice, measurer: Measurer) -> frozenset[str]:
    costs = {unit.name: dict(choice.latencies.get(unit.name, {FLOAT32: 0.0})) for unit in units}
    outside = [o.value for u in units for o in (*u.inputs, *u.outputs) if o is not None and _is_outside(o.value)]
    edge = set(outside)
    for unit in units:
        images = {o.value for o in (*unit.inputs, *unit.outputs) if o is not None} & edge
        if INT8 in costs[unit.name]:
            costs[unit.name][INT8] += sum(map(measurer.transpose, images))
    labels = assign(costs, _borders(units, measurer), (INT8, FLOAT32))
    return frozenset(name for name, label in labels.items() if label == INT8)


def _is_outside(value: ir.Value) -> bool:
    return value.is_graph_input() or value.is_graph_output()


def _borders(units: Sequence[Unit], measurer: Measurer) -> Iterator[Border]:
    makers = {operand.value: unit.name for unit in units for operand in unit.outputs}
    for unit in units:
        for value in dict.fromkeys(o.value for o in unit.inputs if o is not None):
            if value in makers:
                yield Border(makers[value], unit.name, measurer.transpose(value))


def _compare(model: QuantizedModel, choice: Choice, eligible: frozenset[str], measurer: Measurer) -> None:
    """Measure the chosen whole beside all-int8 and all-float, and keep the fastest."""
    variants = {_CHOSEN: choice.integer, INT8: eligible, FLOAT32: frozenset[str]()}
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
