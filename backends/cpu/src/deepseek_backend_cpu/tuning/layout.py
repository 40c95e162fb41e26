"""Where integer kernels keep images channels-last, so that a neighbour in float pays for a transpose."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deepseek_core import Unit

__all__ = ["channels_last_values"]

_SOURCES = frozenset(["Conv"])
_FOLLOWERS = frozenset(
    [
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "GlobalAveragePool",
        "LeakyRelu",
        "MaxPool",
        "Mul",
        "ReduceMean",
        "Relu",
        "Sigmoid",
    ]
)
"""ONNX Runtime moves transposes through these, so they follow the layout of their neighbours."""


def channels_last_values(units: Sequence[Unit]) -> set[ir.Value]:
    """Quantized rank-4 values that a Conv, or a unit that follows one, writes or reads."""
    found: set[ir.Value] = set()
    pending = list(units)
    while True:
        left = []
        for unit in pending:
            images = [o.value for o in (*unit.inputs, *unit.outputs) if o is not None and _is_image(o.value)]
            if unit.op in _SOURCES or (unit.op in _FOLLOWERS and not found.isdisjoint(images)):
                found.update(images)
            else:
                left.append(unit)
        if len(left) == len(pending):
            return found
        pending = left


def _is_image(value: ir.Value) -> bool:
    eight_bit = value.dtype in (ir.DataType.UINT8, ir.DataType.INT8)
    return eight_bit and value.const_value is None and value.shape is not None and len(value.shape) == 4
