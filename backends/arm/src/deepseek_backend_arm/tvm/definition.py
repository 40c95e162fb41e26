"""Ops as the functions by which ONNX defines them, less what fixed shapes decide. Runs in TVM's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

__all__ = ["defined"]

_MOST_ROUNDS = 16
_FOLDED = 4096
"""Elements of a result that is computed here."""


def defined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its node written out; shapes that follow from constants only after a fold are inferred again."""
    op = model.graph.node[0].op_type
    _state(model)
    model = inliner.inline_selected_functions(model, [("", op)], exclude=False, inline_schema_functions=True)
    for _ in range(_MOST_ROUNDS):
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        before = len(model.graph.node)
        _fold(model)
        if len(model.graph.node) == before:
            break
    return model


def _state(model: onnx.ModelProto) -> None:
    """What the inliner does not find by itself: defaults of attributes, and types of constants."""
    (node,), (entry, *_) = model.graph.node, model.opset_import
    given = {attribute.name for attribute in node.attribute}
    defaults = onnx.defs.get_schema(node.op_type, entry.version).attributes
    node.attribute.extend(a.default_value for a in defaults.values() if a.name not in given and a.default_value.name)
    model.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in model.graph.initializer
    )


def _fold(model: onnx.ModelProto) -> None:
    """Replace nodes whose results are known by constants, and `CastLike` by `Cast`."""
    graph = model.graph
    infos = {info.name: info.type.tensor_type for info in (*graph.input, *graph.value_info, *graph.output)}
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept = []
    for node in map(partial(_without_likeness, infos=infos), graph.node):
        found = _result(node, known, infos, model.opset_import)
        if found is None or node.output[0] in {output.name for output in graph.output}:
            kept.append(node)
        else:
            known[node.output[0]] = found
            graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _without_likeness(node: onnx.NodeProto, infos: Mapping[str, onnx.TypeProto.Tensor]) -> onnx.NodeProto:
    if node.op_type != "CastLike" or node.input[1] not in infos:
        return node
    return helper.make_node("Cast", node.input[:1], node.output, to=infos[node.input[1]].elem_type)


def _result(
    node: onnx.NodeProto,
    known: Mapping[str, NDArray[np.generic]],
    infos: Mapping[str, onnx.TypeProto.Tensor],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> NDArray[np.generic] | None:
    """The node's only output where it is known now."""
    if len(node.output) != 1:
        return None
    if node.op_type in ("Shape", "Size"):
        return _measured(node, infos.get(node.input[0]))
    if any(name and name not in known for name in node.input):
        return None
    graph = helper.make_graph([node], "one", [], [onnx.ValueInfoProto(name=node.output[0])])
    graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in dict.fromkeys(node.input) if name)
    evaluator = ReferenceEvaluator(graph, opsets={entry.domain: entry.version for entry in opsets})
    (found,) = evaluator.run(None, {})
    array = np.asarray(found)
    return array if array.size <= _FOLDED else None


def _measured(node: onnx.NodeProto, info: onnx.TypeProto.Tensor | None) -> NDArray[np.generic] | None:
    sizes = [] if info is None or not info.HasField("shape") else info.shape.dim
    if info is None or not info.HasField("shape") or any(not size.HasField("dim_value") for size in sizes):
        return None
    shape = np.array([size.dim_value for size in sizes], np.int64)
    if node.op_type == "Size":
        return np.asarray(shape.prod(), np.int64)
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
