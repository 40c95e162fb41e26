"""The ways a unit can run, with what each costs."""

from __future__ import annotations

from math import prod

import numpy as np

from deepseek_backend_arm.capabilities import capabilities
from deepseek_backend_arm.lowering.products import sums_codes
from deepseek_backend_arm.lowering.weights import rows_of, tight
from deepseek_backend_arm.selection import Product, ranked
from deepseek_backend_arm.targets import cpu_of
from deepseek_core import Cost, KernelCandidate, Role, Target, Unit
from deepseek_core.partition import roofline

__all__ = ["candidates"]


def candidates(unit: Unit, target: Target) -> list[KernelCandidate]:
    """The kernel that the compiler takes by itself first; more than one where codes meet constant codes."""
    if not _is_product(unit):
        name = "depthwise" if unit.op == "Conv" else unit.op.lower()
        return [KernelCandidate(name, roofline([unit], capabilities(target)))]
    cpu = cpu_of(target)
    ordered, seconds, basis = ranked(_product(unit), cpu.level)
    return [
        KernelCandidate(name, Cost.of(seconds[name] / cpu.cores, basis), options={"kernels": name}) for name in ordered
    ]


def _is_product(unit: Unit) -> bool:
    if unit.op not in ("Conv", "Gemm", "MatMul") or not sums_codes(unit) or _is_depthwise(unit):
        return False
    return any(operand.value.const_value is not None for operand in unit.operands(Role.WEIGHT))


def _is_depthwise(unit: Unit) -> bool:
    shapes = [operand.shape or () for operand in unit.operands(Role.WEIGHT)]
    return unit.op == "Conv" and any(unit.node.attributes.get_int("group", 1) == s[0] and s[1] == 1 for s in shapes)


def _product(unit: Unit) -> Product:
    rows = rows_of(unit)
    elements = prod(size or 1 for size in unit.outputs[0].shape or ())
    flags = np.concatenate([tight(part) for part in rows])
    return Product.of(elements // (rows[0].shape[0] * len(rows)), rows, flags)
