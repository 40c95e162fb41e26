"""Figures and tensors in words and in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from deepseek_core.target import Target

if TYPE_CHECKING:
    from deepseek_core.ir import TensorInfo
    from deepseek_core.placement import Placement

__all__ = ["dims", "finite", "seconds", "size", "tensor_json", "units_by_target"]


def size(number: float) -> str:
    """Bytes as `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def seconds(number: float) -> str:
    """Seconds as `1.40 ms`."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if number * factor >= 1:
            return f"{number * factor:.2f} {unit}"
    return f"{number * 1e9:.0f} ns"


def dims(shape: Iterable[int | str | None] | None) -> str:
    """A shape as `[1, 3, H, ?]`; `[…]` when the rank is unknown."""
    return "[…]" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def finite(number: float) -> float | None:
    """A number that JSON can hold: None stands for infinity and NaN."""
    return number if math.isfinite(number) else None


def tensor_json(info: TensorInfo) -> dict[str, object]:
    """Name, dtype and shape."""
    return {"name": info.name, "dtype": info.dtype, "shape": None if info.shape is None else list(info.shape)}


def units_by_target(placement: Placement) -> dict[Target, int]:
    """Number of units on each target, in the order of the model."""
    counts: dict[Target, int] = {}
    for target in placement.units.values():
        counts[target] = counts.get(target, 0) + 1
    return counts
