"""Nodes fit the operators of the opset: counts, attributes, element types (ONNX operator schemas)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from deepseek_core.ir.checks.report import Problem, where
from deepseek_core.ir.schemas import Formal, Signature, newest_opset, signature, type_name

__all__ = ["node_problems", "signature_problems"]

_DOMAINS = frozenset(("", "ai.onnx.ml"))
_CORRECT = "correct the node, or export the model again"


def signature_problems(model: ir.Model) -> Iterator[Problem]:
    """Problems of nodes against the standard's operators; custom domains have no schema to check against."""
    opset = model.opset_imports.get("", 0)
    if opset > newest_opset():
        fix = "pip install --upgrade onnx, or export the model with an older opset"
        yield Problem("the model", f"needs opset {opset}, newer than the installed onnx knows ({newest_opset()})", fix)
        return
    for node in model.graph.all_nodes():
        if node.domain in _DOMAINS:
            yield from node_problems(node, model.opset_imports.get(node.domain, 0))
        elif node.domain not in model.opset_imports:
            yield Problem(where(node), f"its domain '{node.domain}' is not imported", _CORRECT)


def node_problems(node: ir.Node, opset: int) -> Iterator[Problem]:
    """Problems of one node of a standard domain at a version of that domain."""
    spec = signature(node.domain, node.op_type, opset) if opset else None
    if spec is None or spec.deprecated:
        state = "is deprecated in" if spec is not None else "does not exist in"
        yield Problem(where(node), f"the operator {state} opset {opset}", "export the model with a newer exporter")
        return
    yield from _count_problems(node, spec)
    yield from _attribute_problems(node, spec)
    yield from _type_problems(node, spec, opset)


def _count_problems(node: ir.Node, spec: Signature) -> Iterator[Problem]:
    given = len(node.inputs)
    while given and node.inputs[given - 1] is None:
        given -= 1
    if not spec.min_inputs <= given <= spec.max_inputs:
        yield Problem(where(node), f"has {given} inputs, needs {_span(spec.min_inputs, spec.max_inputs)}", _CORRECT)
    if not spec.min_outputs <= len(node.outputs) <= spec.max_outputs:
        wanted = _span(spec.min_outputs, spec.max_outputs)
        yield Problem(where(node), f"has {len(node.outputs)} outputs, needs {wanted}", _CORRECT)
    for value, formal in zip(node.inputs, spec.inputs, strict=False):
        if value is None and not formal.optional and not formal.variadic:
            yield Problem(where(node), f"required input '{formal.name}' is missing", _CORRECT)


def _span(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low} to {high}" if high < 1 << 20 else f"at least {low}"


def _attribute_problems(node: ir.Node, spec: Signature) -> Iterator[Problem]:
    for attribute in node.attributes.values():
        expected = spec.attributes.get(attribute.name)
        if expected is None:
            yield Problem(where(node), f"has no attribute '{attribute.name}'", _CORRECT)
        elif attribute.type != expected[0]:
            found = f"attribute '{attribute.name}' is {attribute.type.name}, not {expected[0].name}"
            yield Problem(where(node), found, _CORRECT)
        elif isinstance(attribute.value, bytes):
            yield Problem(where(node), f"attribute '{attribute.name}' is not UTF-8 text", _CORRECT)
    for name, (_, required) in spec.attributes.items():
        if required and name not in node.attributes:
            yield Problem(where(node), f"required attribute '{name}' is missing", _CORRECT)


def _type_problems(node: ir.Node, spec: Signature, opset: int) -> Iterator[Problem]:
    """Element types the operator takes, and the same type wherever it has the same type variable."""
    bound: dict[str, str] = {}
    for value, formal in (*_paired(node.inputs, spec.inputs), *_paired(node.outputs, spec.outputs)):
        if value is None or value.type is None or value.dtype is ir.DataType.UNDEFINED:
            continue
        name = type_name(value.type)
        if name not in formal.types:
            fix = f"use one of {', '.join(sorted(formal.types)[:8])}, or raise the opset"
            yield Problem(where(node), f"'{value.name}' is {name}, which opset {opset} does not take there", fix)
        elif formal.homogeneous and bound.setdefault(formal.variable, name) != name:
            found = f"'{value.name}' is {name}, another tensor of type {formal.variable} {bound[formal.variable]}"
            yield Problem(where(node), found, "insert a Cast, or export the model again")


def _paired(values: Sequence[ir.Value | None], formals: Sequence[Formal]) -> Iterator[tuple[ir.Value | None, Formal]]:
    """Values with their formal parameter; a variadic one takes all that follow."""
    for position, value in enumerate(values):
        if position < len(formals):
            yield value, formals[position]
        elif formals and formals[-1].variadic:
            yield value, formals[-1]
