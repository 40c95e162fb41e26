"""QuantizedModel: an onnx_ir.Model in canonical QDQ form, with the views the rest of the SDK works on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from deepseek_core.ir.units import Unit, all_units, units

__all__ = ["QuantizedModel", "TensorInfo", "signature", "tensor_info"]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type and shape of a graph input or output.

    Attributes:
        dtype: NumPy name ("float32", "int64", "object" for strings), "unknown", or "sequence of float32" and
            "optional of float32" for values that are no arrays; their shape is that of the elements.
        shape: one entry per dimension, a string for a symbolic one, None for unknown; None when the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(eq=False, slots=True)
class QuantizedModel:
    """The IR. `graph` may hold quantized units, float units or both; canonical form is in `ir.canonical`.

    Attributes:
        model: the onnx-ir model; the only graph there is.
        metadata: provenance as plain JSON values (`source_sha256`, `recipe`, `calibration` digest, and
            `sample_shapes`: the inputs' shapes in the first calibration sample).
    """

    model: ir.Model
    metadata: dict[str, object] = field(default_factory=dict)

    @property
    def graph(self) -> ir.Graph:
        return self.model.graph

    @property
    def opset(self) -> int:
        """Version of the default domain."""
        return self.model.opset_imports.get("", 0)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What `run` must be fed: graph inputs that are not initializers."""
        return tuple(tensor_info(v) for v in self.graph.inputs if v.name not in self.graph.initializers)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(tensor_info(v) for v in self.graph.outputs)

    def units(self) -> list[Unit]:
        """Units of the main graph in topological order."""
        return units(self.graph)

    def all_units(self) -> Iterator[Unit]:
        """Units of the main graph and of every control-flow body."""
        return all_units(self.graph)

    def clone(self) -> QuantizedModel:
        """A copy whose graph can be changed; constant data is shared."""
        return QuantizedModel(self.model.clone(), dict(self.metadata))

    def digest(self) -> str:
        """SHA-256 (hex) of the serialised model; equal models with equal node order have equal digests."""
        return hashlib.sha256(ir.to_proto(self.model).SerializeToString(deterministic=True)).hexdigest()


def signature(infos: Mapping[str, TensorInfo] | tuple[TensorInfo, ...]) -> str:
    """One line for people: `input float32[1, 3, 224, 224]`."""
    entries = infos.values() if isinstance(infos, Mapping) else infos
    return ", ".join(
        f"{i.name} {i.dtype}[{', '.join('?' if d is None else str(d) for d in i.shape)}]"
        if i.shape is not None
        else f"{i.name} {i.dtype}[…]"
        for i in entries
    )


def tensor_info(value: ir.Value) -> TensorInfo:
    """Name, element type and shape of a value of the graph."""
    shape: tuple[int | str | None, ...] | None = None
    if value.shape is not None:
        shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return TensorInfo(value.name or "", _type_name(value.type), shape)


def _type_name(type: ir.TypeProtocol | None) -> str:
    if isinstance(type, ir.SequenceType | ir.OptionalType):
        kind = "sequence" if isinstance(type, ir.SequenceType) else "optional"
        return f"{kind} of {_type_name(type.elem_type)}"
    if type is None or type.dtype is ir.DataType.UNDEFINED:
        return "unknown"
    return "object" if type.dtype is ir.DataType.STRING else str(type.dtype.numpy())
