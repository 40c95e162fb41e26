"""Does a unit keep within a declarative `Limit`?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from deepseek_core.errors import BackendError
from deepseek_core.ir.ops import Role, channel_axis, op_key
from deepseek_core.ir.units import Unit
from deepseek_core.target import Limit

__all__ = ["accepted", "broken_limit"]

_Values = tuple[float | str, ...]


def broken_limit(unit: Unit, limit: Limit) -> tuple[str, str] | None:
    """What is off, and how it is now: `("attribute 'group'", "32")`; None when the unit keeps within the limit.

    A figure that is not known before run time breaks every bound on it.

    Raises:
        BackendError: the limit's subject is not one that `Limit` defines.
    """
    kind, _, detail = limit.subject.partition(":")
    if kind not in _MEASURES:
        raise BackendError(f"capability table has a limit on '{limit.subject}'", fix="use a subject that Limit defines")
    name, values = _MEASURES[kind](unit, detail, limit)
    if values is None:
        return name, "unknown before run time"
    if all(_holds(value, limit) for value in values):
        return None
    return name, str(values[0]) if len(values) == 1 else str(list(values))


def accepted(limit: Limit) -> str:
    """The limit's bounds in words: `1 to 7`, `one of 1, 2`."""
    if limit.allowed is not None:
        values = ", ".join(f"{v:g}" if isinstance(v, int | float) else v for v in limit.allowed)
        return values if len(limit.allowed) == 1 else f"one of {values}"
    low, high = limit.minimum, limit.maximum
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"at least {low:g}"
    return f"at most {high:g}" if high is not None else "known before run time"


def _holds(value: float | str, limit: Limit) -> bool:
    if limit.allowed is not None and value not in limit.allowed:
        return False
    if isinstance(value, str):
        return limit.minimum is None and limit.maximum is None
    return (limit.minimum is None or value >= limit.minimum) and (limit.maximum is None or value <= limit.maximum)


def _attribute(unit: Unit, name: str, limit: Limit) -> tuple[str, _Values | None]:
    label = f"attribute '{name}'"
    attribute = unit.node.attributes.get(name)
    if attribute is None:
        return label, () if limit.default is None else (limit.default,)
    value = attribute.value
    values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    return label, tuple(v.decode() if isinstance(v, bytes) else v for v in values)


def _shape(unit: Unit) -> tuple[int | None, ...] | None:
    data = unit.operands(Role.DATA)
    return data[0].shape if data else ()


def _rank(unit: Unit, detail: str, limit: Limit) -> tuple[str, _Values | None]:
    shape = _shape(unit)
    return "its input's rank", None if shape is None else (len(shape),)


def _dim(unit: Unit, axis: str, limit: Limit) -> tuple[str, _Values | None]:
    label, shape = f"size of its input's axis {axis}", _shape(unit)
    if shape is None:
        return label, None
    if not -len(shape) <= int(axis) < len(shape):
        return label, ("missing",)
    size = shape[int(axis)]
    return label, None if size is None else (size,)


def _elements(unit: Unit, detail: str, limit: Limit) -> tuple[str, _Values | None]:
    label, shape = "its input's number of elements", _shape(unit)
    if shape is None or None in shape:
        return label, None
    return label, (math.prod(size for size in shape if size is not None),)


def _channels(unit: Unit, detail: str, limit: Limit) -> tuple[str, _Values | None]:
    label = "number of output channels"
    for weight in unit.operands(Role.WEIGHT):
        size = weight.shape[channel_axis(unit.node)] if weight.shape else None
        groups = unit.node.attributes.get_int("group", 1) if op_key(unit.node) == "ConvTranspose" else 1
        return label, None if size is None else (size * groups,)
    shape = unit.outputs[0].shape if unit.outputs else None
    size = shape[1] if shape is not None and len(shape) > 1 else None
    return label, None if size is None else (size,)


def _static(unit: Unit, detail: str, limit: Limit) -> tuple[str, _Values | None]:
    operands = (*unit.operands(Role.DATA), *unit.outputs)
    known = all(o.shape is not None and None not in o.shape for o in operands)
    return "a shape", () if known else None


_MEASURES: dict[str, Callable[[Unit, str, Limit], tuple[str, _Values | None]]] = {
    "attr": _attribute,
    "rank": _rank,
    "dim": _dim,
    "elements": _elements,
    "channels": _channels,
    "static": _static,
}
