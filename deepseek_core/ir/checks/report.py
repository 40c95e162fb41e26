"""A rule that a model breaks: where, what and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from deepseek_core.errors import ModelError

__all__ = ["Problem", "refuse", "where"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule.

    Attributes:
        where: the node, value or part of the file, as `where` writes it.
        what: what is wrong with it.
        fix: what to do about it, in the imperative.
    """

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one error that names every problem; do nothing when there is none.

    Raises:
        ModelError: there are problems; the fix is that of each kind of problem, in order.
    """
    found = list(dict.fromkeys(problems))
    if not found:
        return
    more = f" | and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    fixes = dict.fromkeys(problem.fix for problem in found[:_SHOWN])
    raise ModelError(" | ".join(map(str, found[:_SHOWN])) + more, fix="; ".join(fixes))


def where(subject: ir.Node | ir.Value | ir.Graph) -> str:
    """`node 'conv1' (Conv)`, `value 'x'` or `graph 'main'`."""
    if isinstance(subject, ir.Node):
        key = f"{subject.domain}::{subject.op_type}" if subject.domain else subject.op_type
        return f"node '{subject.name}' ({key})"
    return f"{'value' if isinstance(subject, ir.Value) else 'graph'} '{subject.name}'"
