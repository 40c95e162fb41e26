"""Functions of one value: tables of 256 codes."""

from __future__ import annotations

from deepseek_backend_rocm.capabilities import TABLES
from deepseek_backend_rocm.lowering.codes import through
from deepseek_backend_rocm.lowering.emitter import Emitter, qparams_for
from deepseek_core import Role, Unit
from deepseek_core.lowering import UnaryFunction, code_table

__all__ = ["LOWERINGS"]


def _table(unit: Unit, emitter: Emitter) -> None:
    (x,), y = unit.operands(Role.DATA), unit.outputs[0]
    table = code_table(qparams_for(x), qparams_for(y), UnaryFunction.of(unit.node))
    emitter.define(y.value, through(emitter, emitter.tensor(x.value), table))


LOWERINGS = dict.fromkeys(TABLES, _table)
