"""Which op has which integer kernel."""

from __future__ import annotations

from deepseek_backend_cpu.lowering import accumulate, elementwise, moves
from deepseek_backend_cpu.lowering.blocks import BlockKernel
from deepseek_backend_cpu.lowering.kernel import IntegerKernel, mixture
from deepseek_core import Role, Unit

__all__ = ["INTEGER_KERNELS", "computes", "integer_kernel", "integer_problem"]

INTEGER_KERNELS: dict[str, IntegerKernel] = {**accumulate.KERNELS, **elementwise.KERNELS, **moves.KERNELS}
"""Op → its kernel on 8-bit codes."""

_BLOCKS = BlockKernel()


def integer_kernel(unit: Unit) -> IntegerKernel | BlockKernel | None:
    """The kernel that a unit may have, whether its details fit or not."""
    floating = all(operand.qparams is None for operand in unit.operands(Role.DATA))
    return _BLOCKS if floating and unit.op == "MatMul" else INTEGER_KERNELS.get(unit.op)


def integer_problem(unit: Unit, *, normalized: bool = False) -> str | None:
    """Why no integer kernel runs `unit`; None when one does.

    Args:
        normalized: the model is, so int8 and uint8 tensors that still meet in a unit stay as they are.
    """
    kernel = integer_kernel(unit)
    if kernel is None:
        return f"ONNX Runtime has no integer kernel for {unit.op}"
    return kernel.problem(unit) or (mixture(unit) if normalized else None)


def computes(unit: Unit) -> bool:
    """Whether an integer kernel does arithmetic on the unit's codes, rather than move them."""
    return unit.op not in moves.KERNELS and integer_problem(unit) is None
