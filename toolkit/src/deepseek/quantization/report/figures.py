"""Figures in words, the same in text and on the page."""

from __future__ import annotations

import math

__all__ = ["decibels", "size"]


def decibels(number: float | None, unit: str = "") -> str:
    """A ratio in dB, with a unit behind it; `exact` without noise, and a dash where there is none to tell."""
    if number is None or number == -math.inf or math.isnan(number):
        return "–"
    return "exact" if number == math.inf else f"{number:.1f}{unit}"


def size(number: float) -> str:
    """Bytes as `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
