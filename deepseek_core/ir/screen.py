"""Screening of an untrusted ONNX message before any library works on it: sizes, names, external files.

A length in the file must never decide how much memory is used: every tensor's declared shape is compared with
the data that is really there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from deepseek_core.ir.checks.report import Problem, refuse

__all__ = ["screen"]

_AGAIN = "export or download the model again"
_DENSE = "export the model with dense tensors"

_BITS = {
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
    **dict.fromkeys(("UINT8", "INT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2"), 8),
    **dict.fromkeys(("FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("UINT16", "INT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("INT64", "UINT64", "DOUBLE", "COMPLEX64"), 64),
    "COMPLEX128": 128,
}
BITS = {getattr(onnx.TensorProto, name): bits for name, bits in _BITS.items() if hasattr(onnx.TensorProto, name)}
"""Bits of one stored element by ONNX data type; strings have none."""

_FIELDS = {
    **dict.fromkeys(("FLOAT", "COMPLEX64"), "float_data"),
    **dict.fromkeys(("DOUBLE", "COMPLEX128"), "double_data"),
    "INT64": "int64_data",
    **dict.fromkeys(("UINT32", "UINT64"), "uint64_data"),
}
_FIELD = {getattr(onnx.TensorProto, name): field for name, field in _FIELDS.items()}


def screen(model: onnx.ModelProto) -> None:
    """Refuse a message that no library should be trusted with.

    Raises:
        ModelError: tensors whose data does not fill their shape, sparse tensors, repeated names, text that is
            no UTF-8; every place is named.
    """
    if not _is_text(model):
        refuse([Problem("the file", "holds a name that is not UTF-8 text", _AGAIN)])
    refuse(_model_problems(model))


def _is_text(message: Message) -> bool:
    """Whether every string of a message is text; protobuf hands out bytes for what is no UTF-8."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.type == field.TYPE_STRING:
            if not all(isinstance(text, str) for text in values):
                return False
        elif field.type == field.TYPE_MESSAGE and not all(map(_is_text, values)):
            return False
    return True


def _model_problems(model: onnx.ModelProto) -> Iterator[Problem]:
    domains = [entry.domain for entry in model.opset_import]
    if len(set(domains)) != len(domains):
        yield Problem("the model", "imports one domain twice", _AGAIN)
    yield from _graph_problems(model.graph)
    for function in model.functions:
        declared = {*function.input}
        outputs = (name for node in function.node for name in node.output)
        missing = set(function.output) - declared - set(outputs)
        if missing or len(declared) != len(function.input):
            yield Problem(f"function '{function.name}'", "has inputs or outputs that contradict its nodes", _AGAIN)
        yield from _nodes_problems(function.node)


def _graph_problems(graph: onnx.GraphProto) -> Iterator[Problem]:
    if graph.sparse_initializer:
        yield Problem(f"graph '{graph.name}'", "has sparse initializers", _DENSE)
    for kind, names in (
        ("input", [value.name for value in graph.input]),
        ("initializer", [tensor.name for tensor in graph.initializer]),
    ):
        if "" in names:
            yield Problem(f"graph '{graph.name}'", f"has an {kind} without a name", _AGAIN)
        if len(set(names)) != len(names):
            yield Problem(f"graph '{graph.name}'", f"names an {kind} twice", _AGAIN)
    for tensor in graph.initializer:
        yield from _tensor_problems(tensor, f"initializer '{tensor.name}'")
    yield from _nodes_problems(graph.node)


def _nodes_problems(nodes: Iterator[onnx.NodeProto]) -> Iterator[Problem]:
    for node in nodes:
        place = f"node '{node.name}' ({node.op_type})"
        names = [attribute.name for attribute in node.attribute]
        if len(set(names)) != len(names):
            yield Problem(place, "gives an attribute twice", _AGAIN)
        for attribute in node.attribute:
            if not attribute.type:
                yield Problem(place, f"attribute '{attribute.name}' has no type", _AGAIN)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                yield Problem(place, "has a sparse tensor", _DENSE)
            tensors = [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
            for tensor in tensors:
                yield from _tensor_problems(tensor, f"{place}, tensor in '{attribute.name}'")
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graph_problems(body)


def _tensor_problems(tensor: onnx.TensorProto, place: str) -> Iterator[Problem]:
    """The declared shape must be filled exactly by the data; external data is measured when it is opened."""
    if tensor.HasField("segment"):
        yield Problem(place, "is stored in segments", _AGAIN)
    if any(d < 0 for d in tensor.dims):
        yield Problem(place, f"has shape {list(tensor.dims)}", _AGAIN)
        return
    elements = math.prod(tensor.dims)
    if tensor.data_type == onnx.TensorProto.STRING:
        wanted, found = elements, len(tensor.string_data)
    elif (bits := BITS.get(tensor.data_type)) is None:
        yield Problem(place, f"has the unknown data type {tensor.data_type}", "upgrade deepseek-core, or export again")
        return
    elif tensor.data_location == onnx.TensorProto.EXTERNAL:
        yield from _external_problems(tensor, place)
        return
    elif tensor.HasField("raw_data"):
        wanted, found = -(-elements * bits // 8), len(tensor.raw_data)
    else:
        wanted, found = _entries(tensor.data_type, bits, elements), _stored(tensor)
    if wanted != found:
        yield Problem(place, f"has shape {list(tensor.dims)} but {found} of {wanted} values or bytes of data", _AGAIN)


def _external_problems(tensor: onnx.TensorProto, place: str) -> Iterator[Problem]:
    for entry in tensor.external_data:
        if entry.key in ("offset", "length") and not (entry.value.isascii() and entry.value.isdecimal()):
            yield Problem(place, f"says '{entry.value}' for the {entry.key} of its external data", _AGAIN)


def _entries(data_type: int, bits: int, elements: int) -> int:
    """Entries of the typed field that hold the elements: 4- and 2-bit ones are packed, complex ones are pairs."""
    if data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return 2 * elements
    return -(-elements * bits // 8) if bits < 6 else elements


def _stored(tensor: onnx.TensorProto) -> int:
    return len(getattr(tensor, _FIELD.get(tensor.data_type, "int32_data")))
