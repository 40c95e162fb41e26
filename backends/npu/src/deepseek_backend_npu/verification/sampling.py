"""Random units of every declared op, to hold claims against the compiler and the emulator against Arm's model.

Sizes and attributes reach beyond what the table admits, so that both sides of its limits are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_npu.single import unit_model
from deepseek_core import QuantizedModel
from deepseek_core.errors import ModelError
from deepseek_core.ir import with_input_shapes

__all__ = ["Sample", "sample"]

_OPSET, _IR_VERSION = 21, 10
Attributes = Mapping[str, Any]


@dataclass(slots=True)
class Sample:
    """A model of one unit.

    Attributes:
        op: ONNX op type.
        model: QDQ; inputs and outputs are int8 or int16 codes.
        feeds: random codes by input name.
        text: shapes and attributes, for a report.
    """

    op: str
    model: QuantizedModel
    feeds: dict[str, NDArray[Any]]
    text: str


def sample(op: str, seed: int) -> Sample | None:
    """A random unit; None where the draw is no valid node."""
    rng = np.random.default_rng([seed, *op.encode()])
    graph = _Graph(rng, wide=bool(rng.random() < 0.3))
    try:
        _DRAWS[op](graph, rng)
        model = graph.model()
    except (ModelError, ValueError):  # sizes that do not fit each other
        return None
    return Sample(op, model, graph.feeds, graph.text)


@dataclass(slots=True)
class _Graph:
    rng: np.random.Generator
    wide: bool = False
    inputs: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)
    constants: list[ir.Value] = field(default_factory=list)
    outputs: list[ir.Value] = field(default_factory=list)
    feeds: dict[str, NDArray[Any]] = field(default_factory=dict)
    text: str = ""
    _scale: float = 0.0

    def model(self) -> QuantizedModel:
        graph = ir.Graph(
            self.inputs, self.outputs, nodes=self.nodes, initializers=self.constants, opset_imports={"": _OPSET}
        )
        whole = with_input_shapes(QuantizedModel(ir.Model(graph, ir_version=_IR_VERSION)), {})
        (unit,) = (unit for unit in whole.units() if unit.op not in ("QuantizeLinear", "DequantizeLinear"))
        if any(operand.shape is None or None in operand.shape for operand in unit.outputs):
            raise ModelError("a shape is unknown", fix="draw again")
        return unit_model(unit)

    def constant(self, array: NDArray[Any]) -> ir.Value:
        name = f"c{len(self.constants)}"
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        self.constants.append(value)
        return value

    def data(self, shape: tuple[int, ...], *, scale: float | None = None, zero: int | None = None) -> ir.Value:
        """The real value of a random int8 or int16 input."""
        name, info = f"x{len(self.inputs)}", np.iinfo(self.dtype)
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(self.type))
        self.inputs.append(value)
        self.feeds[name] = self.rng.integers(info.min, info.max + 1, shape).astype(self.dtype)
        self._scale = float(np.float32(self.rng.uniform(0.005, 0.1) * 256 / (info.max - info.min + 1)))
        self._scale = self._scale if scale is None else scale
        self.text += f" {list(shape)}" + (" int16" if self.wide else "")
        return self.dequantized(value, np.float32(self._scale), self._zero())

    @property
    def dtype(self) -> type[np.int8] | type[np.int16]:
        return np.int16 if self.wide else np.int8

    @property
    def type(self) -> ir.DataType:
        return ir.DataType.INT16 if self.wide else ir.DataType.INT8

    def _zero(self) -> np.integer[Any]:
        return np.int16(0) if self.wide else np.int8(self.rng.integers(-128, 128))

    def weight(self, shape: tuple[int, ...], axis: int) -> tuple[ir.Value, NDArray[np.float32]]:
        """The real value of random int8 weights, per channel or per tensor, and their scales."""
        codes = self.rng.integers(-127, 128, shape).astype(np.int8)
        count = shape[axis] if self.rng.random() < 0.7 else 1
        scales = self.rng.uniform(0.001, 0.02, count).astype(np.float32)
        self.text += f" w{list(shape)}"
        if count == 1:
            return self.dequantized(self.constant(codes), scales[0], np.int8(0)), scales
        return self.dequantized(self.constant(codes), scales, np.zeros(count, np.int8), axis=axis), scales

    def bias(self, scales: NDArray[np.float32], channels: int) -> ir.Value:
        values = self.rng.integers(-5000, 5000, channels).astype(np.int32)
        product = (np.float32(self._scale) * scales).astype(np.float32)
        if product.size == 1:
            return self.dequantized(self.constant(values), product[0], np.int32(0))
        product = np.resize(product, channels)
        return self.dequantized(self.constant(values), product, np.zeros(channels, np.int32), axis=0)

    def dequantized(self, codes: ir.Value, scale: Any, zero: Any, axis: int | None = None) -> ir.Value:
        operands = [codes, self.constant(np.asarray(scale)), self.constant(np.asarray(zero))]
        attributes = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", operands, attributes)

    def node(self, op: str, operands: Sequence[ir.Value | None], attributes: Attributes, outputs: int = 1) -> ir.Value:
        node = ir.node(op, operands, dict(attributes), num_outputs=outputs, name=f"{op.lower()}{len(self.nodes)}")
        for place, value in enumerate(node.outputs):
            value.name = f"{node.name}.y{place}"
        self.nodes.append(node)
        return node.outputs[0]

    def unit(
        self,
        op: str,
        operands: Sequence[ir.Value | None],
        attributes: Attributes,
        *,
        scale: float = 0.0,
        outputs: int = 1,
    ) -> None:
        """The unit's node, perhaps an activation, and a Q for each output."""
        self.text += f" {dict(attributes)}"
        self.node(op, operands, attributes, outputs)
        node = self.nodes[-1]
        results = list(node.outputs)
        if outputs == 1 and op in _FUSING and self.rng.random() < 0.3:
            results = [self.node("Relu", [results[0]], {})]
        same = scale == _SAME
        source = self.nodes[0]
        for value in results:
            numbers = source.inputs[1:] if same else self._numbers(scale)
            codes = self.node("QuantizeLinear", [value, *numbers], {})
            codes.type = ir.TensorType(self.type)
            self.outputs.append(codes)

    def _numbers(self, scale: float) -> list[ir.Value]:
        drawn = (self.rng.uniform(0.01, 0.2) if scale == 0 else scale * self.rng.uniform(0.5, 2)) / (
            256 if self.wide else 1
        )
        return [self.constant(np.asarray(np.float32(drawn))), self.constant(np.asarray(self._zero()))]


_SAME = -1.0
_FUSING = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "Add"))


def _size(rng: np.random.Generator, most: int) -> int:
    """Small more often than large."""
    return int(min(most, 1 + rng.geometric(min(1.0, 4 / most))))


def _image(rng: np.random.Generator, channels: int | None = None) -> tuple[int, ...]:
    n = 2 if rng.random() < 0.85 else 1
    spatial = tuple(int(rng.integers(1, 20)) for _ in range(n))
    return (1, channels or _size(rng, 40), *spatial)


def _shape(rng: np.random.Generator, ranks: tuple[int, int] = (1, 5)) -> tuple[int, ...]:
    rank = int(rng.integers(ranks[0], ranks[1] + 1))
    return tuple(_size(rng, 24) for _ in range(rank))


def _window(rng: np.random.Generator, n: int, *, most: int = 9) -> dict[str, Any]:
    kernel = [_size(rng, most) for _ in range(n)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [int(rng.integers(1, 6)) for _ in range(n)]}
    if rng.random() < 0.6:
        attributes["pads"] = [int(rng.integers(0, size)) for size in (*kernel, *kernel)]
    if rng.random() < 0.2:
        attributes["dilations"] = [int(rng.integers(1, 4)) for _ in range(n)]
    return attributes


def _conv(graph: _Graph, rng: np.random.Generator) -> None:
    groups = int(rng.choice([1, 1, 1, 2, 4]))
    inputs = groups * _size(rng, 20)
    if rng.random() < 0.25:
        groups = inputs
    outputs = groups * (_size(rng, 40) if groups < 5 else int(rng.integers(1, 3)))
    shape = _image(rng, inputs)
    attributes = {**_window(rng, len(shape) - 2), "group": groups}
    x = graph.data(shape)
    weight, scales = graph.weight((outputs, inputs // groups, *attributes["kernel_shape"]), 0)
    operands: list[ir.Value | None] = [x, weight]
    if rng.random() < 0.8:
        operands.append(graph.bias(scales, outputs))
    graph.unit("Conv", operands, attributes)


def _conv_transpose(graph: _Graph, rng: np.random.Generator) -> None:
    groups = int(rng.choice([1, 1, 1, 2]))
    inputs, outputs = groups * _size(rng, 16), _size(rng, 16)
    shape = _image(rng, inputs)
    attributes = {**_window(rng, len(shape) - 2, most=5), "group": groups}
    if rng.random() < 0.2:
        attributes["output_padding"] = [int(rng.integers(0, stride)) for stride in attributes["strides"]]
    x = graph.data(shape)
    weight, scales = graph.weight((inputs, outputs, *attributes["kernel_shape"]), 1)
    graph.unit("ConvTranspose", [x, weight, graph.bias(scales, outputs * groups)], attributes)


def _gemm(graph: _Graph, rng: np.random.Generator) -> None:
    rows, depth, columns = _size(rng, 20), _size(rng, 200), _size(rng, 200)
    turned, other = int(rng.integers(0, 2)), int(rng.integers(0, 2))
    x = graph.data((depth, rows) if other else (rows, depth))
    weight, scales = graph.weight((columns, depth) if turned else (depth, columns), 0 if turned else 1)
    graph.unit("Gemm", [x, weight, graph.bias(scales, columns)], {"transB": turned, "transA": other})


def _matmul(graph: _Graph, rng: np.random.Generator) -> None:
    *batch, rows, depth = _shape(rng, (2, 4))
    columns = _size(rng, 40)
    x = graph.data((*batch, rows, depth))
    if rng.random() < 0.5:
        weight, _ = graph.weight((depth, columns), 1)
        graph.unit("MatMul", [x, weight], {})
    else:
        graph.unit("MatMul", [x, graph.data((*batch, depth, columns))], {})


def _binary(op: str) -> Callable[[_Graph, np.random.Generator], None]:
    def draw(graph: _Graph, rng: np.random.Generator) -> None:
        shape = _shape(rng, (1, 5))
        other = tuple(1 if rng.random() < 0.25 else size for size in shape)
        if rng.random() < 0.2:
            other = other[int(rng.integers(0, len(other))) :]
        shapes = [shape, other] if rng.random() < 0.7 else [other, shape]
        graph.unit(op, [graph.data(s) for s in shapes], {})

    return draw


def _unary(op: str) -> Callable[[_Graph, np.random.Generator], None]:
    def draw(graph: _Graph, rng: np.random.Generator) -> None:
        x = graph.data(_shape(rng))
        bounds = [graph.constant(np.array(bound, np.float32)) for bound in (-0.5, 1.5)] if op == "Clip" else []
        graph.unit(op, [x, *bounds], {})

    return draw


def _softmax(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng)
    if rng.random() < 0.2:
        shape = (*shape[:-1], int(rng.integers(1, 2500)))
    x = graph.data(shape)
    graph.unit("Softmax", [x], {"axis": int(rng.integers(-len(shape), len(shape)))}, scale=1 / 256)


def _pool(op: str) -> Callable[[_Graph, np.random.Generator], None]:
    def draw(graph: _Graph, rng: np.random.Generator) -> None:
        shape = _image(rng)
        attributes = _window(rng, len(shape) - 2)
        if rng.random() < 0.2:
            attributes["ceil_mode"] = 1
        if op == "AveragePool" and rng.random() < 0.3:
            attributes["count_include_pad"] = 1
        graph.unit(op, [graph.data(shape)], attributes, scale=_SAME if op == "MaxPool" else 0.0)

    return draw


def _global(op: str) -> Callable[[_Graph, np.random.Generator], None]:
    return lambda graph, rng: graph.unit(op, [graph.data(_image(rng))], {})


def _reduce_mean(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    axes = np.sort(rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))])
    graph.unit("ReduceMean", [graph.data(shape), graph.constant(axes)], {"keepdims": int(rng.integers(0, 2))})


def _concat(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    axis = int(rng.integers(0, len(shape)))
    shapes = [tuple(_size(rng, 20) if p == axis else s for p, s in enumerate(shape)) for _ in range(rng.integers(1, 4))]
    graph.unit("Concat", [graph.data(s) for s in shapes], {"axis": axis})


def _split(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    axis = int(rng.integers(0, len(shape)))
    if shape[axis] < 2:
        raise ValueError
    first = int(rng.integers(1, shape[axis]))
    sizes = graph.constant(np.array([first, shape[axis] - first]))
    graph.unit("Split", [graph.data(shape), sizes], {"axis": axis}, scale=_SAME, outputs=2)


def _slice(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]
    steps = np.array([int(rng.choice([1, 1, 1, 2, 3, -1])) for _ in axes])
    ends = np.array([shape[a] if s > 0 else -shape[a] - 1 for a, s in zip(axes, steps, strict=True)])
    starts = np.array([0 if s > 0 else shape[a] - 1 for a, s in zip(axes, steps, strict=True)])
    starts += np.array([int(rng.integers(0, shape[a])) if s == 1 else 0 for a, s in zip(axes, steps, strict=True)])
    aux = [graph.constant(array.astype(np.int64)) for array in (starts, ends, axes, steps)]
    graph.unit("Slice", [graph.data(shape), *aux], {}, scale=_SAME)


def _gather(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    axis = int(rng.integers(0, len(shape)))
    indices = rng.integers(0, shape[axis], int(rng.integers(1, 6)))
    graph.unit("Gather", [graph.data(shape), graph.constant(indices)], {"axis": axis}, scale=_SAME)


def _pad(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 4))
    pads = graph.constant(rng.integers(0, 4, 2 * len(shape)))
    graph.unit("Pad", [graph.data(shape), pads], {})


def _transpose(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 5))
    perm = [int(axis) for axis in rng.permutation(len(shape))]
    graph.unit("Transpose", [graph.data(shape)], {"perm": perm}, scale=_SAME)


def _reshape(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 5))
    graph.unit("Reshape", [graph.data(shape), graph.constant(np.array([shape[0], -1]))], {}, scale=_SAME)


def _flatten(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _shape(rng, (1, 5))
    graph.unit("Flatten", [graph.data(shape)], {"axis": int(rng.integers(0, len(shape)))}, scale=_SAME)


def _resize(graph: _Graph, rng: np.random.Generator) -> None:
    shape = _image(rng)
    linear = rng.random() < 0.4
    scales = np.array([1, 1, *(float(rng.choice([1, 2, 2, 3, 4, 6, 1.5])) for _ in shape[2:])], np.float32)
    attributes = {"mode": "linear" if linear else "nearest", "coordinate_transformation_mode": "half_pixel"}
    if not linear and rng.random() < 0.5:
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    graph.unit("Resize", [graph.data(shape), None, graph.constant(scales)], attributes)


_DRAWS: dict[str, Callable[[_Graph, np.random.Generator], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    **{op: _binary(op) for op in ("Add", "Sub", "Mul", "Min", "Max")},
    **{
        op: _unary(op)
        for op in ("Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Tanh")
    },
    "Softmax": _softmax,
    **{op: _pool(op) for op in ("AveragePool", "MaxPool")},
    **{op: _global(op) for op in ("GlobalAveragePool", "GlobalMaxPool")},
    "ReduceMean": _reduce_mean,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Resize": _resize,
}
OPS = tuple(_DRAWS)
"""Ops that are drawn."""
