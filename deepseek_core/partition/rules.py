"""Check one unit against a capability table, with a reason that a person can act on and what would change it.

A unit is accepted when one rule of its op fits. A target with `any_float` also takes a unit piece by piece: the
op runs in float, and every quantized tensor around it is converted, if some rule of the table has its type.
A lone Q or DQ is such a conversion and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deepseek_core.ir.ops import PASSTHROUGH, Role
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import DQ, Operand, Unit, is_q_or_dq, qparams_of, subgraphs, units
from deepseek_core.partition.limits import accepted, broken_limit
from deepseek_core.partition.types import converts, describe, fits, label
from deepseek_core.scheme import DType, QuantScheme
from deepseek_core.target import Capabilities, OpRule, TensorType

__all__ = ["Objection", "objection", "refusal_reason"]

_BY_QUANTIZER = "as `deepseek quantize` does when this target is its --target"
_CHOICES = "\0"
"""Stands for what is accepted in the text of a change."""


class Objection(NamedTuple):
    """Why a target does not run a unit.

    Attributes:
        reason: names the rule that came closest, what is off, and what would be accepted.
        change: what would make the target take the unit, in the imperative.
    """

    reason: str
    change: str


@dataclass(frozen=True, slots=True)
class _Mismatch:
    """Something that a rule does not accept; `change` says how to mend it, `_CHOICES` standing for what is accepted."""

    subject: str
    found: str
    accepted: str
    change: str


def refusal_reason(unit: Unit, capabilities: Capabilities) -> str | None:
    """Why a target with this table does not run `unit` (see `Objection.reason`); None when it does.

    Raises:
        BackendError: the table itself is wrong.
    """
    found = objection(unit, capabilities)
    return None if found is None else found.reason


def objection(unit: Unit, capabilities: Capabilities) -> Objection | None:
    """Why a target with this table does not run `unit` and what would change that; None when it runs it.

    Raises:
        BackendError: the table itself is wrong.
    """
    found = _environment_objection(unit, capabilities)
    if found is not None:
        return found
    bodies = list(subgraphs(unit.node))
    if bodies:
        return _control_flow_objection(unit, capabilities)
    if is_q_or_dq(unit.node):
        return _conversion_objection(_lone_operand(unit), capabilities)
    rules = capabilities.rules_for(unit.op)
    if any(next(_mismatches(unit, rule, capabilities), None) is None for rule in rules):
        return None
    if capabilities.any_float and unit.op.rpartition("::")[0] in capabilities.float_domains:
        quantized = (o for o in (*unit.inputs, *unit.outputs) if o is not None and o.value is not o.real)
        return next(filter(None, (_conversion_objection(o, capabilities) for o in quantized)), None)
    mismatches = [(rule, list(_mismatches(unit, rule, capabilities))) for rule in rules]
    return _closest(unit, mismatches, capabilities)


def _environment_objection(unit: Unit, capabilities: Capabilities) -> Objection | None:
    graph, newest = unit.node.graph, capabilities.max_opset
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if newest is not None and opset > newest:
        return Objection(
            f"the model has opset {opset} and the target understands up to {newest}; convert it to opset {newest}",
            f"convert the model to opset {newest}",
        )
    if capabilities.dynamic_shapes:
        return None
    for operand in (*unit.operands(Role.DATA), *unit.outputs):
        if operand.shape is None or None in operand.shape:
            shape = (
                "unknown"
                if operand.shape is None
                else f"[{', '.join('?' if d is None else str(d) for d in operand.shape)}]"
            )
            return Objection(
                f"the shape of '{operand.value.name}' is {shape}; the target needs fixed shapes, so fix the input's",
                "fix the shapes of the model's inputs",
            )
    return None


def _control_flow_objection(unit: Unit, capabilities: Capabilities) -> Objection | None:
    if not capabilities.control_flow:
        return Objection(
            f"the target has no control flow, so {unit.op} must run elsewhere",
            f"make the condition or trip count of the {unit.op} a constant, so that importing unfolds it",
        )
    for body in subgraphs(unit.node):
        for inner in units(body, (*unit.path, unit.node.name or "", body.name or "")):
            found = objection(inner, capabilities)
            if found is not None:
                return Objection(f"its body holds '{inner.name}', refused because {found.reason}", found.change)
    return None


def _lone_operand(unit: Unit) -> Operand:
    """The quantized side of a Q or DQ that stands alone."""
    if unit.node.op_type != DQ:
        return unit.outputs[0]
    side = unit.operands(Role.DATA)[0]
    return Operand(side.value, unit.outputs[0].value, Role.DATA, qparams_of(unit.node))


def _conversion_objection(operand: Operand, capabilities: Capabilities) -> Objection | None:
    if converts(operand, capabilities):
        return None
    types = {t for rule in capabilities.rules for t in (rule.activation, rule.output, rule.weight)}
    known = " or ".join(sorted(str(t) for t in types if isinstance(t, QuantScheme)))
    name = operand.value.name
    return Objection(
        f"'{name}' is {describe(operand)}; accepted: {known or 'no quantized type'}",
        f"quantize '{name}' as {known}, {_BY_QUANTIZER}" if known else f"keep '{name}' in float",
    )


def _mismatches(unit: Unit, rule: OpRule, capabilities: Capabilities) -> Iterator[_Mismatch]:
    yield from _input_mismatches(unit, rule)
    yield from _bias_mismatches(unit, rule)
    for operand in unit.outputs:
        is_number = operand.qparams is not None or (operand.dtype is not None and not operand.dtype.is_integer)
        if is_number and not fits(operand, rule.output, unit):
            yield _retyped(operand, rule.output, output=True)
    fused = unit.activation
    if fused is not None and fused.op_type not in rule.fused and not _runs_apart(fused.op_type, rule, capabilities):
        change = (
            f"take {_CHOICES} instead of {fused.op_type}"
            if rule.fused
            else f"let another target run it: {fused.op_type}"
        )
        yield _Mismatch("the activation behind it", fused.op_type, " or ".join(rule.fused) or "none", change)
    for limit in rule.limits:
        broken = broken_limit(unit, limit)
        if broken is not None:
            yield _Mismatch(*broken, accepted(limit), _within(broken[0], broken[1]))
    if unit.op in PASSTHROUGH and not _keeps_codes(unit):
        change = f"give its output {_CHOICES} as its input"
        found = "quantized with other numbers than its input"
        yield _Mismatch("its output", found, "the same scale and zero point", change)


def _input_mismatches(unit: Unit, rule: OpRule) -> Iterator[_Mismatch]:
    weights = unit.operands(Role.WEIGHT)
    if rule.weight is not None and not weights:
        change = f"make its weight a {_CHOICES}"
        yield _Mismatch("its weight", "computed at run time", f"constant {rule.weight}", change)
    for operand in (*unit.operands(Role.DATA), *weights):
        is_weight = operand.role is Role.WEIGHT and rule.weight is not None
        wanted = rule.weight if is_weight and rule.weight is not None else rule.activation
        if not fits(operand, wanted, unit):
            yield _retyped(operand, wanted)


def _retyped(operand: Operand, wanted: TensorType, *, output: bool = False) -> _Mismatch:
    """An operand of another type than the rule's."""
    name, quantized = label(operand, output=output), operand.value is not operand.real
    if isinstance(wanted, QuantScheme):
        change = f"quantize {name} as {_CHOICES}, {_BY_QUANTIZER}"
    else:
        change = (
            f"keep {name} in {_CHOICES}: leave this unit out when quantizing"
            if quantized
            else f"cast {name} to {_CHOICES}"
        )
    return _Mismatch(name, describe(operand), str(wanted), change)


def _within(subject: str, found: str) -> str:
    if found == "unknown before run time":
        return "fix the shapes of the model's inputs"
    return f"change {subject} from {found} to {_CHOICES}"


def _bias_mismatches(unit: Unit, rule: OpRule) -> Iterator[_Mismatch]:
    for operand in unit.operands(Role.BIAS):
        if rule.bias is not DType.INT32:
            if rule.bias is None or not fits(operand, rule.bias, unit):
                change = f"make {label(operand)} {_CHOICES}"
                yield _Mismatch(label(operand), describe(operand), str(rule.bias or "no bias"), change)
        elif operand.qparams is None or operand.qparams.scheme.dtype is not DType.INT32:
            change = f"quantize {label(operand)} as {_CHOICES}, {_BY_QUANTIZER}"
            yield _Mismatch(label(operand), describe(operand), "int32 with scale input × weight", change)
        elif not _adds_to_the_accumulator(operand.qparams, unit):
            change = f"give {label(operand)} the {_CHOICES}, {_BY_QUANTIZER}"
            yield _Mismatch(label(operand), "int32 with a scale of its own", "scale input × weight", change)


def _adds_to_the_accumulator(bias: QParams, unit: Unit) -> bool:
    sides = (*unit.operands(Role.DATA), *unit.operands(Role.WEIGHT))
    scales = [o.qparams.scale.astype(np.float64).reshape(-1) for o in sides if o.qparams is not None]
    if len(scales) != 2 or bias.zero_point.any():
        return False
    product, actual = scales[0] * scales[1], bias.scale.astype(np.float64).reshape(-1)
    if not product.size or actual.size % product.size:
        return False
    # A grouped ConvTranspose has scales for the output channels of one group, and a bias for those of all.
    return np.allclose(actual, np.tile(product, actual.size // product.size), rtol=1e-4, atol=0)


def _runs_apart(op: str, rule: OpRule, capabilities: Capabilities) -> bool:
    """In float, an activation that no rule fuses may still run as an op of its own."""
    return not rule.is_quantized and any(not other.is_quantized for other in capabilities.rules_for(op))


def _keeps_codes(unit: Unit) -> bool:
    data = unit.operands(Role.DATA)
    source = data[0].qparams if data else None
    return source is None or all(o.qparams is None or o.qparams.equals(source) for o in unit.outputs)


def _closest(unit: Unit, found: list[tuple[OpRule, list[_Mismatch]]], capabilities: Capabilities) -> Objection:
    if not found:
        ops = ", ".join(sorted({rule.op for rule in capabilities.rules})) or "no op"
        change = f"express {unit.op} with ops that the target knows, or let another target run it"
        return Objection(f"no rule for {unit.op}; the target knows {ops}", change)
    rule, mismatches = min(found, key=lambda entry: len(entry[1]))
    alike = [other for _, other in found if [m.subject for m in other] == [m.subject for m in mismatches]]
    parts, changes = [], dict[str, None]()
    for position, mismatch in enumerate(mismatches):
        choices = " or ".join(dict.fromkeys(other[position].accepted for other in alike))
        parts.append(f"{mismatch.subject} is {mismatch.found}; accepted: {choices}")
        changes[mismatch.change.replace(_CHOICES, choices)] = None
    return Objection(f"closest rule is {_name(rule)}, but {', and '.join(parts)}", "; ".join(changes))


def _name(rule: OpRule) -> str:
    weight = f", weight {rule.weight}" if rule.weight is not None else ""
    return f"{rule.op}({rule.activation}{weight}) → {rule.output}"
