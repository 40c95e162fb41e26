"""Small quantized networks with random weights, whose every operation matters to the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import QuantizedModel
from deepseek_core.ir import with_input_shapes

__all__ = ["pooling_network", "residual_network", "transposing_network", "unary_network"]

_OPSET, _IR_VERSION = 21, 10


class _Builder:
    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []
        self._inputs: list[ir.Value] = []

    def input(self, shape: tuple[int, ...]) -> ir.Value:
        value = ir.Value(name="x", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.INT8))
        self._inputs.append(value)
        return value

    def convolution(
        self, codes: ir.Value, inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1
    ) -> ir.Value:
        """Conv, ReLU: codes to codes of scale 0.05."""
        shape = (outputs, inputs // groups, size, size)
        weights = self._rng.integers(-127, 128, shape).astype(np.int8)
        scales = self._rng.uniform(0.7, 1.3, outputs) * 0.8 / np.sqrt(inputs // groups * size * size) / 74
        scales = scales.astype(np.float32)
        bias = self._rng.integers(-500, 500, outputs).astype(np.int32)
        product = (np.float32(_SCALE) * scales).astype(np.float32)
        operands = [
            self._dq(codes, np.float32(_SCALE), np.int8(_ZERO)),
            self._dq(self._constant(weights), scales, np.zeros(outputs, np.int8), axis=0),
            self._dq(self._constant(bias), product, np.zeros(outputs, np.int32), axis=0),
        ]
        pad = size // 2
        real = self._op("Conv", operands, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)
        return self._q(self._op("Relu", [real]))

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        sides = [self._dq(codes, np.float32(_SCALE), np.int8(_ZERO)) for codes in (a, b)]
        return self._q(self._op("Add", sides))

    def unary(
        self,
        op: str,
        codes: ir.Value,
        *,
        scale: float = 0.0,
        result: tuple[float, int] | None = None,
        **attributes: object,
    ) -> ir.Value:
        """One op of one input; scale of the codes, scale and zero point of the result, where they are their own."""
        real = self._dq(codes, np.float32(scale or _SCALE), np.int8(_ZERO))
        return self._q(self._op(op, [real], **attributes), *(result or (_SCALE, _ZERO)))

    def model(self, output: ir.Value) -> QuantizedModel:
        graph = ir.Graph(
            self._inputs, [output], nodes=self._nodes, initializers=self._constants, opset_imports={"": _OPSET}
        )
        return with_input_shapes(QuantizedModel(ir.Model(graph, ir_version=_IR_VERSION)), {})

    def _constant(self, array: NDArray[np.generic]) -> ir.Value:
        name = f"c{len(self._constants)}"
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        self._constants.append(value)
        return value

    def _op(self, op: str, operands: list[ir.Value], **attributes: object) -> ir.Value:
        node = ir.node(op, operands, attributes, name=f"{op.lower()}{len(self._nodes)}")  # type: ignore[arg-type]
        node.outputs[0].name = f"{node.name}.y"
        self._nodes.append(node)
        return node.outputs[0]

    def _dq(self, codes: ir.Value, scale: object, zero: object, **attributes: object) -> ir.Value:
        numbers = [self._constant(np.asarray(number)) for number in (scale, zero)]
        return self._op("DequantizeLinear", [codes, *numbers], **attributes)

    def _q(self, real: ir.Value, scale: float = 0.0, zero: int = 0) -> ir.Value:
        chosen = (np.float32(scale), np.int8(zero)) if scale else (np.float32(_SCALE), np.int8(_ZERO))
        numbers = [self._constant(np.asarray(number)) for number in chosen]
        codes = self._op("QuantizeLinear", [real, *numbers])
        codes.type = ir.TensorType(ir.DataType.INT8)
        return codes


_SCALE, _ZERO = 0.05, -7


def residual_network(seed: int, *, size: int = 24, width: int = 24) -> QuantizedModel:
    """Convolutions, a depthwise one, shortcuts, a table, poolings: codes [1, 3, size, size] to [1, width, 1, 1]."""
    build = _Builder(seed)
    x = build.convolution(build.input((1, 3, size, size)), 3, width, 3, stride=2)
    y = build.convolution(x, width, 2 * width, 1)
    y = build.convolution(y, 2 * width, 2 * width, 3, groups=2 * width)
    x = build.add(x, build.convolution(y, 2 * width, width, 1))
    x = build.unary("HardSwish", x)
    x = build.unary("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = build.add(build.convolution(x, width, width, 3), x)
    return build.model(build.unary("GlobalAveragePool", x))


def pooling_network(*, stride: int) -> QuantizedModel:
    """An average over 3 × 3 with pads: codes [1, 3, 40, 40] to [1, 3, …]."""
    build = _Builder(0)
    attributes: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1, 1, 1, 1]}
    return build.model(build.unary("AveragePool", build.input((1, 3, 40, 40)), **attributes))


def unary_network(
    op: str, shape: tuple[int, ...], *, scale: float, result: tuple[float, int], **attributes: object
) -> QuantizedModel:
    """One op on int8 codes of a scale, with scale and zero point of the result."""
    build = _Builder(0)
    return build.model(build.unary(op, build.input(shape), scale=scale, result=result, **attributes))


def transposing_network(shape: tuple[int, ...], *orders: tuple[int, ...]) -> QuantizedModel:
    """int8 codes through transpositions, one behind the other."""
    build = _Builder(0)
    codes = build.input(shape)
    for order in orders:
        codes = build.unary("Transpose", codes, perm=list(order))
    return build.model(codes)
