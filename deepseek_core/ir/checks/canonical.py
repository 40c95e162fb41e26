"""The rules of canonical QDQ form (see `ir.canonical`)."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from deepseek_core.ir.canonical.qoperators import is_lowerable
from deepseek_core.ir.checks.report import Problem, where
from deepseek_core.ir.qdq import DQ, is_q_or_dq
from deepseek_core.ir.query import constant, is_node

__all__ = ["canonical_problems"]

_FIX = "run deepseek_core.ir.canonical.canonicalize on the model"


def canonical_problems(model: ir.Model) -> Iterator[Problem]:
    """Places where a model is not in canonical form."""
    for _, name, _ in model.functions:
        yield Problem("the model", f"has a local function '{name}'", _FIX)
    for graph in model.graphs():
        for value in graph.inputs:
            if value.is_initializer():
                yield Problem(where(value), "is an input and an initializer", _FIX)
    opset = model.opset_imports.get("", 0)
    for node in model.graph.all_nodes():
        if is_node(node, "Constant") and not any(v.is_graph_output() for v in node.outputs):
            yield Problem(where(node), "is a Constant node, not an initializer", _FIX)
        elif is_lowerable(node, opset):
            yield Problem(where(node), "is a QOperator", _FIX)
        elif is_q_or_dq(node) and len(node.inputs) > 1 and node.outputs:
            yield from _q_or_dq_problems(node)


def _q_or_dq_problems(node: ir.Node) -> Iterator[Problem]:
    implied = len(node.inputs) < 3 or node.inputs[2] is None
    if implied and constant(node.inputs[1]) is not None and node.inputs[0] is not None and node.inputs[0].dtype:
        yield Problem(where(node), "has no explicit zero point", _FIX)
    output = node.outputs[0]
    if is_node(node, DQ):
        readers = len(output.uses()) + output.is_graph_output()
        if readers > 1:
            yield Problem(where(node), f"feeds {readers} inputs instead of one", _FIX)
        if any(use.node.graph is not node.graph for use in output.uses()):
            yield Problem(where(node), "is read by the body of another node", _FIX)
    elif all(constant(value) is not None for value in node.inputs) and not output.is_graph_output():
        yield Problem(where(node), "quantizes a constant", _FIX)
