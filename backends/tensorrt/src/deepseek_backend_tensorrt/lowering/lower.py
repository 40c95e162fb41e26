"""The whole way: kernels as chosen, biases in float, sums fused, precisions, opset, bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.bias import float_biases
from deepseek_backend_tensorrt.lowering.clips import split_clips
from deepseek_backend_tensorrt.lowering.edit import is_dq, is_q
from deepseek_backend_tensorrt.lowering.half import to_half
from deepseek_backend_tensorrt.lowering.opset import lower_opset
from deepseek_backend_tensorrt.lowering.residual import fuse_residuals
from deepseek_backend_tensorrt.lowering.unquantize import unquantize, without_kernels
from deepseek_backend_tensorrt.lowering.weights import real_weights
from deepseek_core import QuantizedModel
from deepseek_core.errors import BackendError

__all__ = ["Lowered", "Lowering", "lower"]

_LARGEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Lowering:
    """What to make of a model.

    Attributes:
        opset: newest opset that the parser reads.
        typed: precisions are in the graph; otherwise flags of the builder say them.
        half: float units run in float16.
        plain: names of quantized units that run in float all the same.
    """

    opset: int = 21
    typed: bool = True
    half: bool = False
    plain: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Lowered:
    """An ONNX file whose nodes keep the names of the model's.

    Attributes:
        data: its bytes.
        has_codes: a Q or DQ is left in it. TensorRT 8.6 starts to calibrate when int8 is allowed and there is none.
    """

    data: bytes
    has_codes: bool


def lower(model: QuantizedModel, lowering: Lowering) -> Lowered:
    """What the parser reads.

    Raises:
        BackendError: the model does not fit the parser's opset, or an ONNX file.
    """
    result = model.clone()
    unquantize(result, {*lowering.plain, *without_kernels(result, typed=lowering.typed)})
    float_biases(result.graph)
    fuse_residuals(result)
    if not lowering.typed:
        split_clips(result)
        real_weights(result)
    if lowering.half and lowering.typed:
        to_half(result.graph)
    lower_opset(result.model, lowering.opset)
    _drop_unused(result.graph)
    size = sum(value.const_value.nbytes for value in result.graph.initializers.values() if value.const_value)
    if size > _LARGEST:
        raise BackendError(
            f"the constants take {size:,} bytes, an ONNX file ends at 2 GiB", fix="place fewer units here"
        )
    data = bytes(ir.to_proto(result.model).SerializeToString(deterministic=True))
    return Lowered(data, any(is_q(node) or is_dq(node) for node in result.graph))


def _drop_unused(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
