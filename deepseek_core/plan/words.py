"""Figures in words."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_core.plan.report import Plan

__all__ = ["amount", "count", "headline", "listed", "percent", "size", "verdict"]

_STEPS = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def amount(number: float, unit: str = "s") -> str:
    """Seconds or joules with three digits: `1.40 ms`, `12.3 µs`, `850 ns`."""
    for factor, prefix in _STEPS:
        if number >= factor * 0.9995 or prefix == "n":
            scaled = number / factor
            digits = 0 if scaled >= 99.95 or scaled == 0 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f} {prefix}{unit}"
    raise AssertionError(number)


def size(number: float) -> str:
    """Bytes as `1.4 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def percent(share: float) -> str:
    """A share as `12 %`, small ones as `0.4 %`."""
    figure = 100 * share
    return f"{figure:.0f} %" if figure >= 9.95 or figure == 0 else f"{figure:.1f} %" if figure >= 0.05 else "< 0.1 %"


def count(number: int, noun: str) -> str:
    """`1 part`, `3 parts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def headline(plan: Plan) -> str:
    """The value of a plan, with what it means."""
    match plan.objective:
        case "throughput":
            rate = f", {1 / plan.value:,.0f} a second" if plan.value else ""
            return f"{amount(plan.value)} from result to result in a stream{rate}"
        case "energy":
            return f"{amount(plan.value, 'J')} for one inference"
        case "additive":
            return f"{amount(plan.value)} for one inference, nothing overlapping"
        case _:
            return f"{amount(plan.value)} for one inference"


def verdict(plan: Plan) -> str:
    """Parts, transfers, and how far the placement is from what is possible, as one sentence."""
    moved = f"{count(len(plan.parts), 'part')}, {count(len(plan.transfers), 'transfer')}"
    if plan.bound is None:
        return f"{moved}; {plan.method or 'nothing was optimised'}"
    by = f"{plan.proof}; found by {plan.method}"
    if plan.gap == 0.0:
        return f"{moved}; optimal: no placement is better under these costs (proof: {by})"
    far = "any distance" if plan.gap is None else f"at most {100 * plan.gap:.2g} %"
    return f"{moved}; {far} above the best possible (bound: {by})"
