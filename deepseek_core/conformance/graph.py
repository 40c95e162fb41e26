"""Writes small graphs in canonical QDQ form: every quantized tensor is codes and a DQ (or Q) of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.conformance.forms.base import AttributeValue
from deepseek_core.ir import QParams, QuantizedModel
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.scheme import DType

__all__ = ["IR_VERSION", "OPSET", "Dims", "GraphWriter", "Tensor"]

OPSET = 21
IR_VERSION = 10

Dims = Sequence[int | str]


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Numbers of one tensor.

    Attributes:
        values: codes in the scheme's dtype, or plain numbers where `qparams` is None.
        qparams: how codes become real values.
    """

    values: NDArray[Any]
    qparams: QParams | None = None


class GraphWriter:
    """Builds one graph; `real` is the float type that compute nodes read and write."""

    def __init__(self, name: str = "case", real: DType = DType.FLOAT32, opset: int = OPSET) -> None:
        self.name = name
        self.real = real
        self.opset = opset
        self.inputs: list[ir.Value] = []
        self.outputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []

    def feed(self, name: str, tensor: Tensor, dims: Dims | None = None) -> ir.Value:
        """A graph input; returns the real value behind it."""
        value = self.value(name, tensor.values.dtype, tensor.values.shape if dims is None else dims)
        self.inputs.append(value)
        return value if tensor.qparams is None else self.dequantize(value, tensor.qparams)

    def constant(self, name: str, tensor: Tensor) -> ir.Value:
        """An initializer; returns the real value behind it."""
        value = self.initializer(name, tensor.values)
        return value if tensor.qparams is None else self.dequantize(value, tensor.qparams)

    def initializer(self, name: str, array: NDArray[Any]) -> ir.Value:
        value = self.value(name, array.dtype, array.shape)
        value.const_value = ir.Tensor(np.asarray(array, order="C"), name=name)
        self.initializers.append(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, AttributeValue] | None = None,
        outputs: int = 1,
        name: str = "",
    ) -> tuple[ir.Value, ...]:
        """A compute node under a unique name; its outputs are named after it."""
        name = name or f"{op.lower()}_{len(self.nodes)}"
        values = [ir.Value(name=f"{name}_y{i}" if i else f"{name}_y") for i in range(outputs)]
        domain, _, kind = op.rpartition("::")
        self.nodes.append(ir.node(kind, inputs, dict(attributes or {}), domain=domain, outputs=values, name=name))
        return tuple(values)

    def dequantize(self, value: ir.Value, qparams: QParams, name: str = "") -> ir.Value:
        """A DQ behind `value`; `name` tells it from others behind the same one."""
        name = name or value.name or ""
        real = self.value(f"{name}_real", numpy_dtype(self.real), value.shape)
        self._convert("DequantizeLinear", value, real, qparams, f"{name}_dq")
        return real

    def quantize(self, value: ir.Value, qparams: QParams) -> ir.Value:
        """A Q behind `value`."""
        codes = self.value(f"{value.name}_q", numpy_dtype(qparams.scheme.dtype), value.shape)
        self._convert("QuantizeLinear", value, codes, qparams, f"{value.name}_q")
        return codes

    def result(self, value: ir.Value) -> None:
        """Make `value` a graph output."""
        self.outputs.append(value)

    def graph(self) -> ir.Graph:
        return ir.Graph(
            self.inputs,
            self.outputs,
            nodes=self.nodes,
            initializers=self.initializers,
            opset_imports={"": self.opset, **{n.domain: 1 for n in self.nodes if n.domain}},
            name=self.name,
        )

    def model(self) -> QuantizedModel:
        return QuantizedModel(ir.Model(self.graph(), ir_version=IR_VERSION, producer_name="deepseek-conformance"))

    def value(self, name: str, dtype: Any, dims: Dims | ir.Shape | None) -> ir.Value:
        """A typed value; None for a shape that is not known yet."""
        shape = None if dims is None else ir.Shape(dims)
        return ir.Value(name=name, shape=shape, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))

    def _convert(self, op: str, source: ir.Value, result: ir.Value, qparams: QParams, name: str) -> None:
        scheme = qparams.scheme
        scale = self.initializer(f"{name}_scale", qparams.scale.astype(numpy_dtype(self.real)))
        zero = self.initializer(f"{name}_zero_point", qparams.zero_point)
        numbers = {"axis": scheme.axis, "block_size": scheme.block_size}
        attributes = [ir.AttrInt64(key, value) for key, value in numbers.items() if value is not None]
        self.nodes.append(ir.Node("", op, [source, scale, zero], attributes, outputs=[result], name=name))
