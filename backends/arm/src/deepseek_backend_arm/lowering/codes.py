"""Numbers of quantized operands, as kernels want them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.emitter import Emitter, constant_of, qparams_for
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_core import Operand, QParams, Unit

__all__ = ["CODES", "bounds", "clip_bounds", "scalar", "scale_and_zero", "through", "translated"]

CODES = np.arange(256, dtype=np.uint8).view(np.int8)
"""Every code, in the order of its byte."""


def scale_and_zero(operand: Operand) -> tuple[float, int]:
    """Of an operand quantized per tensor."""
    qparams = qparams_for(operand)
    return float(qparams.scale.reshape(-1)[0]), int(qparams.zero_point.reshape(-1)[0])


def bounds(unit: Unit, output: Operand | None = None) -> tuple[int, int]:
    """Codes that the fused activation lets through; rounding is monotone, so codes clamp as real numbers would."""
    qparams = qparams_for(output or unit.outputs[0])
    if unit.activation is None:
        return -128, 127
    low, high = (0.0, np.inf) if unit.activation.op_type == "Relu" else clip_bounds(unit.activation)
    first, last = (int(qparams.quantize(np.asarray(bound, np.float32))) for bound in (min(low, high), high))
    return first, last


def clip_bounds(node: ir.Node) -> tuple[float, float]:
    """Bounds of a Clip, from its constant inputs or its attributes."""
    low, high = scalar(node, 1), scalar(node, 2)
    low = node.attributes.get_float("min", -np.inf) if low is None else low
    high = node.attributes.get_float("max", np.inf) if high is None else high
    assert low is not None
    assert high is not None
    return low, high


def scalar(node: ir.Node, position: int) -> float | None:
    """A constant input of one element; None where it is left out."""
    value = node.inputs[position] if position < len(node.inputs) else None
    return None if value is None else float(constant_of(value).reshape(-1)[0])


def through(emitter: Emitter, tensor: Tensor, table: NDArray[np.int8]) -> Tensor:
    """The codes that a table of 256 has for those of a tensor."""
    result = emitter.new("int8", tensor.shape, tensor.order)
    emitter.emit("table", {"x": tensor, "table": emitter.constants.add(table), "y": result}, {"count": tensor.count})
    return result


def translated(emitter: Emitter, tensor: Tensor, source: QParams, target: QParams) -> Tensor:
    """The same real numbers in other codes."""
    if (source.scale, source.zero_point) == (target.scale, target.zero_point):
        return tensor
    return through(emitter, tensor, target.quantize(source.dequantize(CODES)))
