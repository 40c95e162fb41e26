"""Opened units of one model on several targets, and the values that flow between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from deepseek_core.executable import Executable
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.package.build import build_part
from deepseek_core.partition import Part, Problem, split
from deepseek_core.placement import Placement
from deepseek_core.registry import Backend
from deepseek_core.selection import measure
from deepseek_core.target import Target

__all__ = ["Bench", "timed"]

_QUIET = 0.1
"""Quantile of the samples that counts: the less disturbed ones."""

Values = dict[str, NDArray[Any]]


def timed(runners: Mapping[str, Callable[[], object]], *, budget: float = 0.15, rounds: int = 15) -> dict[str, float]:
    """Seconds of each runner on the wall clock, taken in turn; a device works while its caller's thread sleeps."""
    return measure(runners, rounds=rounds, budget=budget, quantile=_QUIET)


class Bench:
    """Builds and opens parts of one model, and closes them.

    Args:
        values: of the model's inputs; the values that units compute are added.

    Attributes:
        opened: units, by target and position.
        taken: seconds that units took alone, by target and position.
    """

    def __init__(self, problem: Problem, options: CompileOptions, values: Values) -> None:
        self.problem, self.options, self.values = problem, options, values
        self.opened: dict[tuple[Target, int], Executable] = {}
        self.taken: dict[tuple[Target, int], float] = {}
        self._units: dict[Target, list[Part]] = {}

    @property
    def model(self) -> QuantizedModel:
        return self.problem.graph.model

    def unit(self, backend: Backend, target: Target, position: int) -> Executable:
        """A unit as a part of its own, open until `close`."""
        if (target, position) not in self.opened:
            if target not in self._units:
                units = self.problem.graph.units
                self._units[target] = split(
                    self.model, Placement({u.name: target for u in units}, tuple((u.name,) for u in units))
                )
            self.opened[target, position] = self._open(backend, self._units[target][position])
        return self.opened[target, position]

    def part(self, backend: Backend, placement: Placement, number: int) -> Executable:
        """A part of a placement; the caller closes it."""
        return self._open(backend, split(self.model, placement)[number])

    def feeds(self, executable: Executable) -> Values:
        """What an executable takes, once the units before it have run."""
        return {info.name: self.values[info.name] for info in executable.inputs}

    def run(self, executable: Executable) -> Values:
        """Run on the values that are there."""
        return executable.run(self.feeds(executable))

    def close(self) -> None:
        """Close every unit."""
        for executable in self.opened.values():
            executable.close()
        self.opened.clear()

    def seconds(self, executable: Executable, budget: float = 0.15) -> float:
        """Time one executable."""
        feeds = self.feeds(executable)
        return timed({"one": lambda: executable.run(feeds)}, budget=budget, rounds=round(100 * budget))["one"]

    def _open(self, backend: Backend, part: Part) -> Executable:
        return backend.load(build_part(part, backend, self.options))
