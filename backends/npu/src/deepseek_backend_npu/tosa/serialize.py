"""A TOSA graph as the bytes of a `.tosa` FlatBuffer, version 1.0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from deepseek_backend_npu.tosa.graph import Graph, Operator, Tensor
from deepseek_backend_npu.tosa.schema import ATTRIBUTES, DType, Op

__all__ = ["serialize"]

_VERSION = (1, 0, 0)
_ALIGNMENT = 8
_MIB = 1 << 20

Builder = Any
"""`flatbuffers.Builder`; the package comes without types."""


def serialize(graph: Graph) -> bytes:
    """The file: version, and one region with one block."""
    import flatbuffers

    size = sum(len(tensor.data or b"") for tensor in _tensors(graph))
    builder = flatbuffers.Builder(_MIB + size)
    block = _block(builder, graph)
    name = builder.CreateString("main")
    blocks = _offsets(builder, [block])
    region = _table(builder, 2, {0: name, 1: blocks})
    regions = _offsets(builder, [region])
    version = _version(builder)
    root = _table(builder, 4, {0: version, 1: regions})
    builder.Finish(root, file_identifier=b"TOSA")
    return bytes(builder.Output())


def _tensors(graph: Graph) -> Iterable[Tensor]:
    yield from graph.inputs
    for operator in graph.operators:
        yield operator.output


def _block(builder: Builder, graph: Graph) -> int:
    every = list(_tensors(graph))
    shapes = _offsets(builder, [_shape(builder, t) for t in every if t.dtype is DType.SHAPE])
    tensors = _offsets(builder, [_tensor(builder, t) for t in every if t.dtype is not DType.SHAPE])
    operators = _offsets(builder, [_operator(builder, operator) for operator in graph.operators])
    inputs, outputs = (_names(builder, tensors_) for tensors_ in (graph.inputs, graph.outputs))
    name = builder.CreateString("main")
    return _table(builder, 6, {0: name, 1: operators, 2: tensors, 3: inputs, 4: outputs, 5: shapes})


def _shape(builder: Builder, tensor: Tensor) -> int:
    data = _bytes(builder, tensor.data or b"")
    name = builder.CreateSharedString(tensor.name)
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, tensor.shape[0], 0)
    builder.PrependUOffsetTRelativeSlot(2, data, 0)
    return int(builder.EndObject())


def _tensor(builder: Builder, tensor: Tensor) -> int:
    data = None if tensor.data is None else _bytes(builder, tensor.data)
    shape = _ints(builder, tensor.shape)
    name = builder.CreateSharedString(tensor.name)
    builder.StartObject(14)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUOffsetTRelativeSlot(1, shape, 0)
    builder.PrependUint32Slot(2, int(tensor.dtype), 0)
    if data is not None:
        builder.PrependUOffsetTRelativeSlot(3, data, 0)
    return int(builder.EndObject())


def _operator(builder: Builder, operator: Operator) -> int:
    attribute = _attribute(builder, operator.op, operator.attributes)
    inputs = _names(builder, operator.inputs)
    outputs = _names(builder, [operator.output])
    builder.StartObject(6)
    builder.PrependUint32Slot(0, int(operator.op), 0)
    builder.PrependUint8Slot(1, int(operator.op), 0)
    builder.PrependUOffsetTRelativeSlot(2, attribute, 0)
    builder.PrependUOffsetTRelativeSlot(3, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(4, outputs, 0)
    return int(builder.EndObject())


def _attribute(builder: Builder, op: Op, given: Any) -> int:
    fields = ATTRIBUTES.get(op, ())
    values = {name: given.get(name, default) for name, _, default in fields}
    vectors = {name: _VECTORS[kind](builder, values[name]) for name, kind, _ in fields if kind in _VECTORS}
    builder.StartObject(len(fields))
    for slot, (name, kind, _) in enumerate(fields):
        if kind in _VECTORS:
            builder.PrependUOffsetTRelativeSlot(slot, vectors[name], 0)
        elif kind == "bool":
            builder.PrependBoolSlot(slot, bool(values[name]), False)
        elif kind == "uint":
            builder.PrependUint32Slot(slot, int(values[name]), 0)
        else:
            builder.PrependInt32Slot(slot, int(values[name]), 0)
    return int(builder.EndObject())


def _version(builder: Builder) -> int:
    builder.StartObject(4)
    for slot, number in enumerate(_VERSION):
        builder.PrependInt32Slot(slot, number, -1)
    builder.PrependBoolSlot(3, False, True)  # not a draft
    return int(builder.EndObject())


def _table(builder: Builder, slots: int, offsets: dict[int, int]) -> int:
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _names(builder: Builder, tensors: Sequence[Tensor]) -> int:
    return _offsets(builder, [builder.CreateSharedString(tensor.name) for tensor in tensors])


def _offsets(builder: Builder, offsets: Sequence[int]) -> int:
    """A vector of offsets, each relative to where it is: the buffer grows downwards, so the last is written first."""
    count = len(offsets)
    builder.StartVector(4, count, 4)
    places = builder.Offset() + 4 * np.arange(count, 0, -1)
    return _filled(builder, (places - np.array(offsets, np.int64)).astype("<u4").tobytes(), count)


def _ints(builder: Builder, values: Sequence[int]) -> int:
    builder.StartVector(4, len(values), 4)
    return _filled(builder, np.array(values, "<i4").tobytes(), len(values))


def _bytes(builder: Builder, data: bytes) -> int:
    """A byte vector whose first byte is aligned, as the schema asks of constants."""
    builder.StartVector(1, len(data), _ALIGNMENT)
    return _filled(builder, data, len(data))


def _filled(builder: Builder, data: bytes, count: int) -> int:
    """End a vector whose elements are these bytes."""
    start = builder.Head() - len(data)
    builder.Bytes[start : start + len(data)] = data
    builder.head = start
    return int(builder.EndVector())


_VECTORS: dict[str, Callable[[Builder, Any], int]] = {"ints": _ints, "bytes": _bytes}
