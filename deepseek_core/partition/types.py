"""Does a tensor have the type that a capability table asks for?"""

from __future__ import annotations

import numpy as np

from deepseek_core.ir.ops import Role, channel_axis
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import Operand, Unit
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, TensorType

__all__ = ["converts", "describe", "fits", "label", "scheme_fits"]


def fits(operand: Operand, wanted: TensorType, unit: Unit) -> bool:
    """Whether an operand of `unit` has the type `wanted`; an asymmetric scheme takes symmetric numbers too.

    `narrow_range` is checked on constants only: the graph does not say which codes an activation avoids.
    """
    if not isinstance(wanted, QuantScheme):
        return operand.qparams is None and operand.value is operand.real and operand.dtype is wanted
    if operand.qparams is None:
        return False
    axis = channel_axis(unit.node) if operand.role is Role.WEIGHT else None
    rank = None if operand.shape is None else len(operand.shape)
    return scheme_fits(operand.qparams, wanted, axis, rank) and (not wanted.narrow_range or _is_narrow(operand))


def scheme_fits(actual: QParams, wanted: QuantScheme, channel: int | None = None, rank: int | None = None) -> bool:
    """Whether parameters obey a scheme of a table.

    Args:
        channel: what `axis=None` of a per-channel scheme stands for; None takes any axis.
        rank: of the tensor, to compare negative axes.
    """
    scheme = actual.scheme
    if (scheme.dtype, scheme.granularity, scheme.block_size) != (wanted.dtype, wanted.granularity, wanted.block_size):
        return False
    if wanted.symmetric and not _is_symmetric(actual):
        return False
    if scheme.granularity is Granularity.PER_TENSOR:
        return True
    axis = wanted.axis
    if axis is None and scheme.granularity is Granularity.PER_CHANNEL:
        axis = channel
    return axis is None or _same_axis(scheme.axis, axis, rank)


def converts(operand: Operand, capabilities: Capabilities) -> bool:
    """Whether a target that has this type in any rule can quantize or dequantize the operand on its own."""
    wanted = {t for rule in capabilities.rules for t in (rule.activation, rule.output, rule.weight) if t is not None}
    schemes = [t for t in wanted if isinstance(t, QuantScheme)]
    if operand.dtype is DType.INT32:  # a quantized bias: part of every integer kernel
        return bool(schemes)
    if operand.qparams is None:
        return any(scheme.dtype is operand.dtype for scheme in schemes)
    return any(scheme_fits(operand.qparams, scheme) for scheme in schemes)


def describe(operand: Operand) -> str:
    """The operand's type in words."""
    if operand.qparams is not None:
        return str(operand.qparams.scheme)
    if operand.value is not operand.real:
        return f"{operand.dtype or 'quantized'} with a scale computed at run time"
    known = operand.dtype or (operand.value.dtype.name.lower() if operand.value.dtype is not None else None)
    return str(known) if known is not None else "of unknown type"


def label(operand: Operand, *, output: bool = False) -> str:
    """The operand in words: `weight 'conv1.w'`."""
    kinds = {Role.DATA: "input", Role.WEIGHT: "weight", Role.BIAS: "bias", Role.AUX: "input"}
    return f"{'output' if output else kinds[operand.role]} '{operand.value.name}'"


def _is_symmetric(actual: QParams) -> bool:
    dtype = actual.scheme.dtype
    middle = 0 if dtype.is_signed else 2 ** (dtype.bits - 1)
    return bool((actual.zero_point.astype(np.float32) == middle).all())


def _is_narrow(operand: Operand) -> bool:
    tensor, qparams = operand.value.const_value, operand.qparams
    if tensor is None or qparams is None:
        return True
    return bool((tensor.numpy().astype(np.float32) > qparams.scheme.dtype.range[0]).all())


def _same_axis(one: int | None, other: int, rank: int | None) -> bool:
    if one is None or one == other:
        return one is not None
    return rank is not None and one % rank == other % rank
