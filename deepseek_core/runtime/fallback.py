"""Fallback: when a device is lost, its units are placed again, and it is said aloud."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import DeepseekError
from deepseek_core.executable import Feeds
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver, place
from deepseek_core.placement import Placement
from deepseek_core.registry import Backend, Registry
from deepseek_core.runtime.job import run_here
from deepseek_core.runtime.opening import Opener
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import PartError
from deepseek_core.target import Target

__all__ = ["Fallback", "Recovery"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fallback:
    """One device that was lost, and what became of its units.

    Attributes:
        part: the part that failed.
        lost: the target it was on; nothing runs there any more.
        device: as its runtime names it.
        reason: what went wrong.
        units: unit name → where it runs now.
    """

    part: str
    lost: Target
    device: str
    reason: str
    units: Mapping[str, Target]

    def __str__(self) -> str:
        counts = Counter(map(str, self.units.values()))
        now = ", ".join(f"{count} {'unit' if count == 1 else 'units'} on {target}" for target, count in counts.items())
        return f"{self.reason}; {self.lost} is given up, now {now}"


class Recovery:
    """Repeats a failed input without the device that failed.

    Args:
        schedule: the opened package.
        targets: where lost units may go, in order of preference, before the other targets of the package.

    Attributes:
        schedule: what runs now.
        records: what was lost so far.

    Raises:
        TargetError: a target is unknown.
    """

    def __init__(
        self,
        opener: Opener,
        schedule: Schedule,
        package: Package,
        registry: Registry,
        targets: Sequence[Target | str],
    ) -> None:
        assert package.placement is not None  # it was opened
        self.schedule = schedule
        self.records: tuple[Fallback, ...] = ()
        self._opener, self._registry = opener, registry
        self._model, self._placement = package.model, package.placement
        self._spare = [registry.resolve(target) for target in targets]
        self._lock = threading.Lock()

    def repeat(self, failed: Schedule, feeds: Feeds, error: PartError) -> dict[str, NDArray[Any]]:
        """Run `feeds` again, after `error` on schedule `failed`.

        The new placement stays when the input succeeds on it, so an input that fails everywhere changes nothing.

        Raises:
            PartError: it fails wherever its units can go.
        """
        with self._lock:
            if failed is not self.schedule:  # another input lost the device first
                try:
                    return run_here(self.schedule, feeds)
                except PartError as again:
                    error = again
            return self._elsewhere(feeds, [error])

    def _elsewhere(self, feeds: Feeds, errors: list[PartError]) -> dict[str, NDArray[Any]]:
        """Give up one target after the other until the input succeeds."""
        while True:
            placement, records, schedule = self._moved(errors)
            try:
                outputs = run_here(schedule, feeds)
            except PartError as error:
                kept = {id(step.executable) for step in self.schedule.steps}
                self._opener.close(step for step in schedule.steps if id(step.executable) not in kept)
                errors.append(error)
                continue
            for record in records:
                _log.warning("%s", record)
            self.schedule, self._placement, self.records = schedule, placement, (*self.records, *records)
            return outputs

    def _moved(self, errors: Sequence[PartError]) -> tuple[Placement, list[Fallback], Schedule]:
        lost = {record.lost for record in self.records} | {e.step.target for e in errors if e.step is not None}
        try:
            placement = self._placed(lost)
            records = [self._record(error, placement) for error in errors]
            why = {unit: str(record) for record in (*self.records, *records) for unit in record.units}
            return placement, records, self._opener.open_again(placement, self.schedule, why)
        except DeepseekError as none:
            first = errors[0]
            what = f"{first.message}, and its units cannot go elsewhere: {none.message}"
            raise PartError(what, fix=none.fix, step=first.step) from errors[-1]

    def _placed(self, lost: set[Target]) -> Placement:
        """Units of lost targets go elsewhere, the others stay."""
        stay = {unit: target for unit, target in self._placement.units.items() if target not in lost}
        spare = [pair for pair in self._spare if pair[1] not in lost and _works(*pair)]
        own = [self._registry.resolve(target) for target in dict.fromkeys(stay.values())]
        return place(self._model, [*spare, *own], stay, PreferenceSolver())

    def _record(self, error: PartError, placement: Placement) -> Fallback:
        step = error.step
        assert step is not None
        units = {u: placement.units[u] for u, target in self._placement.units.items() if target == step.target}
        return Fallback(step.name, step.target, step.device, error.message, units)


def _works(backend: Backend, target: Target) -> bool:
    here = backend.probe(target)
    return here.can_run and here.can_compile
