"""Gemm and MatMul of real numbers with weights as codes of 8 or 4 bits."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.codes import activation_bounds
from deepseek_backend_rocm.lowering.emitter import Emitter, qparams_for
from deepseek_core import Granularity, Operand, QParams, Role, Unit
from deepseek_core.lowering import canonical, constant_of, shape_of

__all__ = ["is_weight_only", "lower_weight_only", "weight_only_problem"]

_BLOCK = 32
"""Places that the kernel takes in one go."""
_TYPES = {"float32": "fp32", "float16": "fp16"}


def is_weight_only(unit: Unit) -> bool:
    """Whether a product has codes for weights and real numbers for all else."""
    weights = unit.operands(Role.WEIGHT)
    return bool(weights) and weights[0].qparams is not None and unit.operands(Role.DATA)[0].qparams is None


def weight_only_problem(unit: Unit) -> str | None:
    """Why a product that the table accepts is not built; None when it is."""
    (w,) = unit.operands(Role.WEIGHT)
    if len(shape_of(w)) != 2:
        return "its weights are no matrix"
    columns = shape_of(unit.outputs[0])[-1]
    if any(bias.value.const_value is None for bias in unit.operands(Role.BIAS)):
        return "its bias is computed at run time"
    if any(prod(shape_of(bias)) not in (1, columns) for bias in unit.operands(Role.BIAS)):
        return "its bias differs from row to row"
    scheme = qparams_for(w).scheme
    if scheme.granularity is Granularity.PER_BLOCK and (scheme.axis or 0) % 2 != _summed_axis(unit):
        return "its blocks do not lie along the summed axis"
    return None


def lower_weight_only(unit: Unit, emitter: Emitter) -> None:
    """Emit the kernel."""
    (x,), (w,), y = unit.operands(Role.DATA), unit.operands(Role.WEIGHT), unit.outputs[0]
    shape, qparams = shape_of(x), qparams_for(w)
    source = emitter.ordered(emitter.tensor(x.value), canonical(len(shape)))
    result = emitter.new(source.dtype, shape_of(y))
    emitter.define(y.value, result)
    codes = _by_channel(constant_of(w.value).astype(np.int32), unit)
    bits = qparams.scheme.dtype.bits
    scale, zero = _tables(qparams, codes.shape, unit)
    lowest = -8 if bits == 4 and qparams.scheme.dtype.is_signed else 0
    packed, pitch = _packed(codes - lowest, bits)
    block = qparams.scheme.block_size or codes.shape[1]
    places = {"x": source, "y": result, "w": emitter.constant(packed), "scale": emitter.constant(scale)}
    places["zero"] = emitter.constant((zero - lowest).astype(np.int8))
    places["bias"] = emitter.constant(_bias(unit.operands(Role.BIAS), codes.shape[0]))
    values = {"m": prod(shape[:-1]), "n": codes.shape[0], "k": codes.shape[1], "pitch": pitch, "block": block}
    element, bounds = _TYPES[source.dtype], activation_bounds(unit)
    emitter.emit(
        "weight_only",
        places,
        {**values, "low": bounds["real_low"], "high": bounds["real_high"]},
        constants={"BITS": bits, "EXACT": element == "fp32"},
        types={"x": element, "w": "i8" if bits == 8 else "u8", "y": element},
    )


def _summed_axis(unit: Unit) -> int:
    """Axis of the weights along which products are summed."""
    return 1 if unit.node.attributes.get_int("transB", 0) else 0


def _by_channel(matrix: NDArray[np.int32], unit: Unit) -> NDArray[np.int32]:
    """[channels, places]."""
    return matrix if _summed_axis(unit) == 1 else matrix.T


def _tables(qparams: QParams, shape: tuple[int, ...], unit: Unit) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Scales and zero points [blocks, channels]."""
    scale, zero = qparams.scale.astype(np.float32), qparams.zero_point.astype(np.int32)
    if qparams.scheme.granularity is Granularity.PER_BLOCK:
        return (scale.T, zero.T) if _summed_axis(unit) == 1 else (scale, zero)
    rows = (1, shape[0])
    return np.broadcast_to(scale.reshape(1, -1), rows), np.broadcast_to(zero.reshape(1, -1), rows)


def _packed(codes: NDArray[np.int32], bits: int) -> tuple[NDArray[np.generic], int]:
    """Rows with a multiple of 32 places, of 4 bits two in a byte, from 0 on; what is missing meets no input."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % _BLOCK)))
    if bits == 8:
        return padded.astype(np.int8), padded.shape[1]
    halves = padded.reshape(len(padded), -1, 2, _BLOCK // 2)
    return (halves[:, :, 0] | halves[:, :, 1] << 4).astype(np.uint8).reshape(len(padded), -1), padded.shape[1]


def _bias(operands: tuple[Operand, ...], channels: int) -> NDArray[np.float32]:
    values = constant_of(operands[0].value).reshape(-1) if operands else np.zeros(1)
    return np.ascontiguousarray(np.broadcast_to(values.astype(np.float32), (channels,)))
