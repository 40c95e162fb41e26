"""A float model as the sequence of steps a recipe decides about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import Role, info, moves_only, roles
from deepseek_core.ir.units import Unit, subgraphs
from deepseek_core.partition.limits import accepted, broken_limit
from deepseek_core.scheme import Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule

__all__ = ["Step", "steps_of"]


@dataclass(slots=True, eq=False)
class Step:
    """A unit that may be quantized, with the rules that fit it.

    Attributes:
        unit: the float unit; its activation counts only when `fused` is True.
        rules: quantized rules that fit, in order of preference.
        reason: why there is none.
    """

    unit: Unit
    fused: bool
    rules: tuple[OpRule, ...] = ()
    reason: str = ""
    nodes: tuple[ir.Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        extra = (self.unit.activation,) if self.fused and self.unit.activation is not None else ()
        self.nodes = (self.unit.node, *extra)

    @property
    def name(self) -> str:
        """Name of the compute node: what a recipe calls the unit, unique over the model with its bodies."""
        return self.unit.node.name or ""

    @property
    def accumulates(self) -> bool:
        return info(self.unit.op).accumulates

    @property
    def moves_only(self) -> bool:
        """The output keeps the scale and zero point of the input."""
        return moves_only(self.unit.node)

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        return tuple(self.nodes[-1].outputs)

    def inputs(self, role: Role) -> list[tuple[int, ir.Value]]:
        """(position, value) of the inputs of one role."""
        found = zip(roles(self.unit.node), self.unit.node.inputs, strict=True)
        return [(i, value) for i, (kind, value) in enumerate(found) if kind is role and value is not None]

    @property
    def data(self) -> list[ir.Value]:
        """Data inputs that are computed or fed; constant ones are left out."""
        return [value for _, value in self.inputs(Role.DATA) if value.const_value is None]


def steps_of(
    model: QuantizedModel,
    tables: Sequence[Capabilities],
    unit_tables: Mapping[str, Sequence[Capabilities]] | None = None,
) -> list[Step]:
    """Steps of the main graph and of every body in topological order, with the rules of the first table that fits.

    An activation that no rule fuses becomes a step of its own. `unit_tables` has the units that other tables
    decide about.
    """
    found: list[Step] = []
    for unit in model.all_units():
        if next(subgraphs(unit.node), None) is not None:
            found.append(Step(unit, False, reason=f"{unit.op} only runs its bodies, whose units are steps themselves"))
            continue
        chosen = (unit_tables or {}).get(unit.node.name or "", tables)
        rules, reason = _fitting(unit, chosen, with_activation=True)
        if not rules and unit.activation is not None:
            alone, alone_reason = _fitting(unit, chosen, with_activation=False)
            found.append(Step(unit, False, alone, alone_reason))
            rest = Unit(unit.activation, None, (), (), (unit.activation,))
            found.append(Step(rest, False, *_fitting(rest, chosen, with_activation=False)))
        else:
            found.append(Step(unit, unit.activation is not None, rules, reason))
    return found


def _fitting(unit: Unit, tables: Iterable[Capabilities], *, with_activation: bool) -> tuple[tuple[OpRule, ...], str]:
    reason = f"no target declares a quantized {unit.op}"
    for table in tables:
        rules = []
        for rule in (r for r in table.rules_for(unit.op) if r.is_quantized):
            misfit = _misfit(unit, rule, with_activation=with_activation)
            if misfit is None:
                rules.append(rule)
            else:
                reason = f"{table.target}: {misfit}"
        if rules:
            return tuple(rules), ""
    return (), reason


def _misfit(unit: Unit, rule: OpRule, *, with_activation: bool) -> str | None:
    """Why a float unit cannot take the types of `rule`; None when it can."""
    step = Step(unit, False)
    weights = step.inputs(Role.WEIGHT)
    if any(value.dtype not in (ir.DataType.FLOAT, None) for value in step.data):
        return f"{unit.op} on {step.data[0].dtype} data is left as it is"
    if weights and rule.weight is None:
        return f"{unit.op} with a constant weight has no quantized rule"
    if rule.weight is not None and not weights:
        return f"{unit.op} without a constant weight has no quantized rule"
    if with_activation and unit.activation is not None and unit.activation.op_type not in rule.fused:
        return f"{unit.op} does not fuse {unit.activation.op_type}"
    if isinstance(rule.weight, QuantScheme) and not _weight_fits(unit, rule.weight, weights[0][1]):
        return f"weight of {unit.op} cannot be quantized {rule.weight.granularity}"
    for limit in rule.limits:
        broken = broken_limit(unit, limit)
        if broken is not None:
            return f"{broken[0]} of {unit.op} is {broken[1]}, accepted: {accepted(limit)}"
    return None


def _weight_fits(unit: Unit, scheme: QuantScheme, weight: ir.Value) -> bool:
    if weight.const_value is None or weight.const_value.dtype != ir.DataType.FLOAT:
        return False
    shape = weight.const_value.shape
    if scheme.granularity is Granularity.PER_CHANNEL and unit.op == "ConvTranspose":
        return unit.node.attributes.get_int("group", 1) == 1  # one axis cannot tell the groups' channels apart
    return scheme.granularity is Granularity.PER_TENSOR or len(shape) >= 2
