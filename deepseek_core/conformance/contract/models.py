"""Models for contract cases: units that a target claims around one that nobody does, and control flow."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_core.conformance.case import Skipped
from deepseek_core.conformance.graph import OPSET, GraphWriter, Tensor
from deepseek_core.conformance.numbers.tensors import parameters
from deepseek_core.ir import QuantizedModel
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.scheme import Granularity, QuantScheme
from deepseek_core.target import Capabilities

__all__ = ["FOREIGN", "any_scheme", "foreign_model", "sandwich_model"]

FOREIGN = "ai.deepseek.conformance::Foreign"
"""An op that no target knows."""

_SHAPE = (2, 5)


def any_scheme(capabilities: Capabilities) -> QuantScheme:
    """A per-tensor activation scheme of the table.

    Raises:
        Skipped: there is none.
    """
    for rule in capabilities.rules:
        for kind in (rule.activation, rule.output):
            if isinstance(kind, QuantScheme) and kind.granularity is Granularity.PER_TENSOR:
                return kind
    raise Skipped("the capability table has no quantized activations")


def foreign_model(opset: int = OPSET) -> QuantizedModel:
    """One float unit of an unknown op, named `foreign`."""
    writer = GraphWriter(opset=opset)
    x = writer.feed("x", Tensor(np.zeros(_SHAPE, np.float32)))
    writer.result(_foreign(writer, x))
    return writer.model()


def sandwich_model(scheme: QuantScheme) -> QuantizedModel:
    """Q → [DQ → foreign → Q] → DQ: one claim on both conversions would enclose the foreign unit."""
    writer = GraphWriter()
    qparams = parameters(scheme, _SHAPE, scale=0.05)
    x = writer.feed("x", Tensor(np.zeros(_SHAPE, np.float32)))
    codes = writer.quantize(x, qparams)
    middle = _foreign(writer, writer.dequantize(codes, qparams))
    writer.result(writer.dequantize(writer.quantize(middle, qparams), qparams))
    return writer.model()


def _foreign(writer: GraphWriter, x: ir.Value) -> ir.Value:
    (y,) = writer.node(FOREIGN, [x], name="foreign")
    y.type, y.shape = ir.TensorType(ir.DataType.from_numpy(numpy_dtype(writer.real))), ir.Shape(_SHAPE)
    return y
