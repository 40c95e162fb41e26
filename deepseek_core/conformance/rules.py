"""The rules that cases are generated from: a table's own, and those it implies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deepseek_core.conformance.forms import FAMILIES
from deepseek_core.ir.ops import info
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule, TensorType

__all__ = ["labelled_rules"]

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def labelled_rules(capabilities: Capabilities) -> Iterator[tuple[OpRule, str]]:
    """Rules with a label for their types that is unique for each op.

    Beside the table's own rules: the conversions it implies (Q and DQ of every activation scheme), and with
    `any_float` every op that the kit knows.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for rule in (*capabilities.rules, *_conversions(capabilities), *_float_rules(capabilities)):
        label = "-".join(_label(t) for t in (rule.activation, rule.weight, rule.output) if t is not None)
        if rule.bias is not None and rule.is_quantized and rule.bias is not DType.INT32:
            label += f"+{rule.bias}_bias"
        seen[rule.op, label] += 1
        count = seen[rule.op, label]
        yield rule, label if count == 1 else f"{label}~{count}"


def _label(kind: TensorType) -> str:
    if not isinstance(kind, QuantScheme):
        return str(kind)
    suffix = {Granularity.PER_TENSOR: "", Granularity.PER_CHANNEL: "pc", Granularity.PER_BLOCK: f"b{kind.block_size}"}
    return f"{kind.dtype}{suffix[kind.granularity]}"


def _conversions(capabilities: Capabilities) -> Iterator[OpRule]:
    """A target that has a scheme in any rule also quantizes and dequantizes (`partition.refusal_reason`)."""
    kinds = (kind for rule in capabilities.rules for kind in (rule.activation, rule.output))
    for scheme in dict.fromkeys(kind for kind in kinds if isinstance(kind, QuantScheme)):
        to_codes = OpRule("QuantizeLinear", DType.FLOAT32, scheme)
        to_reals = OpRule("DequantizeLinear", scheme, DType.FLOAT32)
        yield from (rule for rule in (to_codes, to_reals) if not capabilities.rules_for(rule.op))


def _float_rules(capabilities: Capabilities) -> Iterator[OpRule]:
    if not capabilities.any_float:
        return
    for op in FAMILIES:
        known = {rule.activation for rule in capabilities.rules_for(op)}
        if DType.FLOAT32 in known or op in _CONVERSIONS:
            continue
        spec = info(op)
        weight = DType.FLOAT32 if spec.weight is not None else None
        bias = DType.FLOAT32 if spec.bias is not None else None
        yield OpRule(op, DType.FLOAT32, DType.FLOAT32, weight, bias)
