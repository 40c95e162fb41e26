"""The quantized-model IR: onnx-ir in canonical QDQ form plus the meaning of quantization."""

from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.ir.ops import Role, channel_axis
from deepseek_core.ir.qparams import QParams, expand
from deepseek_core.ir.shapes import with_input_shapes
from deepseek_core.ir.units import Operand, Unit, qparams_of, subgraphs, units

__all__ = [
    "Operand",
    "QParams",
    "QuantizedModel",
    "Role",
    "TensorInfo",
    "Unit",
    "channel_axis",
    "expand",
    "qparams_of",
    "subgraphs",
    "units",
    "with_input_shapes",
]
