"""Q and DQ nodes put into a float graph; every reader keeps reading a float value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.canonical.edit import Editor
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import DQ, Q, onnx_dtype
from deepseek_core.quantize.weights import QuantizedWeight
from deepseek_core.scheme import DType

__all__ = ["Inserter"]


class Inserter:
    """Edits a model in place; names it gives are new to the model and say what they belong to."""

    def __init__(self, model: ir.Model) -> None:
        self._editor = Editor(model)
        self._numbers: dict[int, tuple[QParams, ir.Value, ir.Value]] = {}
        self._codes: dict[ir.Value, list[tuple[QuantizedWeight, ir.Value]]] = {}

    def constant(self, node: ir.Node, position: int, weight: QuantizedWeight) -> None:
        """Codes → DQ → `node`, in place of a float constant; nodes that read equal codes of one constant share them."""
        source = node.inputs[position]
        assert source is not None
        stem = f"{source.name}_{node.name}" if len(source.uses()) > 1 else f"{source.name}"
        weight, codes = self._stored(source, stem, weight)
        dequantize = self._dequantize(codes, stem, weight.params, f"{stem}_dequantized")
        _graph(node).insert_before(node, dequantize)
        node.replace_input_with(position, dequantize.outputs[0])

    def _stored(self, source: ir.Value, stem: str, weight: QuantizedWeight) -> tuple[QuantizedWeight, ir.Value]:
        """The initializer with the codes, in the graph that holds the float constant."""
        known = self._codes.setdefault(source, [])
        for other, codes in known:
            if weight.params.equals(other.params) and weight.codes.tobytes() == other.codes.tobytes():
                return other, codes
        assert isinstance(source.graph, ir.Graph)
        made = self._initializer(source.graph, f"{stem}_quantized", weight.codes, weight.params.scheme.dtype)
        known.append((weight, made))
        return weight, made

    def pair(self, value: ir.Value, params: QParams, readers: Iterable[tuple[ir.Node, int]], *, output: bool) -> None:
        """Q behind `value`, and a DQ for each reader, in the reader's graph.

        Args:
            readers: node and input position of each use of `value` that is to see codes.
            output: the graph's output `value` is to come from a DQ too.
        """
        quantize = self._quantize(value, params)
        producer = value.producer()
        if producer is None:
            graph = value.graph
            assert isinstance(graph, ir.Graph)
            graph.insert_before(next(iter(graph)), quantize)
        else:
            _graph(producer).insert_after(producer, quantize)
        codes = quantize.outputs[0]
        for number, (node, position) in enumerate(readers):
            dequantize = self._dequantize(codes, f"{value.name}", params, f"{value.name}_dequantized_{number}")
            if node.graph is quantize.graph:
                _graph(quantize).insert_after(quantize, dequantize)
            else:
                _graph(node).insert_before(node, dequantize)
            node.replace_input_with(position, dequantize.outputs[0])
        if output:
            self._output(value, quantize, params)

    def _output(self, value: ir.Value, quantize: ir.Node, params: QParams) -> None:
        """A graph output keeps its name; what it was before quantization is renamed."""
        graph, name = _graph(quantize), value.name or ""
        value.name = self._editor.name(f"{name}_unquantized")
        dequantize = self._dequantize(quantize.outputs[0], name, params, name, named=True)
        out = dequantize.outputs[0]
        out.shape, out.type = value.shape, value.type
        graph.insert_after(quantize, dequantize)
        for position, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[position] = out

    def _quantize(self, value: ir.Value, params: QParams) -> ir.Node:
        inputs = [value, *self._scale_and_zero(f"{value.name}", params)]
        node = ir.node(Q, inputs, attributes=_attributes(params), name=self._editor.name(f"{value.name}/quantize"))
        out = node.outputs[0]
        out.name, out.shape = self._editor.name(f"{value.name}_quantized"), value.shape
        out.type = ir.TensorType(onnx_dtype(params.scheme.dtype))
        return node

    def _dequantize(self, codes: ir.Value, stem: str, params: QParams, name: str, *, named: bool = False) -> ir.Node:
        inputs = [codes, *self._scale_and_zero(stem, params)]
        node = ir.node(DQ, inputs, attributes=_attributes(params), name=self._editor.name(f"{name}/dequantize"))
        out = node.outputs[0]
        out.name, out.shape = name if named else self._editor.name(name), codes.shape
        out.type = ir.TensorType(ir.DataType.FLOAT)
        return node

    def _scale_and_zero(self, stem: str, params: QParams) -> tuple[ir.Value, ir.Value]:
        """One pair of initializers for all nodes with these parameters; every body can read the main graph's."""
        if id(params) not in self._numbers:
            main, dtype = self._editor.model.graph, params.scheme.dtype
            scale = self._initializer(main, f"{stem}_scale", params.scale, DType.FLOAT32)
            zero = self._initializer(main, f"{stem}_zero_point", params.zero_point, dtype)
            self._numbers[id(params)] = params, scale, zero  # holding `params` keeps its id its own
        return self._numbers[id(params)][1:]

    def _initializer(self, graph: ir.Graph, base: str, array: NDArray[Any], dtype: DType) -> ir.Value:
        name = self._editor.name(base)
        tensor = ir.tensor(array, dtype=onnx_dtype(dtype), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor)
        graph.register_initializer(value)
        return value


def _graph(node: ir.Node) -> ir.Graph:
    assert isinstance(node.graph, ir.Graph)
    return node.graph


def _attributes(params: QParams) -> dict[str, int]:
    found = {}
    if params.scheme.axis is not None:
        found["axis"] = params.scheme.axis
    if params.scheme.block_size is not None:
        found["block_size"] = params.scheme.block_size
    return found
