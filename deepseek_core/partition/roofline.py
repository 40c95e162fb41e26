"""Analytic cost of units on a device known by three figures: arithmetic rate, bandwidth, launch time.

The roofline model (Williams, Waterman and Patterson, CACM 2009): a unit takes as long as the slower of its
arithmetic and its memory traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from deepseek_core.cost import Basis, Cost
from deepseek_core.ir.ops import Role, channel_axis
from deepseek_core.ir.units import Operand, Unit, subgraphs, units
from deepseek_core.partition.graph import captured
from deepseek_core.target import Capabilities

__all__ = ["constant_bytes", "macs", "roofline", "unit_macs", "value_bytes"]

_CEILING = 2**62
"""Counts stop here: shapes in a file can multiply to numbers that no float holds."""


def roofline(group: Sequence[Unit], capabilities: Capabilities) -> Cost:
    """Cost of `group` as one part, one launch included.

    Unknown dimensions and the trip counts of loops count as 1. `peak_macs` holds for 8-bit operands; wider
    ones take proportionally longer, narrower ones save memory traffic only.
    """
    seconds, traffic = capabilities.launch, 0
    for unit in _with_bodies(group):
        unit_bytes = _unit_bytes(unit)
        arithmetic = macs(unit) * _slowdown(unit) / capabilities.peak_macs
        seconds += max(arithmetic, unit_bytes / capabilities.bandwidth)
        traffic = min(traffic + unit_bytes, _CEILING)
    return Cost.of(min(seconds, float(_CEILING)), Basis.ANALYTIC, bytes=traffic)


def macs(unit: Unit) -> int:
    """Multiply-accumulates of a unit; 0 for ops that do not accumulate."""
    data = unit.operands(Role.DATA)
    factors = (*unit.operands(Role.WEIGHT), *data[1:])
    if not data or not factors:
        return 0
    kernel, out = _sizes(factors[0]), _sizes(unit.outputs[0])
    match unit.op:
        case "Conv":  # every output element reads one filter: [C / group, k…]
            return _product((*out, *kernel[1:]))
        case "ConvTranspose":  # every input element feeds one filter: [M / group, k…]
            return _product((*_sizes(data[0]), *kernel[1:]))
        case "Gemm" | "MatMul":
            return _product((*out, _reduced(unit, kernel)))
        case _:
            return 0


def unit_macs(unit: Unit) -> int:
    """Multiply-accumulates of a unit with its bodies, each body once."""
    return min(sum(macs(each) for each in _with_bodies([unit])), _CEILING)


def constant_bytes(unit: Unit) -> int:
    """Storage of the constants that a unit brings to its device, those of its bodies included."""
    found: set[ir.Value] = set()
    for node in unit.nodes:
        found.update(value for value in (*node.inputs, *captured(node)) if value is not None and _is_constant(value))
        pending = list(subgraphs(node))
        while pending:
            body = pending.pop()
            found.update(body.initializers.values())
            pending.extend(inner for child in body for inner in subgraphs(child))
    return min(sum(map(value_bytes, found)), _CEILING)


def _is_constant(value: ir.Value) -> bool:
    return value.is_initializer() or value.const_value is not None


def value_bytes(value: ir.Value) -> int:
    """Storage of a value; unknown dimensions count as 1, an unknown type as 4 bytes."""
    sizes = () if value.shape is None else tuple(d if isinstance(d, int) else 1 for d in value.shape)
    width = value.dtype.bitwidth if value.dtype is not None and value.dtype is not ir.DataType.STRING else 32
    return min(-(-_product(sizes) * width // 8), _CEILING)


def _with_bodies(group: Iterable[Unit]) -> Iterable[Unit]:
    for unit in group:
        yield unit
        for body in subgraphs(unit.node):
            yield from _with_bodies(units(body))


def _unit_bytes(unit: Unit) -> int:
    operands = {o.value: o for o in (*unit.inputs, *unit.outputs) if o is not None}
    return min(sum(value_bytes(value) for value in operands), _CEILING)


def _slowdown(unit: Unit) -> float:
    widths = [o.dtype.bits for o in unit.operands(Role.DATA) if o.dtype is not None]
    return max(1.0, max(widths, default=32) / 8)


def _reduced(unit: Unit, kernel: tuple[int, ...]) -> int:
    """Length of the summed dimension of a matrix product."""
    if not kernel:
        return 1
    if unit.op == "Gemm":
        return kernel[1 - channel_axis(unit.node)] if len(kernel) == 2 else 1
    return kernel[-2] if len(kernel) > 1 else kernel[0]


def _sizes(operand: Operand) -> tuple[int, ...]:
    return () if operand.shape is None else tuple(1 if size is None else size for size in operand.shape)


def _product(sizes: tuple[int, ...]) -> int:
    return min(math.prod(max(size, 0) for size in sizes), _CEILING)
