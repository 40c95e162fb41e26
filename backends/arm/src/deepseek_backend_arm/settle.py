"""What follows from constants and known shapes, settled: images have fixed shapes, by whatever arithmetic they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import QuantizedModel
from deepseek_core.ir import subgraphs, with_input_shapes
from deepseek_core.passes import COMPUTED_OTHERWISE, Pass

__all__ = ["Settle", "is_closed", "settled"]

_LEFT = frozenset(
    ("QuantizeLinear", "DequantizeLinear", "If", "Loop", "Scan", "RandomNormal", "RandomUniform", "Bernoulli")
)
"""Codes of weights stay codes; control flow is not evaluated, and what is random not once for all."""
_GROWS = 2**16
"""Elements that a constant may have more than what it is made of."""
_SMALL = 1024
"""Bytes of a constant that may be a shape."""
_CLOSED = "deepseek_backend_arm.closed"
_ROUNDS = 8
"""Shapes make constants, and constants make shapes: as often at most."""


class Settle(Pass):
    """Evaluate nodes that depend on constants or known shapes alone, and take branches whose condition is one."""

    def run(self, model: QuantizedModel) -> bool:
        found = settled(model)
        if found is not model:
            model.model = found.model
        return found is not model


def settled(model: QuantizedModel) -> QuantizedModel:
    """The model itself where nothing is to be settled, else a copy with fewer nodes and more shapes."""
    if any(map(_is_loose, model.graph)):
        model = model.clone()
        _bring_home(model.graph)
        model = with_input_shapes(model, {})
    for _ in range(_ROUNDS):
        follows = any(_constant_results(node) or _taken(node) for node in _nodes(model.graph))
        if not follows and not any(_ruled_out(node, model.opset) for node in model.graph):
            break
        model = model.clone()
        _bring_home(model.graph)
        for node in list(_nodes(model.graph)) if follows else ():
            if node.graph is not None and not _fold(node, model.opset):
                _inline(node)
        for node in () if follows else model.graph:
            _close(node, model.opset)
        model = with_input_shapes(model, {})
    return _without_loose_ends(model)


def _without_loose_ends(model: QuantizedModel) -> QuantizedModel:
    """Results that nobody names or reads have the shape of a scalar: inference passes over them."""
    if not any(map(_is_loose_end, _results(model.graph))):
        return model
    model = model.clone()
    for value in _results(model.graph):
        if _is_loose_end(value):
            value.shape = ir.Shape(())
    return model


def _results(graph: ir.Graph) -> Iterator[ir.Value]:
    return (value for node in _nodes(graph) for value in node.outputs)


def _is_loose_end(value: ir.Value) -> bool:
    return not value.name and (value.shape is None or not value.shape.is_static())


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Nodes of a graph and of the bodies below it, in order."""
    for node in list(graph):
        yield node
        for body in subgraphs(node):
            yield from _nodes(body)


def _is_loose(node: ir.Node) -> bool:
    """Whether a node has bodies, and nobody knows the shapes of what they give."""
    has_bodies = next(subgraphs(node), None) is not None
    return has_bodies and any(value.shape is None or not value.shape.is_static() for value in node.outputs)


def _bring_home(graph: ir.Graph) -> None:
    """Give bodies copies of the small constants they read: inference does not look for them outside."""
    for number, node in enumerate(_nodes(graph)):
        home = _home(node)
        for position, value in enumerate(node.inputs if home is not graph else ()):
            tensor = None if value is None else value.const_value
            if value is None or tensor is None or tensor.nbytes > _SMALL or value.name in home.initializers:
                continue
            name = f"{value.name}_of_{number}_{position}_{len(home.initializers)}"
            copy = ir.Value(name=name, type=value.type, shape=value.shape, const_value=tensor)
            home.register_initializer(copy)
            node.replace_input_with(position, copy)


def _home(node: ir.Node) -> ir.Graph:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    return graph


def _constant_results(node: ir.Node) -> bool:
    """Whether the results of a node follow, and none of them is what a graph gives."""
    if node.op_type in _LEFT | COMPUTED_OTHERWISE or node.domain not in ("", "ai.onnx"):
        return False
    if any(value.is_graph_output() for value in node.outputs):
        return False
    if node.op_type in ("Shape", "Size"):
        shape = None if node.inputs[0] is None else node.inputs[0].shape
        return shape is not None and shape.is_static()
    return bool(node.inputs) and all(value is None or value.const_value is not None for value in node.inputs)


def _fold(node: ir.Node, opset: int) -> bool:
    """Replace a node by its results, as initializers of its graph."""
    if not _constant_results(node):
        return False
    most = _GROWS + sum(value.const_value.size for value in node.inputs if value and value.const_value)
    shapes = (value.shape for value in node.outputs)
    if sum(prod(shape.numpy()) for shape in shapes if shape is not None and shape.is_static()) > most:
        return False  # before memory is taken for it
    results = _evaluated(node, opset)
    if results is None or sum(array.size for array in results) > most:
        return False
    owner = _home(node)
    for value, array in zip(node.outputs, results, strict=False):
        name = value.name or ""
        tensor = ir.tensor(array, name=name)
        kind = ir.TensorType(tensor.dtype)
        constant = ir.Value(name=name, type=kind, shape=ir.Shape(array.shape), const_value=tensor)
        value.replace_all_uses_with(constant)
        owner.register_initializer(constant)
    owner.remove(node, safe=True)
    return True


def _evaluated(node: ir.Node, opset: int) -> Sequence[NDArray[Any]] | None:
    """Its results; None where onnx.reference cannot compute them, as it cannot all that it is asked for."""
    if node.op_type in ("Shape", "Size"):
        return [_of_shape(node)]
    import onnx
    from onnx.reference import ReferenceEvaluator

    names = [value.name or "" for value in node.outputs]
    given = {value.name or "": value.const_value.numpy() for value in node.inputs if value and value.const_value}
    inputs = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in given.items()
    ]
    outputs = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in names if name]
    graph = onnx.helper.make_graph([ir.serde.serialize_node(node)], "one", inputs, outputs)
    imports = [onnx.helper.make_opsetid("", opset)]
    try:
        found = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=imports)).run(None, given)
    except Exception:  # whatever its operators raise; the image computes it then
        return None
    return [np.asarray(array) for array in found]


def _of_shape(node: ir.Node) -> NDArray[np.int64]:
    value = node.inputs[0]
    assert value is not None
    assert value.shape is not None
    sizes = [int(size) for size in value.shape if isinstance(size, int)]
    if node.op_type == "Size":
        return np.array(np.prod(sizes, dtype=np.int64))
    end = node.attributes.get_int("end", len(sizes))
    return np.array(sizes[node.attributes.get_int("start", 0) : end], np.int64)


def _taken(node: ir.Node) -> ir.Graph | None:
    """The branch of an If whose condition is known."""
    condition = node.inputs[0].const_value if node.op_type == "If" and node.inputs[0] is not None else None
    if condition is None:
        return None
    return node.attributes["then_branch" if condition.numpy().reshape(-1)[0] else "else_branch"].as_graph()


def _inline(node: ir.Node) -> None:
    """Put the branch that is taken in the place of an If."""
    branch, owner = _taken(node), _home(node)
    if branch is None:
        return
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        owner.register_initializer(value)
    results = list(branch.outputs)
    branch.outputs.clear()
    moved = list(branch)
    branch.remove(moved)
    owner.insert_before(node, moved)
    for value, result in zip(node.outputs, results, strict=True):
        if value.is_graph_output():
            _give(owner, node, value, result)
        else:
            value.replace_all_uses_with(result)
    owner.remove(node, safe=True)


def _give(owner: ir.Graph, node: ir.Node, value: ir.Value, result: ir.Value) -> None:
    """Let a graph give a result under the name of the value that it gave."""
    name = value.name or ""
    same = ir.Node("", "Identity", [result], outputs=[ir.Value(type=result.type, shape=result.shape)])
    same.name = f"{node.name}_{name}"
    owner.insert_before(node, same)
    value.replace_all_uses_with(same.outputs[0], replace_graph_outputs=True)
    value.name, same.outputs[0].name = f"{name}_", name


def is_closed(branch: ir.Graph) -> bool:
    """Whether shapes rule a branch out: taking it is an error of the caller."""
    return branch.metadata_props.get(_CLOSED) == "yes"


def _ruled_out(node: ir.Node, opset: int) -> tuple[ir.Graph, ir.Graph] | None:
    """The branch of an If that cannot run on these shapes, and the one that can."""
    if node.op_type != "If" or any(v.shape is not None and v.shape.is_static() for v in node.outputs):
        return None
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    wrong = [branch for branch in branches if any(_contradicts(inner, opset) for inner in branch)]
    right = [branch for branch in branches if branch not in wrong and _gives_known_shapes(branch)]
    return (wrong[0], right[0]) if len(wrong) == len(right) == 1 else None


def _gives_known_shapes(branch: ir.Graph) -> bool:
    return all(v.shape is not None and v.shape.is_static() and v.dtype is not None for v in branch.outputs)


def _contradicts(node: ir.Node, opset: int) -> bool:
    """Whether a node refuses inputs of these shapes, all of them known."""
    import onnx

    given = [value for value in node.inputs if value is not None]
    if node.domain or node.op_type in _LEFT or any(v.type is None or v.shape is None for v in given):
        return False
    if not all(value.shape.is_static() for value in given if value.shape is not None):
        return False
    types = {value.name or "": ir.serde.serialize_value(value).type for value in given}
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
        onnx.shape_inference.infer_node_outputs(schema, ir.serde.serialize_node(node), types)
    except onnx.shape_inference.InferenceError:
        return True
    except onnx.defs.SchemaError:
        return False
    return False


def _close(node: ir.Node, opset: int) -> None:
    """Let a branch that is ruled out give zeros of the other's shapes, and say so of it."""
    found = _ruled_out(node, opset)
    if found is None:
        return
    branch, other = found
    results = [_zeros(branch, value) for value in other.outputs]
    branch.outputs.clear()
    for inner in reversed(list(branch)):
        branch.remove(inner)
    branch.extend(results)
    branch.outputs.extend(result.outputs[0] for result in results)
    branch.metadata_props[_CLOSED] = "yes"


def _zeros(branch: ir.Graph, like: ir.Value) -> ir.Node:
    """A node that gives zeros."""
    assert like.shape is not None
    assert like.dtype is not None
    sizes = tuple(size for size in like.shape if isinstance(size, int))
    name = f"{like.name}_closed"
    tensor = ir.tensor(np.zeros(sizes, like.dtype.numpy()), name=f"{name}_zeros")
    kind = ir.TensorType(like.dtype)
    constant = ir.Value(name=tensor.name, type=kind, shape=ir.Shape(sizes), const_value=tensor)
    branch.register_initializer(constant)
    node = ir.Node("", "Identity", [constant], outputs=[ir.Value(name=name, type=kind, shape=ir.Shape(sizes))])
    node.name = name
    return node
