"""How much of an ONNX network is quantized: bits of its weights, share of its layers with quantized inputs.

A quantizer that leaves a network in float loses no accuracy; these two numbers show that.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

__all__ = ["Coverage", "coverage"]

_WEIGHTED = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1, 0), "MatMul": (1, 0), "LSTM": (1, 2), "GRU": (1, 2)}
"""For each layer with weights the inputs that hold them; of `Gemm` and `MatMul` whichever is constant."""
_INTEGER = {"QLinearConv": (3, 8), "ConvInteger": (1, 8), "QLinearMatMul": (3, 8), "MatMulInteger": (1, 8)}
_MOVES = {"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Pad"}
_SCALES = _MOVES | {"Cast", "Mul"}
_BITS: dict[int, int] = {
    TensorProto.INT2: 2,
    TensorProto.UINT2: 2,
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E5M2: 8,
    TensorProto.INT16: 16,
    TensorProto.UINT16: 16,
    TensorProto.FLOAT16: 16,
    TensorProto.BFLOAT16: 16,
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is quantized.

    Attributes:
        bits: of a weight of a convolution, matrix product or recurrent layer, on average.
        activations: share of those layers whose input is quantized to at most 8 bits.
    """

    bits: float
    activations: float


class _Scope:
    """Names of a graph and of the graphs around it."""

    def __init__(self, graph: Any, outer: _Scope | None = None) -> None:
        around = outer or _Scope.__new__(_Scope)
        if outer is None:
            around.constants, around.makers = ChainMap(), ChainMap()
        self.constants: ChainMap[str, Any] = around.constants.new_child({t.name: t for t in graph.initializer})
        self.makers: ChainMap[str, Any] = around.makers.new_child({o: n for n in graph.node for o in n.output})
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t

    def root(self, name: str, through: set[str]) -> str:
        """Where a value comes from, behind the first input of nodes of the ops `through`."""
        while name not in self.constants and name in self.makers and self.makers[name].op_type in through:
            name = self.makers[name].input[0]
        return name

    def kind(self, name: str) -> int:
        """Element type of a constant, or of what Q makes of it; 0 where it is not known."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "QuantizeLinear":
            return 0
        if len(maker.input) > 2 and maker.input[2] in self.constants:
            return int(self.constants[maker.input[2]].data_type)
        return next((int(a.i) for a in maker.attribute if a.name == "output_dtype"), int(TensorProto.UINT8))

    def size(self, name: str) -> int:
        """Elements of the constant behind a value; 0 where there is none."""
        maker = self.makers.get(name)
        if name not in self.constants and maker is not None and maker.op_type == "QuantizeLinear":
            name = self.root(maker.input[0], _SCALES)
        if name not in self.constants:
            return 0
        count = 1
        for extent in self.constants[name].dims:
            count *= extent
        return count


def coverage(model: Path) -> Coverage:
    """How much of the ONNX file is quantized, bodies of control flow included."""
    layers = list(_layers(onnx.load(model).graph, None))
    total = sum(size for size, _, _ in layers)
    bits = sum(size * width for size, width, _ in layers) / total if total else 32.0
    return Coverage(bits, sum(quantized for *_, quantized in layers) / len(layers) if layers else 0.0)


def _layers(graph: Any, outer: _Scope | None) -> Iterator[tuple[int, int, bool]]:
    """(weights, bits, input is quantized) of each layer that has weights."""
    scope = _Scope(graph, outer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _layers(attribute.g, scope)
        if node.op_type in _INTEGER:
            position, width = _INTEGER[node.op_type]
            yield scope.size(scope.root(node.input[position], _SCALES)), width, True
        elif node.op_type == "MatMulNBits":
            facts = {a.name: a.i for a in node.attribute}
            yield facts["K"] * facts["N"], facts.get("bits", 4), _quantized(scope, node.input[0])
        elif node.op_type in _WEIGHTED:
            found = [(_weight(scope, node.input[p]), p) for p in _WEIGHTED[node.op_type] if p < len(node.input)]
            held = [(weight, position) for weight, position in found if weight is not None]
            if node.op_type in ("Gemm", "MatMul"):
                held = held[:1]
            for (size, width), position in held:
                other = 1 if position == 0 else 0
                yield size, width, _quantized(scope, node.input[other])


def _weight(scope: _Scope, name: str) -> tuple[int, int] | None:
    """(elements, bits) of a constant operand, quantized or not; None for a computed one."""
    source = scope.root(name, _SCALES)
    maker = scope.makers.get(source)
    if source not in scope.constants and maker is not None and maker.op_type == "DequantizeLinear":
        source = scope.root(maker.input[0], _SCALES)
    size = scope.size(source)
    return (size, _BITS.get(scope.kind(source), 32)) if size else None


def _quantized(scope: _Scope, name: str) -> bool:
    maker = scope.makers.get(scope.root(name, _MOVES))
    if maker is None or maker.op_type != "DequantizeLinear":
        return False
    source = maker.input[0]
    kind = scope.kind(source) or scope.kind(maker.input[2] if len(maker.input) > 2 else "")
    return _BITS.get(kind, 32) <= 8
