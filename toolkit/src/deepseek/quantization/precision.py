"""What a precision means on a target: the rows of its capability table that offer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from deepseek_core import Capabilities, DType, Granularity, OpRule, QuantScheme
from deepseek_core.errors import ConfigError
from deepseek_core.target import TensorType

__all__ = ["Precision", "tables_for"]


class Precision(StrEnum):
    """Types of activations and weights.

    Attributes:
        INT8: 8-bit activations and weights (W8A8).
        INT4: 4-bit weights, float activations (W4A16): in blocks, or per channel where a target has no blocks.
        W4A8: 4-bit weights per channel, 8-bit activations.
        W8A16: 8-bit weights, 16-bit integer activations.
        FP8: float8_e4m3fn activations and weights (Micikevicius et al., 2022).
        MIXED: each unit in the type that a search chose; starts from INT8.
    """

    INT8 = "int8"
    INT4 = "int4"
    W4A8 = "w4a8"
    W8A16 = "w8a16"
    FP8 = "fp8"
    MIXED = "mixed"


_INT16, _INT8, _INT4 = (DType.INT16, DType.UINT16), (DType.INT8, DType.UINT8), (DType.INT4, DType.UINT4)


def tables_for(precision: Precision, tables: Sequence[Capabilities]) -> list[Capabilities]:
    """The tables with only the quantized rules of a precision; float rules stay.

    Among blocks of 4-bit weights, those with zero points come first: at four bits a code that the sign wastes costs
    about 2 dB.

    Raises:
        ConfigError: no table has such a rule for an op with weights.
    """
    fits = _FITS[precision]
    fitting = [[rule for rule in table.rules if not rule.is_quantized or fits(rule)] for table in tables]
    kept = [
        replace(table, rules=tuple(sorted(rules, key=_is_symmetric_block)))
        for table, rules in zip(tables, fitting, strict=True)
    ]
    if not any(rule.is_quantized and rule.weight is not None for table in kept for rule in table.rules):
        names = ", ".join(str(table.target) for table in tables)
        raise ConfigError(f"{names} declares no {precision} rule", fix="choose another precision or target")
    return kept


def _is_symmetric_block(rule: OpRule) -> bool:
    weight = rule.weight
    return isinstance(weight, QuantScheme) and weight.granularity is Granularity.PER_BLOCK and weight.symmetric


def _is(kind: TensorType | None, dtypes: Sequence[DType]) -> bool:
    return isinstance(kind, QuantScheme) and kind.dtype in dtypes


def _int8(rule: OpRule) -> bool:
    return _is(rule.activation, _INT8) and (rule.weight is None or _is(rule.weight, _INT8))


def _int4(rule: OpRule) -> bool:
    return _is(rule.weight, _INT4) and not isinstance(rule.activation, QuantScheme)


def _w4a8(rule: OpRule) -> bool:
    return _is(rule.activation, _INT8) and (rule.weight is None or _is(rule.weight, _INT4))


def _w8a16(rule: OpRule) -> bool:
    return _is(rule.activation, _INT16) and (rule.weight is None or _is(rule.weight, _INT8))


def _fp8(rule: OpRule) -> bool:
    parts = (rule.activation, rule.weight)
    return all(part is None or _is(part, (DType.FLOAT8E4M3FN,)) for part in parts)


_FITS: dict[Precision, Callable[[OpRule], bool]] = {
    Precision.INT8: _int8,
    Precision.INT4: _int4,
    Precision.W4A8: _w4a8,
    Precision.W8A16: _w8a16,
    Precision.FP8: _fp8,
    Precision.MIXED: _int8,
}
