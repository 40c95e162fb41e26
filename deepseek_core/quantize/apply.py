"""Apply a recipe: a float graph and its calibration become a canonical QDQ graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.calibration import Calibration, Calibrator, activation_qparams, weight_qparams
from deepseek_core.errors import ModelError
from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.ops import Role, roles
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import DQ, Q, onnx_dtype, units
from deepseek_core.recipe import Recipe
from deepseek_core.scheme import DType, Granularity, QuantScheme

__all__ = ["Calibrators", "apply_recipe"]

Calibrators = Mapping[str, Callable[..., Calibrator]]
"""Factories by the name that a `CalibratorSpec` gives."""


def apply_recipe(
    model: QuantizedModel, recipe: Recipe, calibration: Calibration, calibrators: Calibrators | None = None
) -> QuantizedModel:
    """A quantized copy of `model`.

    Float values keep their names, so that a quantized model can be compared with its origin tensor by tensor.

    Args:
        model: the prepared float model that the recipe was made for.
        recipe: see `Recipe`.
        calibration: statistics of every activation that the recipe names.
        calibrators: further calibrators that the recipe may name, beside the core's.

    Raises:
        ModelError: the recipe names a node or value that the model does not have.
        CalibrationError: statistics of a value are missing or unusable.
    """
    result = model.clone()
    _Applier(result.graph, recipe, calibration, calibrators or {}).run()
    canonicalize(result.model)
    result.metadata |= {"recipe": recipe.to_json(), "calibration": calibration.digest()}
    return result


class _Applier:
    def __init__(self, graph: ir.Graph, recipe: Recipe, calibration: Calibration, calibrators: Calibrators) -> None:
        self.graph = graph
        self.recipe = recipe
        self.calibration = calibration
        self.calibrators = calibrators
        self.nodes = {node.name: node for node in graph}
        self.values = {v.name: v for v in (*graph.inputs, *(o for n in graph for o in n.outputs))}
        self.heads = {node: unit.node for unit in units(graph) for node in unit.nodes}
        self.activations: dict[str, QParams] = {}

    def run(self) -> None:
        for name in (*self.recipe.activations, *self.recipe.shared):
            self.activations[name] = self._params_of(name)
        # Biases need their unit's input scale and weight scale, so weights go first.
        scales = {key: self._quantize_weight(*key) for key in self.recipe.weights}
        for node, position in sorted(self.recipe.biases):
            self._quantize_bias(node, position, scales)
        for name, params in self.activations.items():
            self._insert_pair(self._value(name), params)

    def _params_of(self, name: str) -> QParams:
        source = name
        while source in self.recipe.shared:
            source = self.recipe.shared[source]
        recipe = self.recipe.activations[source]
        return activation_qparams(self.calibration[source], recipe, self.calibrators, name=source)

    def _quantize_weight(self, name: str, position: int) -> NDArray[np.float32]:
        node = self._node(name)
        array = _constant(node, position)
        params = weight_qparams(array, self.recipe.weights[name, position])
        if params.scheme.granularity is not Granularity.PER_BLOCK:
            params = self._leave_room_for_bias(node, position, params)
        self._replace_constant(node, position, params.quantize(array), params)
        return params.scale

    def _leave_room_for_bias(self, node: ir.Node, position: int, params: QParams) -> QParams:
        """Widen the scales of channels whose int32 bias would otherwise saturate (dead channels, mostly)."""
        for name, at in self.recipe.biases:
            if name != node.name or roles(node)[position] is not Role.WEIGHT:
                continue
            bias = np.abs(_constant(node, at).reshape(-1)).astype(np.float64)
            least = bias / (float(self._input_scale(node)) * 2.0**30)
            if params.scale.ndim == 0:
                least = least.max(initial=0.0)
            if params.scale.shape in ((), bias.shape):
                scale = np.maximum(params.scale, least).astype(np.float32)
                return QParams(params.scheme, scale, params.zero_point)
        return params

    def _quantize_bias(self, name: str, position: int, scales: dict[tuple[str, int], NDArray[np.float32]]) -> None:
        node = self._node(name)
        weight = next(i for i, role in enumerate(roles(node)) if role is Role.WEIGHT)
        bias = _constant(node, position)
        scale = np.asarray(self._input_scale(node) * scales[name, weight], np.float32)
        if scale.ndim and scale.shape != bias.shape:
            raise ModelError(
                f"bias of '{name}' has shape {bias.shape} but its weight {scale.shape} scales",
                fix="leave the bias out of the recipe",
            )
        granularity = Granularity.PER_CHANNEL if scale.ndim else Granularity.PER_TENSOR
        scheme = QuantScheme(DType.INT32, granularity, symmetric=True, axis=0 if scale.ndim else None)
        params = QParams(scheme, np.maximum(scale, np.finfo(np.float32).tiny), np.zeros(scale.shape, np.int32))
        self._replace_constant(node, position, params.quantize(bias), params)

    def _input_scale(self, node: ir.Node) -> np.float32:
        value = node.inputs[0]
        assert value is not None
        return np.float32(self.activations[value.name or ""].scale)

    def _replace_constant(self, node: ir.Node, position: int, codes: NDArray[np.generic], params: QParams) -> None:
        """Codes → DQ → `node`, in place of a float initializer."""
        source = node.inputs[position]
        assert source is not None
        stem = f"{source.name}_{node.name}" if len(source.uses()) > 1 else source.name
        border = _initializer(self.graph, f"{stem}_quantized", codes, params.scheme.dtype)
        dequantize = _dequantize(self.graph, border, params, f"{stem}_dequantized")
        self.graph.insert_before(node, dequantize)
        node.replace_input_with(position, dequantize.outputs[0])
        if source.name is not None and not source.uses() and not source.is_graph_output():
            self.graph.initializers.pop(source.name, None)

    def _insert_pair(self, value: ir.Value, params: QParams) -> None:
        """Q behind `value`, and a DQ for each reader that is to see codes."""
        producer = value.producer()
        everyone = producer is not None and self._is_quantized(producer)
        readers = [
            use for use in value.uses() if everyone or (use.node.graph is self.graph and self._is_quantized(use.node))
        ]
        as_output = everyone and value.is_graph_output()
        quantize = _quantize(self.graph, value, params)
        if producer is None:
            first = next(iter(self.graph))
            self.graph.insert_before(first, quantize)
        else:
            self.graph.insert_after(producer, quantize)
        for index, use in enumerate(readers):
            dequantize = _dequantize(self.graph, quantize.outputs[0], params, f"{value.name}_dequantized_{index}")
            self.graph.insert_after(quantize, dequantize)
            use.node.replace_input_with(use.idx, dequantize.outputs[0])
        if as_output:
            self._output_dequantized(value, quantize, params)

    def _output_dequantized(self, value: ir.Value, quantize: ir.Node, params: QParams) -> None:
        """A graph output keeps its name; what it was before quantization is renamed."""
        name = value.name or ""
        value.name = f"{name}_unquantized"
        dequantize = _dequantize(self.graph, quantize.outputs[0], params, name)
        out = dequantize.outputs[0]
        out.shape, out.type = value.shape, value.type
        self.graph.insert_after(quantize, dequantize)
        for index, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[index] = out

    def _is_quantized(self, node: ir.Node) -> bool:
        """Whether the unit that `node` heads, or is fused into, was not left in float."""
        return not {node.name, self.heads[node].name} & self.recipe.skipped.keys()

    def _node(self, name: str) -> ir.Node:
        if name not in self.nodes:
            raise ModelError(f"the recipe names node '{name}', which the model does not have", fix="derive it anew")
        return self.nodes[name]

    def _value(self, name: str) -> ir.Value:
        if name not in self.values:
            raise ModelError(f"the recipe names value '{name}', which the model does not have", fix="derive it anew")
        return self.values[name]


def _constant(node: ir.Node, position: int) -> NDArray[np.generic]:
    value = node.inputs[position] if position < len(node.inputs) else None
    if value is None or value.const_value is None:
        raise ModelError(f"input {position} of node '{node.name}' is not a constant", fix="derive the recipe anew")
    return value.const_value.numpy()


def _initializer(graph: ir.Graph, name: str, array: NDArray[np.generic], dtype: DType) -> ir.Value:
    """Register a constant; an equal name with equal content is shared (tied weights)."""
    if name in graph.initializers:
        return graph.initializers[name]
    value = ir.Value(name=name, const_value=ir.tensor(array, dtype=onnx_dtype(dtype), name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(onnx_dtype(dtype))
    graph.register_initializer(value)
    return value


def _scale_and_zero(graph: ir.Graph, stem: str, params: QParams) -> tuple[ir.Value, ir.Value]:
    return (
        _initializer(graph, f"{stem}_scale", params.scale, DType.FLOAT32),
        _initializer(graph, f"{stem}_zero_point", params.zero_point, params.scheme.dtype),
    )


def _attributes(params: QParams) -> dict[str, int]:
    found = {}
    if params.scheme.axis is not None:
        found["axis"] = params.scheme.axis
    if params.scheme.block_size is not None:
        found["block_size"] = params.scheme.block_size
    return found


def _quantize(graph: ir.Graph, value: ir.Value, params: QParams) -> ir.Node:
    inputs = [value, *_scale_and_zero(graph, value.name or "", params)]
    node = ir.node(Q, inputs, attributes=_attributes(params), name=f"{value.name}/quantize")
    out = node.outputs[0]
    out.name, out.shape, out.type = (
        f"{value.name}_quantized",
        value.shape,
        ir.TensorType(onnx_dtype(params.scheme.dtype)),
    )
    return node


def _dequantize(graph: ir.Graph, codes: ir.Value, params: QParams, name: str) -> ir.Node:
    stem = (codes.name or "").removesuffix("_quantized")
    inputs = [codes, *_scale_and_zero(graph, stem, params)]
    node = ir.node(DQ, inputs, attributes=_attributes(params), name=f"{name}/dequantize")
    out = node.outputs[0]
    out.name, out.shape, out.type = name, codes.shape, ir.TensorType(ir.DataType.FLOAT)
    return node
