"""Check one unit against a capability table, with a reason that a person can act on.

A unit is accepted when one rule of its op fits. A target with `any_float` also takes a unit piece by piece: the
op runs in float, and every quantized tensor around it is converted, if some rule of the table has its type.
A lone Q or DQ is such a conversion and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deepseek_core.ir.ops import PASSTHROUGH, Role
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import DQ, Operand, Unit, is_q_or_dq, qparams_of, subgraphs, units
from deepseek_core.partition.limits import accepted, broken_limit
from deepseek_core.partition.types import converts, describe, fits, label
from deepseek_core.scheme import DType, QuantScheme
from deepseek_core.target import Capabilities, OpRule

__all__ = ["refusal_reason"]


@dataclass(frozen=True, slots=True)
class _Mismatch:
    subject: str
    found: str
    accepted: str


def refusal_reason(unit: Unit, capabilities: Capabilities) -> str | None:
    """Why a target with this table does not run `unit`; None when it does.

    Returns:
        A sentence that names the rule that came closest, what is off, and what would be accepted.

    Raises:
        BackendError: the table itself is wrong.
    """
    reason = _environment_reason(unit, capabilities)
    if reason is not None:
        return reason
    bodies = list(subgraphs(unit.node))
    if bodies:
        return _control_flow_reason(unit, capabilities)
    if is_q_or_dq(unit.node):
        return _conversion_reason(_lone_operand(unit), capabilities)
    rules = capabilities.rules_for(unit.op)
    if any(next(_mismatches(unit, rule, capabilities), None) is None for rule in rules):
        return None
    if capabilities.any_float and unit.op.rpartition("::")[0] in capabilities.float_domains:
        quantized = (o for o in (*unit.inputs, *unit.outputs) if o is not None and o.value is not o.real)
        return next(filter(None, (_conversion_reason(o, capabilities) for o in quantized)), None)
    mismatches = [(rule, list(_mismatches(unit, rule, capabilities))) for rule in rules]
    return _closest(unit, mismatches, capabilities)


def _environment_reason(unit: Unit, capabilities: Capabilities) -> str | None:
    graph, newest = unit.node.graph, capabilities.max_opset
    opset = graph.opset_imports.get("", 0) if graph is not None else 0
    if newest is not None and opset > newest:
        return f"the model has opset {opset} and the target understands up to {newest}; convert it to opset {newest}"
    if capabilities.dynamic_shapes:
        return None
    for operand in (*unit.operands(Role.DATA), *unit.outputs):
        if operand.shape is None or None in operand.shape:
            shape = "unknown" if operand.shape is None else [("?" if d is None else d) for d in operand.shape]
            return f"the shape of '{operand.value.name}' is {shape}; the target needs fixed shapes, so fix the input's"
    return None


def _control_flow_reason(unit: Unit, capabilities: Capabilities) -> str | None:
    if not capabilities.control_flow:
        return f"the target has no control flow, so {unit.op} must run elsewhere"
    for body in subgraphs(unit.node):
        for inner in units(body, (*unit.path, unit.node.name or "", body.name or "")):
            reason = refusal_reason(inner, capabilities)
            if reason is not None:
                return f"its body holds '{inner.name}', refused because {reason}"
    return None


def _lone_operand(unit: Unit) -> Operand:
    """The quantized side of a Q or DQ that stands alone."""
    if unit.node.op_type != DQ:
        return unit.outputs[0]
    side = unit.operands(Role.DATA)[0]
    return Operand(side.value, unit.outputs[0].value, Role.DATA, qparams_of(unit.node))


def _conversion_reason(operand: Operand, capabilities: Capabilities) -> str | None:
    if converts(operand, capabilities):
        return None
    types = {t for rule in capabilities.rules for t in (rule.activation, rule.output, rule.weight)}
    known = sorted(str(t) for t in types if isinstance(t, QuantScheme))
    return f"'{operand.value.name}' is {describe(operand)}; accepted: {' or '.join(known) or 'no quantized type'}"


def _mismatches(unit: Unit, rule: OpRule, capabilities: Capabilities) -> Iterator[_Mismatch]:
    yield from _input_mismatches(unit, rule)
    yield from _bias_mismatches(unit, rule)
    for operand in unit.outputs:
        is_number = operand.qparams is not None or (operand.dtype is not None and not operand.dtype.is_integer)
        if is_number and not fits(operand, rule.output, unit):
            yield _Mismatch(label(operand, output=True), describe(operand), str(rule.output))
    fused = unit.activation
    if fused is not None and fused.op_type not in rule.fused and not _runs_apart(fused.op_type, rule, capabilities):
        yield _Mismatch("the activation behind it", fused.op_type, " or ".join(rule.fused) or "none")
    for limit in rule.limits:
        broken = broken_limit(unit, limit)
        if broken is not None:
            yield _Mismatch(*broken, accepted(limit))
    if unit.op in PASSTHROUGH and not _keeps_codes(unit):
        yield _Mismatch("its output", "quantized with other numbers than its input", "the same scale and zero point")


def _input_mismatches(unit: Unit, rule: OpRule) -> Iterator[_Mismatch]:
    weights = unit.operands(Role.WEIGHT)
    if rule.weight is not None and not weights:
        yield _Mismatch("its weight", "computed at run time", f"constant {rule.weight}")
    for operand in (*unit.operands(Role.DATA), *weights):
        is_weight = operand.role is Role.WEIGHT and rule.weight is not None
        wanted = rule.weight if is_weight and rule.weight is not None else rule.activation
        if not fits(operand, wanted, unit):
            yield _Mismatch(label(operand), describe(operand), str(wanted))


def _bias_mismatches(unit: Unit, rule: OpRule) -> Iterator[_Mismatch]:
    for operand in unit.operands(Role.BIAS):
        if rule.bias is not DType.INT32:
            if rule.bias is None or not fits(operand, rule.bias, unit):
                yield _Mismatch(label(operand), describe(operand), str(rule.bias or "no bias"))
        elif operand.qparams is None or operand.qparams.scheme.dtype is not DType.INT32:
            yield _Mismatch(label(operand), describe(operand), "int32 with scale input × weight")
        elif not _adds_to_the_accumulator(operand.qparams, unit):
            yield _Mismatch(label(operand), "int32 with a scale of its own", "scale input × weight")


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


def _closest(unit: Unit, found: list[tuple[OpRule, list[_Mismatch]]], capabilities: Capabilities) -> str:
    if not found:
        ops = sorted({rule.op for rule in capabilities.rules})
        return f"no rule for {unit.op}; the target knows {', '.join(ops) or 'no op'}"
    rule, mismatches = min(found, key=lambda entry: len(entry[1]))
    alike = [other for _, other in found if [m.subject for m in other] == [m.subject for m in mismatches]]
    parts = []
    for position, mismatch in enumerate(mismatches):
        choices = dict.fromkeys(other[position].accepted for other in alike)
        parts.append(f"{mismatch.subject} is {mismatch.found}; accepted: {' or '.join(choices)}")
    return f"closest rule is {_name(rule)}, but {', and '.join(parts)}"


def _name(rule: OpRule) -> str:
    weight = f", weight {rule.weight}" if rule.weight is not None else ""
    return f"{rule.op}({rule.activation}{weight}) → {rule.output}"
