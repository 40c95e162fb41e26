"""Random quantized units of every kind of kernel: odd sizes, strides, dilations and pads included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_core import QuantizedModel
from deepseek_core.ir import with_input_shapes

__all__ = ["KINDS", "Sample", "sample"]

_OPSET, _IR_VERSION = 21, 10


@dataclass(slots=True)
class Sample:
    """A model whose inputs and outputs are int8 codes.

    Attributes:
        model: QDQ.
        shapes: of its inputs, by name.
        text: sizes, for a report.
    """

    model: QuantizedModel
    shapes: dict[str, tuple[int, ...]]
    text: str

    def feeds(self, seed: int) -> dict[str, Array]:
        """Random codes over the whole range."""
        rng = np.random.default_rng(seed)
        return {name: rng.integers(-128, 128, shape).astype(np.int8) for name, shape in self.shapes.items()}


def sample(kind: str, seed: int) -> Sample:
    """The unit that belongs to a seed."""
    graph = _Graph(np.random.default_rng([seed, *kind.encode()]))
    KINDS[kind](graph, graph.rng)
    return Sample(graph.model(), graph.shapes, graph.text)


@dataclass(slots=True)
class _Graph:
    rng: np.random.Generator
    inputs: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)
    constants: list[ir.Value] = field(default_factory=list)
    outputs: list[ir.Value] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    text: str = ""
    scale: float = 0.05

    def model(self) -> QuantizedModel:
        graph = ir.Graph(
            self.inputs, self.outputs, nodes=self.nodes, initializers=self.constants, opset_imports={"": _OPSET}
        )
        return with_input_shapes(QuantizedModel(ir.Model(graph, ir_version=_IR_VERSION)), {})

    def constant(self, array: Any) -> ir.Value:
        name = f"c{len(self.constants)}"
        numbers = np.asarray(array)
        tensor = ir.tensor(numbers, name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(numbers.shape), type=ir.TensorType(tensor.dtype))
        self.constants.append(value)
        return value

    def data(self, shape: tuple[int, ...]) -> ir.Value:
        """The real value of an input."""
        name = f"x{len(self.inputs)}"
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.INT8))
        self.inputs.append(value)
        self.shapes[name] = shape
        self.scale = float(np.float32(self.rng.uniform(0.005, 0.1)))
        self.text += f" {'×'.join(map(str, shape))}"
        return self.dequantized(value, np.float32(self.scale), np.int8(self.rng.integers(-128, 128)))

    def weight(self, shape: tuple[int, ...], axis: int) -> tuple[ir.Value, Array]:
        """The real value of random weights, and their scales: one, or one a channel."""
        codes = self.rng.integers(-128, 128, shape).astype(np.int8)
        count = shape[axis] if self.rng.random() < 0.7 else 1
        scales = self.rng.uniform(0.001, 0.02, count).astype(np.float32)
        if count == 1:
            return self.dequantized(self.constant(codes), scales[0], np.int8(0)), scales
        return self.dequantized(self.constant(codes), scales, np.zeros(count, np.int8), axis), scales

    def bias(self, scales: Array, channels: int) -> ir.Value:
        values = self.rng.integers(-20000, 20000, channels).astype(np.int32)
        product = (np.float32(self.scale) * scales).astype(np.float32)
        if product.size == 1:
            return self.dequantized(self.constant(values), product[0], np.int32(0))
        return self.dequantized(self.constant(values), product, np.zeros(channels, np.int32), 0)

    def dequantized(self, codes: ir.Value, scale: Any, zero: Any, axis: int | None = None) -> ir.Value:
        operands = [codes, self.constant(scale), self.constant(zero)]
        return self.node("DequantizeLinear", operands, **({} if axis is None else {"axis": axis}))

    def node(self, op: str, operands: Sequence[ir.Value], **attributes: Any) -> ir.Value:
        node = ir.node(op, list(operands), attributes, name=f"{op.lower()}{len(self.nodes)}")
        node.outputs[0].name = f"{node.name}.y"
        self.nodes.append(node)
        return node.outputs[0]

    def quantized(self, real: ir.Value, scale: Any, zero: Any) -> ir.Value:
        codes = self.node("QuantizeLinear", [real, self.constant(np.float32(scale)), self.constant(np.int8(zero))])
        codes.type = ir.TensorType(ir.DataType.INT8)
        return codes

    def requantized(self, real: ir.Value, scale: float, zero: int) -> ir.Value:
        """The real value of its codes."""
        return self.dequantized(self.quantized(real, scale, zero), np.float32(scale), np.int8(zero))

    def finish(self, real: ir.Value, scale: float) -> None:
        """Perhaps a Relu, then codes of about this scale: most of them not saturated."""
        if self.rng.random() < 0.4:
            real = self.node("Relu", [real])
        self.outputs.append(self.quantized(real, scale * self.rng.uniform(0.5, 2), self.rng.integers(-128, 128)))

    def spread(self, scales: Array, depth: int) -> float:
        """Scale that a sum of so many random products needs."""
        return float(self.scale * scales.mean() * 74 * 74 * np.sqrt(depth) / 40)


def _sizes(rng: np.random.Generator, count: int, most: int) -> list[int]:
    return [int(rng.integers(1, most + 1)) for _ in range(count)]


def _aligned(rng: np.random.Generator, size: int) -> int:
    """Every second time a multiple of 16: rows of such a matrix are read in whole vectors."""
    return -(-size // 16) * 16 if rng.random() < 0.5 else size


def _window(rng: np.random.Generator, most: int) -> dict[str, list[int]]:
    kernel = _sizes(rng, 2, most)
    window = {
        "kernel_shape": kernel,
        "strides": _sizes(rng, 2, 3),
        "pads": [int(rng.integers(0, k)) for k in kernel * 2],
    }
    if rng.random() < 0.25:
        window["dilations"] = _sizes(rng, 2, 2)
    return window


def _image(rng: np.random.Generator, channels: int, window: dict[str, list[int]]) -> tuple[int, ...]:
    """An image in which the window has room."""
    dilations = window.get("dilations", [1, 1])
    reach = [(k - 1) * d + 1 for k, d in zip(window["kernel_shape"], dilations, strict=True)]
    return (int(rng.integers(1, 3)), channels, *(r + int(rng.integers(0, 15)) for r in reach))


def _convolution(graph: _Graph, rng: np.random.Generator, *, depthwise: bool = False) -> ir.Value:
    window = _window(rng, 5)
    inputs, outputs = _sizes(rng, 2, 80)
    group = inputs if depthwise else 1
    outputs = inputs if depthwise else outputs
    x = graph.data(_image(rng, inputs, window))
    weight, scales = graph.weight((outputs, inputs // group, *window["kernel_shape"]), 0)
    graph.text += f" to {outputs}, {window}"
    operands = [x, weight, *([graph.bias(scales, outputs)] if rng.random() < 0.8 else [])]
    result = graph.node("Conv", operands, group=group, **window)
    graph.scale = graph.spread(scales, inputs // group * int(np.prod(window["kernel_shape"])))
    return result


def _dense(graph: _Graph, rng: np.random.Generator) -> None:
    graph.finish(_convolution(graph, rng), graph.scale)


def _depthwise(graph: _Graph, rng: np.random.Generator) -> None:
    graph.finish(_convolution(graph, rng, depthwise=True), graph.scale)


def _gemm(graph: _Graph, rng: np.random.Generator) -> None:
    rows, depth, columns = _sizes(rng, 1, 70) + _sizes(rng, 1, 300) + _sizes(rng, 1, 150)
    depth = _aligned(rng, depth)
    turned = int(rng.integers(0, 2))
    x = graph.data((rows, depth))
    weight, scales = graph.weight((columns, depth) if turned else (depth, columns), 0 if turned else 1)
    graph.text += f" to {columns}"
    result = graph.node("Gemm", [x, weight, graph.bias(scales, columns)], transB=turned)
    graph.finish(result, graph.spread(scales, depth))


def _product(graph: _Graph, rng: np.random.Generator) -> None:
    """Of two inputs, as in attention."""
    batch, rows, depth, columns = _sizes(rng, 1, 3) + _sizes(rng, 3, 70)
    one = graph.data((batch, rows, depth))
    first = graph.scale
    other = graph.data((batch, depth, columns))
    graph.finish(graph.node("MatMul", [one, other]), first * graph.scale * 74 * 74 * float(np.sqrt(depth)) / 40)


def _residual(graph: _Graph, rng: np.random.Generator) -> None:
    """A convolution of 1 × 1 with what is added to it."""
    inputs, outputs, height, width = _sizes(rng, 4, 40)
    inputs = _aligned(rng, inputs)
    x = graph.data((1, inputs, height, width))
    weight, scales = graph.weight((outputs, inputs, 1, 1), 0)
    real = graph.node("Conv", [x, weight, graph.bias(scales, outputs)], kernel_shape=[1, 1])
    scale = graph.spread(scales, inputs)
    left = graph.requantized(real, scale, 3)
    graph.finish(graph.node("Add", [left, graph.data((1, outputs, height, width))]), scale + graph.scale)


def _sum(graph: _Graph, rng: np.random.Generator) -> None:
    shape = tuple(_sizes(rng, 3, 30))
    other = tuple(1 if rng.random() < 0.25 else size for size in shape)
    graph.finish(graph.node("Add", [graph.data(shape), graph.data(other)]), 2 * graph.scale)


def _long(graph: _Graph, rng: np.random.Generator) -> None:
    """So many products in each sum that it pays to make them in parts."""
    rows, depth, columns = (int(rng.integers(low, high)) for low, high in ((1, 21), (4000, 12000), (1, 61)))
    x = graph.data((rows, depth))
    weight, scales = graph.weight((depth, columns), 1)
    graph.text += f" to {columns}"
    graph.finish(graph.node("MatMul", [x, weight]), graph.spread(scales, depth))


def _attention(graph: _Graph, rng: np.random.Generator) -> None:
    """Softmax between two products, with a scale and a mask or without."""
    batch, heads, rows, keys = _sizes(rng, 2, 3) + _sizes(rng, 2, 90)
    depth, wide = _sizes(rng, 2, 40)
    q = graph.data((batch, heads, rows, depth))
    first = graph.scale
    k = graph.data((batch, heads, depth, keys))
    spread = first * graph.scale * 74 * 74 * float(np.sqrt(depth))
    scores, way = graph.node("MatMul", [q, k]), int(rng.integers(0, 4))
    if way == 0:
        scores = graph.requantized(scores, spread / 40, int(rng.integers(-20, 20)))
    elif way < 3:
        number = graph.constant(np.float32(spread / 3 if way == 1 else 3 / spread))
        scores = graph.node(("Div", "Mul")[way - 1], [scores, number])
    if way and rng.random() < 0.7:
        shape = (batch, 1, rows if rng.random() < 0.5 else 1, keys)
        mask = np.where(rng.random(shape) < 0.3, -1e4, rng.uniform(-1, 1, shape)).astype(np.float32)
        scores = graph.node("Add", [scores, graph.constant(mask)])
    shares = graph.requantized(graph.node("Softmax", [scores], axis=-1), 1 / 255, -128)
    graph.text += f" {('codes', 'over', 'times', 'plain')[way]}"
    graph.finish(graph.node("MatMul", [shares, graph.data((batch, heads, keys, wide))]), graph.scale / 2)


KINDS: dict[str, Callable[[_Graph, np.random.Generator], None]] = {
    "convolution": _dense,
    "depthwise convolution": _depthwise,
    "Gemm": _gemm,
    "product of two inputs": _product,
    "convolution and sum": _residual,
    "sum": _sum,
    "long product": _long,
    "attention": _attention,
}
"""What draws a unit of each kind."""
