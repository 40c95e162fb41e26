"""Operator signatures of the ONNX standard in plain Python: what a node may be given, version by version."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

__all__ = ["Formal", "Signature", "newest_opset", "signature", "type_name"]


@dataclass(frozen=True, slots=True)
class Formal:
    """A formal input or output.

    Attributes:
        variable: name of the type variable, or of the concrete type.
        types: type names it accepts, such as `tensor(float)`.
        optional, variadic, homogeneous: as in the ONNX schema.
    """

    name: str
    variable: str
    types: frozenset[str]
    optional: bool
    variadic: bool
    homogeneous: bool

    def accepts(self, type_: ir.TypeProtocol) -> bool:
        return type_name(type_) in self.types


@dataclass(frozen=True, slots=True)
class Signature:
    """An operator at one version.

    Attributes:
        since: opset version that introduced this form.
        attributes: name → (type, whether it must be given).
    """

    since: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    attributes: Mapping[str, tuple[ir.AttributeType, bool]]
    deprecated: bool


@functools.cache
def signature(domain: str, op: str, opset: int) -> Signature | None:
    """Signature of an operator in the version that `opset` selects; None where the standard has no such operator."""
    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None
    constraints = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
    return Signature(
        schema.since_version,
        tuple(_formal(p, constraints) for p in schema.inputs),
        tuple(_formal(p, constraints) for p in schema.outputs),
        schema.min_input,
        schema.max_input,
        schema.min_output,
        schema.max_output,
        {name: (_ATTRIBUTE_TYPES[a.type], a.required) for name, a in schema.attributes.items()},
        schema.deprecated,
    )


def newest_opset() -> int:
    """Newest version of the default domain that the installed onnx package knows."""
    return int(onnx.defs.onnx_opset_version())


def type_name(type_: ir.TypeProtocol) -> str:
    """The schema spelling of a type: `tensor(float)`, `seq(tensor(int64))`, `optional(tensor(bool))`."""
    if isinstance(type_, ir.TensorType):
        return f"tensor({_ELEMENTS.get(type_.dtype, type_.dtype.name.lower())})"
    if isinstance(type_, ir.SparseTensorType):
        return f"sparse_tensor({_ELEMENTS.get(type_.dtype, type_.dtype.name.lower())})"
    wrapper = "seq" if isinstance(type_, ir.SequenceType) else "optional"
    inner = type_.elem_type
    return f"{wrapper}({type_name(inner) if not isinstance(inner, ir.DataType) else inner.name.lower()})"


_ATTRIBUTE_TYPES = {getattr(onnx.defs.OpSchema.AttrType, t.name): t for t in ir.AttributeType if t.value}
_ELEMENTS = {ir.DataType.FLOAT: "float", ir.DataType.DOUBLE: "double"}


def _formal(parameter: onnx.defs.OpSchema.FormalParameter, constraints: Mapping[str, frozenset[str]]) -> Formal:
    option = parameter.option
    options = onnx.defs.OpSchema.FormalParameterOption
    return Formal(
        parameter.name,
        parameter.type_str,
        constraints.get(parameter.type_str, frozenset((parameter.type_str,))),
        option == options.Optional,
        option == options.Variadic,
        parameter.is_homogeneous,
    )
