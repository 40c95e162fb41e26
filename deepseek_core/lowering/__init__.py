"""Lowering: what compilers of backends have in common, free of any device.

Functions of one number as tables of codes, tensors as they lie in memory, windows, and what is asked of operands.
"""

from deepseek_core.lowering.codes import signed
from deepseek_core.lowering.functions import UnaryFunction, code_table
from deepseek_core.lowering.layout import (
    Layout,
    Order,
    broadcast,
    canonical,
    channels_last,
    collapse,
    stretched,
    strides_of,
)
from deepseek_core.lowering.operands import clip_bounds, constant_of, reduced_axes, scalar_of, shape_of
from deepseek_core.lowering.windows import Axis, transposed_axes, window_axes

__all__ = [
    "Axis",
    "Layout",
    "Order",
    "UnaryFunction",
    "broadcast",
    "canonical",
    "channels_last",
    "clip_bounds",
    "code_table",
    "collapse",
    "constant_of",
    "reduced_axes",
    "scalar_of",
    "shape_of",
    "signed",
    "stretched",
    "strides_of",
    "transposed_axes",
    "window_axes",
]
