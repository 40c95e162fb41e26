"""The formats a unit can have on the targets, and what each means for the values around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from deepseek.quantization.precision import Precision
from deepseek.quantization.work import Work
from deepseek_core import Capabilities, DType, QuantScheme, Recipe, Role, Unit
from deepseek_core.errors import ConfigError
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.quantize import derive_recipe
from deepseek_core.quantize.steps import Step, steps_of

__all__ = ["FLOAT16", "FLOAT32", "Format", "Menu", "menu"]

FLOAT32, FLOAT16 = "float32", "float16"

_QUANTIZED = tuple(precision for precision in Precision if precision is not Precision.MIXED)


@dataclass(frozen=True, slots=True)
class Format:
    """One way a unit can be.

    Attributes:
        name: `float32`, `float16` or a `Precision`.
        reads: computed or fed value → the type it must have: a float type, or a scheme in words.
        makes: value → the types it comes in at no further cost.
        follows: only of use when what it reads is already of that type: it accumulates nothing.
        is_for_readers: only of use when something reads its output in this type.
    """

    name: str
    reads: Mapping[str, str]
    makes: Mapping[str, tuple[str, ...]]
    follows: bool = False
    is_for_readers: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Menu:
    """Formats of every unit of the main graph.

    Attributes:
        units: unit name → its formats, float32 first.
        steps: unit name → names of its compute nodes: more than one where an activation is not fused.
        recipes: quantized format → the recipe with every unit in it.
        outputs: names of the model's outputs, which are read in float32.
    """

    units: Mapping[str, tuple[Format, ...]]
    steps: Mapping[str, tuple[str, ...]]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def menu(work: Work, formats: Iterable[str] | None = None) -> Menu:
    """What the targets' capability tables offer to each unit of a model.

    Args:
        formats: names to consider beside float32; default: all.
    """
    wanted = None if formats is None else frozenset(formats)
    graph = UnitGraph(work.model)
    found: dict[str, list[Format]] = {
        unit.name: [_plain(unit, reads, FLOAT32)] for unit, reads in zip(graph.units, graph.reads, strict=True)
    }
    recipes = {}
    for precision in _QUANTIZED:
        if wanted is not None and precision not in wanted:
            continue
        try:
            tables = work.tables_at(precision)
        except ConfigError:
            continue
        recipe = derive_recipe(work.model, tables, work.calibrator, keep_float=work.kept)
        steps = {step.name: step for step in steps_of(work.model, tables)}
        recipes[str(precision)] = recipe
        for unit in graph.units:
            quantized = _quantized(unit, steps, recipe, str(precision))
            if quantized is not None:
                found[unit.name].append(quantized)
    if wanted is None or FLOAT16 in wanted:
        for unit, reads in zip(graph.units, graph.reads, strict=True):
            if unit.name not in work.kept and any(_runs_half(unit, table) for table in work.capabilities):
                found[unit.name].append(_plain(unit, reads, FLOAT16))
    names = {
        unit.name: tuple(n.name or "" for n in (unit.node, unit.activation) if n is not None) for unit in graph.units
    }
    outputs = tuple(value.name or "" for value in work.model.graph.outputs)
    return Menu({name: tuple(own) for name, own in found.items()}, names, recipes, outputs)


def _plain(unit: Unit, reads: Iterable[ir.Value], name: str) -> Format:
    """A unit in a float type; values of other kinds (indices, masks) do not matter."""
    return Format(
        name,
        {value.name or "": name for value in reads if _is_float(value)},
        {operand.real.name or "": (name,) for operand in unit.outputs if _is_float(operand.real)},
    )


def _quantized(unit: Unit, steps: Mapping[str, Step], recipe: Recipe, name: str) -> Format | None:
    """The unit as a recipe has it; None where the recipe leaves it in float."""
    step = steps.get(unit.node.name or "")
    if step is None or step.name in recipe.skipped:
        return None
    reads = {value.name or "": scheme_of(recipe, value.name or "") or FLOAT32 for value in step.data}
    loose = any(not isinstance(rule.output, QuantScheme) for rule in step.rules)
    makes = {}
    for value in dict.fromkeys((*step.outputs, *(operand.real for operand in unit.outputs))):
        own = scheme_of(recipe, value.name or "") if value in step.outputs else None
        if own is not None or value in {operand.real for operand in unit.outputs}:
            makes[value.name or ""] = (own, FLOAT32) if own and loose else (own or FLOAT32,)
    quantizes = any(kind != FLOAT32 for kind in reads.values())
    return Format(
        name,
        reads,
        makes,
        follows=quantizes and not step.accumulates,
        is_for_readers=not step.accumulates and (step.moves_only or not loose),
    )


def scheme_of(recipe: Recipe, value: str) -> str | None:
    """The scheme of a value in words, through the ops that only move it; None where it stays in float."""
    while value in recipe.shared:
        value = recipe.shared[value]
    entry = recipe.activations.get(value)
    return None if entry is None else str(entry.scheme)


def _runs_half(unit: Unit, table: Capabilities) -> bool:
    """Whether a rule takes the unit in float16, with the activation behind it."""
    weights = unit.operands(Role.WEIGHT)
    for rule in table.rules_for(unit.op):
        types = (rule.activation, rule.output, *((rule.weight,) if weights else ()))
        fused = unit.activation is None or unit.activation.op_type in rule.fused
        if fused and all(kind is DType.FLOAT16 for kind in types):
            return True
    return False


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.FLOAT, None)
