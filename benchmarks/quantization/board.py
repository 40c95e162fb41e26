"""The results on one network, as a table that a person reads and as figures that a machine checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from harness import Figure
from quantization.networks.base import Metric, Network
from quantization.result import Result

__all__ = ["Board", "summary"]

LARGEST_LOSS = 1.0
"""Percent of the fp32 score that 8 bits may cost."""
ABOVE, BEHIND = "SQNR above every peer", "behind the best peer"


@dataclass(frozen=True, slots=True)
class Board:
    """What every quantizer reached on a network.

    Attributes:
        base: the scores of fp32.
        results: in any order.
    """

    network: Network
    base: Sequence[float]
    results: Sequence[Result]

    def loss(self, result: Result) -> float:
        """Percent of the fp32 score that a quantizer lost; negative where it gained, infinite without a result."""
        return self.network.metrics[0].loss(self.base[0], result.scores[0]) if result.scores else math.inf

    def lost(self, result: Result) -> float:
        """`loss`, a gain counting as 0: what lies above fp32 is chance, not accuracy."""
        return max(self.loss(result), 0.0)

    def table(self) -> Table:
        """One row a quantizer, the most accurate first; those that leave the network in float are dim."""
        title = f"{self.network.title}: fp32 {_scores(self.network.metrics, self.base)}"
        view = Table(title=title, title_justify="left")
        numbers = ("score", "lost %", "agree %", "SQNR dB", "bits", "inputs %", "CPU s", "wall s", "MB")
        for heading in ("method", "", *numbers):
            view.add_column(heading, justify="right" if heading in numbers else "left")
        for result in sorted(self.results, key=lambda r: (r.precision != "W8A8", r.precision, self.loss(r))):
            style = "bold" if result.ours else "" if result.competes or result.error else "dim"
            view.add_row(result.method, result.precision, *self._cells(result), style=style)
        return view

    def _cells(self, result: Result) -> tuple[str, ...]:
        cost = (_number(result.cpu), _number(result.seconds), _number(result.peak / 1e6))
        if result.error is not None:
            return (f"[red]{_short(result.error)}[/]", *[""] * 5, *cost)
        return (
            f"{result.scores[0]:.2f}",
            f"{self.loss(result):.2f}",
            _number(100 * result.agreement, 1),
            f"{result.sqnr:.1f}",
            f"{result.bits:.1f}",
            f"{100 * result.activations:.0f}",
            *cost,
        )

    def figures(self) -> Iterator[Figure]:
        """What ours is held to on this network, precision by precision."""
        for mine in (result for result in self.results if result.ours):
            head = f"{self.network.title}, {mine.method}"
            if not mine.competes:
                yield Figure(f"{head}: results", 0, "", ">=", 1, mine.error or "the network is left in float")
                continue
            limit = LARGEST_LOSS if mine.precision == "W8A8" else None
            note = f"agrees with fp32 in {_number(100 * mine.agreement, 1)} %"
            yield Figure(f"{head}: lost", self.loss(mine), "%", "<=", limit, note)
            yield from self._against(mine, head)

    def _against(self, mine: Result, head: str) -> Iterator[Figure]:
        peers = [r for r in self.results if r.precision == mine.precision and r.competes and not r.ours]
        if not peers:
            return
        best = min(peers, key=lambda r: (self.lost(r), r.time))
        clearest = max(peers, key=lambda r: r.sqnr)
        limit = 0.0 if mine.precision == "W8A8" else None
        yield Figure(f"{head}: {BEHIND}", self.lost(mine) - self.lost(best), "%", "<=", limit, best.method)
        note = f"{clearest.method} has {clearest.sqnr:.1f} dB"
        yield Figure(f"{head}: {ABOVE}", mine.sqnr - clearest.sqnr, "dB", note=note)
        note = f"{best.method} takes {best.time:.0f} s, ours {mine.time:.0f} s"
        yield Figure(f"{head}: time of the best peer", best.time / mine.time, "×", ">=", 1.0, note)


def summary(figures: Sequence[Figure]) -> Iterator[Figure]:
    """On how many networks ours is ahead."""
    for method, share in (("deepseek/int8", 4 / 6), ("deepseek/w4a8", 0.5), ("deepseek/int4", 0.5)):
        margins = [f.value for f in figures if f.name.endswith(f"{method}: {ABOVE}")]
        if margins:
            yield _share(f"{method}: {ABOVE}", [margin > 0 for margin in margins], share)
        behind = [f.value for f in figures if f.name.endswith(f"{method}: {BEHIND}")]
        if behind and method != "deepseek/int8":
            yield _share(f"{method}: more accurate than every peer", [margin < 0 for margin in behind], share)


def _share(name: str, ahead: Sequence[bool], least: float) -> Figure:
    note = f"on {sum(ahead)} of {len(ahead)} networks"
    return Figure(name, sum(ahead) / len(ahead), "", ">=", least, note)


def _scores(metrics: Sequence[Metric], values: Sequence[float]) -> str:
    return ", ".join(f"{metric.name} {value:.2f}" for metric, value in zip(metrics, values, strict=True))


def _number(value: float, digits: int | None = None) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f}" if digits is not None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
