"""TIR statements without parallel loops: those would call TVM's runtime. Runs in TVM's process."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

__all__ = ["block_with", "serial"]

_FIELDS = (
    *("iter_vars", "reads", "writes", "name_hint", "body", "init"),
    *("alloc_buffers", "match_buffers", "annotations"),
)


def serial(statement: Any) -> Any:
    """The statement with each parallel loop as a plain one."""
    if isinstance(statement, s_tir.SBlockRealize):
        block = block_with(statement.block, body=serial(statement.block.body))
        return s_tir.SBlockRealize(statement.iter_values, statement.predicate, block)
    if isinstance(statement, tirx.SeqStmt):
        return tirx.SeqStmt([serial(piece) for piece in statement.seq])
    if isinstance(statement, tirx.AttrStmt):
        return serial(statement.body) if statement.attr_key.startswith("pragma") else statement
    if isinstance(statement, tirx.IfThenElse):
        otherwise = statement.else_case
        branches = (serial(statement.then_case), None if otherwise is None else serial(otherwise))
        return tirx.IfThenElse(statement.condition, *branches)
    if isinstance(statement, tirx.For) and statement.kind in (tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL):
        return tirx.For(
            statement.loop_var,
            statement.min,
            statement.extent,
            tirx.ForKind.SERIAL,
            serial(statement.body),
            annotations=statement.annotations,
            step=statement.step,
        )
    return statement


def block_with(block: Any, **changes: Any) -> Any:
    """A block with some of its fields replaced."""
    return s_tir.SBlock(**{name: changes.get(name, getattr(block, name)) for name in _FIELDS})
