"""Local functions become part of the graph."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir
from onnx_ir.passes import common

from deepseek_core.errors import ModelError
from deepseek_core.ir.checks.report import refuse
from deepseek_core.ir.checks.structure import scope_problems

__all__ = ["inline"]

_LIMIT = 1_000_000
"""Nodes after inlining; beyond it a few nested functions were written to exhaust the memory."""


def inline(model: ir.Model) -> None:
    """Replace calls of local functions by their bodies and drop the functions.

    Raises:
        ModelError: a function is malformed, functions call each other in a circle, or expand beyond all bounds.
    """
    if not model.functions:
        return
    refuse(problem for function in model.functions.values() for problem in scope_problems(function.graph))
    if (size := _expanded_size(model)) > _LIMIT:
        raise ModelError(
            f"the model's local functions expand to {size} nodes", fix="export the model without nested functions"
        )
    try:
        common.InlinePass()(model)
    except (ir.passes.InvariantError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"local functions cannot be inlined: {_root(error)}",
            fix="inline them with onnx.inliner before loading",
        ) from error
    model.functions.clear()


def _root(error: BaseException) -> str:
    """The innermost reason: the library wraps it in the printed form of whole nodes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:300] or type(error).__name__


def _expanded_size(model: ir.Model) -> int:
    """Nodes of the main graph once every call is replaced; cycles are left to the inliner's own check."""
    calls = {key: Counter(node.op_identifier() for node in body.all_nodes()) for key, body in model.functions.items()}
    sizes: dict[ir.OperatorIdentifier, int] = {}
    pending = list(calls)
    while pending:
        later = []
        for key in pending:
            inner = [called for called in calls[key] if called in calls]
            if all(called in sizes for called in inner):
                sizes[key] = sum(sizes.get(called, 1) * count for called, count in calls[key].items())
            else:
                later.append(key)
        if len(later) == len(pending):
            return 0
        pending = later
    return sum(sizes.get(node.op_identifier(), 1) for node in model.graph.all_nodes())
