"""A Q or DQ on its own: the host's work at the border of a part, a rescaling inside it."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_backend_npu.lowering.elementwise import to_output
from deepseek_backend_npu.lowering.emitter import Emitter
from deepseek_core import Operand, QParams, Role, Unit
from deepseek_core.errors import BackendError
from deepseek_core.ir import qparams_of
from deepseek_core.lowering import canonical

__all__ = ["Conversions"]


class Conversions:
    """Remembers which real values are codes in disguise, for a Q that follows a DQ."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter
        self._codes: dict[ir.Value, Operand] = {}

    def quantize(self, unit: Unit) -> None:
        source, result = _ends(unit)
        qparams = _qparams(unit)
        if self._emitter.is_at_host(source) and source not in self._codes:
            self._emitter.convert(quantizes=True, source=source, result=result, qparams=qparams, early=True)
            return
        codes = self._codes.get(source)
        if codes is None:
            raise BackendError(f"nothing computes '{source.name}'", fix="place its unit on another target")
        tensor = self._emitter.codes(codes)
        order = self._emitter.order(codes.value) or canonical(len(tensor.shape))
        wanted = Operand(result, source, Role.DATA, qparams)
        self._emitter.define(result, to_output(self._emitter, codes, tensor, wanted), order)

    def dequantize(self, unit: Unit) -> None:
        source, result = _ends(unit)
        qparams = _qparams(unit)
        self._codes[result] = Operand(source, result, Role.DATA, qparams)
        early = self._emitter.is_at_host(source)
        if not early and result.is_graph_output():
            self._emitter.result(source)
        if early or result.is_graph_output():
            self._emitter.convert(quantizes=False, source=source, result=result, qparams=qparams, early=early)


def _ends(unit: Unit) -> tuple[ir.Value, ir.Value]:
    source = unit.node.inputs[0]
    if source is None or source.const_value is not None:
        raise BackendError(f"'{unit.name}' converts a constant", fix="fold it, or place it on another target")
    return source, unit.node.outputs[0]


def _qparams(unit: Unit) -> QParams:
    found = qparams_of(unit.node)
    if found is None:
        raise BackendError(f"'{unit.name}' has a scale that is not constant", fix="place it on another target")
    return found
