"""Numbers of quantized operands, as kernels want them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_core import Operand, QParams, Unit
from deepseek_core.lowering import clip_bounds, code_table

__all__ = [
    "activation_bounds",
    "bounds",
    "is_real",
    "scale_and_zero",
    "through",
    "translated",
]


def scale_and_zero(operand: Operand) -> tuple[float, int]:
    """Of an operand quantized per tensor."""
    qparams = qparams_for(operand)
    return float(qparams.scale.reshape(-1)[0]), int(qparams.zero_point.reshape(-1)[0])


def bounds(unit: Unit) -> tuple[int, int]:
    """Codes that the fused activation lets through; rounding is monotone, so codes clamp as real numbers would."""
    qparams = qparams_for(unit.outputs[0])
    if unit.activation is None:
        return -128, 127
    low, high = clip_bounds(unit.activation)
    first, last = (int(qparams.quantize(np.asarray(bound, np.float32))) for bound in (min(low, high), high))
    return first, last


def is_real(unit: Unit) -> bool:
    """Whether sums of codes leave the unit as real numbers."""
    return any(output.qparams is None for output in unit.outputs)


def activation_bounds(unit: Unit) -> dict[str, float]:
    """Real numbers that the fused activation lets through."""
    low, high = -np.inf, np.inf
    if unit.activation is not None:
        low, high = clip_bounds(unit.activation)
    return {"real_low": low, "real_high": high}


def through(emitter: Emitter, tensor: Tensor, table: NDArray[np.int8]) -> Tensor:
    """The codes that a table of 256 has for those of a tensor."""
    result = emitter.new("int8", tensor.shape, tensor.order)
    emitter.emit("lookup", {"x": tensor, "table": emitter.constants.add(table), "y": result}, {"count": tensor.count})
    return result


def translated(emitter: Emitter, tensor: Tensor, source: QParams, target: QParams) -> Tensor:
    """The same real numbers in other codes."""
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return tensor
    return through(emitter, tensor, code_table(source, target))
