"""Clips inside quantized units, for TensorRT before 10.

Its int8 convolutions and products do the Clip behind them on other numbers than the bounds mean (on an H100 with 8.6.0,
results were off by up to 67 codes). Relu is right, and so are Max and Min, which it does not fuse.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_backend_tensorrt.lowering.edit import constant, drop, is_q, number
from deepseek_core import QuantizedModel

__all__ = ["split_clips"]


def split_clips(model: QuantizedModel) -> None:
    """Write each Clip behind another operator as Relu or Max, and as Min unless the codes end before it."""
    for unit in model.units():
        if unit.is_quantized and unit.op != "Clip":
            for node in unit.nodes:
                if node.op_type == "Clip":
                    _split(model.graph, node)


def _split(graph: ir.Graph, clip: ir.Node) -> None:
    bounds = [*clip.inputs[1:], None, None][:2]
    low, high = (None if value is None else number(value) for value in bounds)
    if any(value is not None and found is None for value, found in zip(bounds, (low, high), strict=True)):
        return  # bounds that are computed
    value, result = clip.inputs[0], clip.outputs[0]
    assert value is not None
    if low is not None:
        value = _lower(graph, clip, value, float(low))
    if high is not None and not _ends_before(result, float(high)):
        value = _bounded(graph, clip, value, "Min", float(high))
    is_output = result.is_graph_output()
    ir.convenience.replace_all_uses_with(result, value, replace_graph_outputs=True)
    drop(graph, clip)
    if is_output:
        value.name, result.name = result.name, value.name


def _lower(graph: ir.Graph, clip: ir.Node, value: ir.Value, low: float) -> ir.Value:
    if low == 0.0:
        return _insert(graph, clip, "Relu", [value])
    return _bounded(graph, clip, value, "Max", low)


def _bounded(graph: ir.Graph, clip: ir.Node, value: ir.Value, op: str, bound: float) -> ir.Value:
    return _insert(graph, clip, op, [value, constant(graph, f"{clip.name}_{op}", np.asarray(bound, np.float32))])


def _insert(graph: ir.Graph, clip: ir.Node, op: str, inputs: list[ir.Value]) -> ir.Value:
    result = clip.outputs[0]
    name = f"{result.name}_{op}"
    output = ir.Value(name=name, type=result.type, shape=result.shape)
    graph.insert_before(clip, ir.Node("", op, inputs=inputs, outputs=[output], name=f"{clip.name}_{op}"))
    return output


def _ends_before(result: ir.Value, high: float) -> bool:
    """Whether everything that reads the value is a Q to int8 whose largest code stands for no more than `high`."""
    readers = list(result.consumers())
    return bool(readers) and not result.is_graph_output() and all(_top(reader) <= high for reader in readers)


def _top(reader: ir.Node) -> float:
    scale = number(reader.inputs[1]) if is_q(reader) else None
    if scale is None or reader.outputs[0].dtype != ir.DataType.INT8:
        return np.inf
    return float(np.max(scale)) * 127.0  # this backend's codes are symmetric
