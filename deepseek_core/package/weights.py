"""Large constants live beside the graph, uncompressed and aligned, so that a package is mapped and not read.

`model.onnx` refers to `model.weights` with ONNX external data (onnx.proto, TensorProto.external_data): the two
members, extracted into one folder, are an ordinary ONNX model. Nothing here needs the whole model in one protobuf,
which ends at 2 GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

import numpy as np
import onnx
import onnx_ir as ir

from deepseek_core.errors import ModelError, PackageError
from deepseek_core.ir.checks.report import refuse
from deepseek_core.ir.checks.signatures import signature_problems
from deepseek_core.ir.checks.structure import structure_problems
from deepseek_core.ir.screen import screen
from deepseek_core.package.archive import ALIGNMENT, Buffer, damaged

__all__ = ["LOCATION", "THRESHOLD", "Constant", "chunks", "externalize", "internalize"]

LOCATION = "model.weights"
THRESHOLD = 4096
"""Constants of at least this many bytes leave the graph."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant outside the graph, `offset` bytes into `model.weights`."""

    offset: int
    tensor: ir.TensorProtocol

    @property
    def size(self) -> int:
        """Bytes."""
        return self.tensor.nbytes

    def content(self) -> bytes:
        """Its bytes; a copy, made anew so that a large model is not held twice."""
        return self.tensor.tobytes()


def externalize(model: ir.Model) -> tuple[bytes, list[Constant]]:
    """The serialised graph with its large constants outside, and those constants in file order.

    `model` is not changed. `chunks` gives the bytes of the constants where the graph looks for them; constants with
    equal bytes are one.

    Raises:
        PackageError: the graph alone is larger than a protobuf can be.
    """
    shell = model.clone()
    stored: dict[bytes, Constant] = {}
    end = 0
    for graph in shell.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype is ir.DataType.STRING or tensor.nbytes < THRESHOLD:
                continue
            constant = stored.setdefault(sha256(tensor.tobytes()).digest(), Constant(_aligned(end), tensor))
            end = max(end, constant.offset + constant.size)
            value.const_value = _reference(tensor, constant.offset, value.name or "")
    proto = ir.to_proto(shell)
    try:
        return proto.SerializeToString(deterministic=True), list(stored.values())
    except Exception as error:  # protobuf's implementations raise different classes for what is too large
        raise PackageError(f"the graph cannot be serialised ({error})", fix="store constants as initializers") from None


def chunks(constants: Iterable[Constant]) -> Iterator[Buffer]:
    """Bytes of `model.weights`, one constant at a time."""
    end = 0
    for constant in constants:
        yield bytes(constant.offset - end)
        yield constant.content()
        end = constant.offset + constant.size


def internalize(graph: bytes, weights: memoryview) -> ir.Model:
    """The model of a serialised graph, its large constants being views into `weights`.

    Raises:
        PackageError: the graph is not a well-formed model, or refers to anything but `weights`.
    """
    try:
        proto = onnx.ModelProto.FromString(graph)
        screen(proto)
        model: ir.Model = ir.from_proto(proto)
    except ModelError as error:
        raise damaged(f"its model is malformed: {error.message}") from None
    except Exception as error:  # protobuf and onnx-ir raise many kinds; to a user they all mean this
        raise damaged(f"its model cannot be read ({str(error).splitlines()[0] if str(error) else error!r})") from None
    for scope in model.graphs():
        for value in scope.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _view(value.const_value, weights)
        for node in scope:
            for attribute in node.attributes.values():
                _refuse_external(attribute)
    try:  # native code that works on the model later trusts its input
        refuse(chain(structure_problems(model), signature_problems(model)))
    except ModelError as error:
        raise damaged(f"its model is malformed: {error.message}") from None
    return model


def _aligned(position: int) -> int:
    return position + -position % ALIGNMENT


def _reference(tensor: ir.TensorProtocol, offset: int, name: str) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        LOCATION,
        offset,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=name,
        doc_string=tensor.doc_string,
    )


def _view(tensor: ir.ExternalTensor, weights: memoryview) -> ir.TensorProtocol:
    offset, length = tensor.offset or 0, tensor.length
    name, dtype, shape = tensor.name, tensor.dtype, tensor.shape
    if tensor.location != LOCATION:
        raise damaged(f"constant '{name}' is stored outside the package")
    if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED) or any(size < 0 for size in shape.numpy()):
        raise damaged(f"constant '{name}' has an impossible type")
    if length != tensor.nbytes or offset % ALIGNMENT or not 0 <= offset <= offset + length <= len(weights):
        raise damaged(f"constant '{name}' lies outside the stored weights")
    data = weights[offset : offset + length]
    if dtype.bitwidth < 8:
        packed = np.frombuffer(data, np.uint8)
        return ir.PackedTensor(packed, dtype, shape=shape, name=name, doc_string=tensor.doc_string)
    array = np.frombuffer(data, dtype.numpy()).reshape(shape.numpy())
    return ir.Tensor(array, dtype, shape=shape, name=name, doc_string=tensor.doc_string)


def _refuse_external(attribute: ir.Attr) -> None:
    values = attribute.value if attribute.type is ir.AttributeType.TENSORS else (attribute.value,)
    if any(isinstance(value, ir.ExternalTensor) for value in values):
        raise damaged(f"attribute '{attribute.name}' is stored outside the package")
