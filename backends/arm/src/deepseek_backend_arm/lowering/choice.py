"""Which units run on codes alone: the others meet real numbers on the way."""

from __future__ import annotations

from collections.abc import Callable

from deepseek_backend_arm.capabilities import BINARY, CODE_MOVES, TABLES
from deepseek_backend_arm.lowering.products import is_codes
from deepseek_core import Role, Unit

__all__ = ["runs_on_codes"]

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_CLAMPS = ("Relu", "Clip")


def runs_on_codes(unit: Unit) -> bool:
    """Whether a kernel takes the unit's codes and gives its codes."""
    if unit.op not in _OPS or not unit.outputs or len(unit.outputs) != sum(bool(v.name) for v in unit.node.outputs):
        return False
    operands = (*unit.operands(Role.DATA), *unit.operands(Role.WEIGHT), *unit.outputs)
    if not all(map(is_codes, operands)):
        return False
    clamped = unit.activation is None or (unit.op == "Add" and unit.activation.op_type in _CLAMPS)
    return clamped and _CHECKS.get(unit.op, _always)(unit)


def _always(unit: Unit) -> bool:
    return True


def _flat_images(unit: Unit) -> bool:
    return len(unit.operands(Role.DATA)[0].shape or ()) in (3, 4)


def _constant_aux(unit: Unit) -> bool:
    return all(value is None or value.const_value is not None for value in unit.node.inputs[1:])


def _nearest(unit: Unit) -> bool:
    attributes = unit.node.attributes
    crops = attributes.get_string("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return attributes.get_string("mode", "nearest") == "nearest" and not crops


def _one_of_two(unit: Unit) -> bool:
    return len(unit.operands(Role.DATA)) == 2


_OPS = frozenset(
    (*BINARY, *TABLES, *CODE_MOVES, *_POOLS, "LayerNormalization", "Pad", "ReduceMean", "Resize", "Softmax")
)
_CHECKS: dict[str, Callable[[Unit], bool]] = {
    **dict.fromkeys(_POOLS, _flat_images),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _one_of_two),
    **dict.fromkeys(("Clip", "LayerNormalization", "ReduceMean"), _constant_aux),
    "Resize": _nearest,
}
