"""Shape and type inference of a whole model with ONNX's own inference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from deepseek_core.errors import ModelError
from deepseek_core.ir.isolated import CrashError, NativeError, call
from deepseek_core.ir.model import QuantizedModel

__all__ = ["forget_placeholder_sizes", "infer_shapes", "with_input_shapes"]

_BIG = 1024
"""Bytes; a larger initializer tells inference nothing that its shape does not, and would only be copied."""


def infer_shapes(model: ir.Model, *, isolate: bool = False) -> None:
    """Fill in types and shapes that follow from the inputs, in place; what cannot be inferred keeps what it had.

    Value names must be unique over the model. What a file declares is believed where inference says nothing.

    Args:
        isolate: the model comes from a file that nobody vouches for; see `ir.isolated`.

    Raises:
        ModelError: types or shapes contradict each other; the message names the node.
    """
    proto = ir.to_proto(_skeleton(model))
    try:
        inferred = _inferred(proto, isolate=isolate)
    except CrashError as error:
        raise ModelError(f"shapes cannot be inferred: {error}", fix=_FIX) from error
    _adopt(model, ir.from_proto(inferred))


def with_input_shapes(model: QuantizedModel, shapes: Mapping[str, Sequence[int]]) -> QuantizedModel:
    """A copy of `model` for inputs of these shapes, with every shape that follows from them.

    Args:
        shapes: input name → sizes; names that are no inputs are ignored, inputs that are missing stay as they are.

    Raises:
        ModelError: the shapes contradict the model; the message names the node.
    """
    copy, sizes = model.clone(), list[tuple[str, int]]()
    for value in copy.graph.inputs:
        given = shapes.get(value.name or "")
        if given is not None:
            sizes += _named(value.shape or (), given)
            value.shape = ir.Shape(given)
    known = dict(sizes)
    if known.items() == set(sizes):  # else one name is given two sizes: it says nothing
        for value in (value for graph in copy.model.graphs() for value in _values(graph)):
            _fix(value, known)
    infer_shapes(copy.model)
    return copy


def _named(before: Iterable[int | ir.SymbolicDim], sizes: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Sizes that had a name, and what they are now."""
    for dim, size in zip(before, sizes, strict=False):
        if not isinstance(dim, int) and dim.value and isinstance(size, int):
            yield dim.value, size


def _fix(value: ir.Value, known: Mapping[str, int]) -> None:
    """Give named sizes their numbers, where inference may not find them: one name is one size."""
    if value.shape is not None and not value.shape.is_static():
        dims = (dim if isinstance(dim, int) else known.get(dim.value or "", dim) for dim in value.shape)
        value.shape = ir.Shape(dims)


def forget_placeholder_sizes(model: ir.Model) -> None:
    """Some exporters write -1 or "?" for a size they do not know; ONNX says to leave it out (IR.md, Static shapes).

    Two dimensions both named "?" would have to be equal.
    """
    for graph in model.graphs():
        for value in (*graph.inputs, *(v for node in graph for v in node.outputs)):
            if value.shape is not None and any(map(_is_placeholder, value.shape)):
                value.shape = ir.Shape([None if _is_placeholder(size) else size for size in value.shape])


def _is_placeholder(size: int | ir.SymbolicDim) -> bool:
    if isinstance(size, int):
        return size < 0
    return size.value is not None and not any(map(str.isalnum, str(size.value)))


def _inferred(proto: onnx.ModelProto, *, isolate: bool) -> onnx.ModelProto:
    try:
        return _run(proto, isolate=isolate)
    except NativeError:
        # A declared shape may simply be out of date (a changed batch size); the graph itself decides.
        _forget_shapes(proto.graph)
    try:
        return _run(proto, isolate=isolate)
    except NativeError as error:
        # Inside the function that onnx itself makes of an operator, the fault may be onnx's own (default
        # attributes are missing there), so such a failure says nothing about the model.
        if str(error).count(_MARK) < 2:
            raise ModelError(_sentence(error), fix=_FIX) from error
    return _run(proto, isolate=isolate, strict=False)


def _run(proto: onnx.ModelProto, *, isolate: bool, strict: bool = True) -> onnx.ModelProto:
    def work(data: bytes) -> bytes:
        result = onnx.shape_inference.infer_shapes(data, check_type=True, strict_mode=strict, data_prop=True)
        return bytes(result.SerializeToString())

    inferred: onnx.ModelProto = onnx.ModelProto.FromString(call(work, proto.SerializeToString(), isolate=isolate))
    return inferred


_FIX = "correct the model, or export it again"
_MARK = "Inference error(s)"


def _skeleton(model: ir.Model) -> ir.Model:
    """A copy whose large initializers are inputs without data."""
    copy = model.clone()
    for name, value in list(copy.graph.initializers.items()):
        if value.const_value is not None and value.const_value.nbytes > _BIG:
            del copy.graph.initializers[name]
            value.const_value = None
            if not value.is_graph_input():
                copy.graph.inputs.append(value)
    return copy


def _forget_shapes(graph: onnx.GraphProto) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.output):
        if value.type.HasField("tensor_type") and value.name not in constants:
            value.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _forget_shapes(body)


def _adopt(model: ir.Model, inferred: ir.Model) -> None:
    known = {v.name: v for graph in inferred.graphs() for v in _values(graph)}
    for graph in model.graphs():
        for value in _values(graph):
            found = known.get(value.name)
            if found is not None:
                value.shape = found.shape if found.shape is not None else value.shape
                value.type = found.type if found.type is not None else value.type


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.outputs, *(v for node in graph for v in node.outputs if v.name)]


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines).removeprefix("[ShapeInferenceError] ")[:400]
