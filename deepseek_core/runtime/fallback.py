"""Fallback: when a device is lost, its units are placed again, and it is said aloud."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import DeepseekError, PackageError, PlacementError
from deepseek_core.executable import Feeds
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver, place
from deepseek_core.placement import Placement
from deepseek_core.registry import Backend, Registry
from deepseek_core.runtime.job import run_here
from deepseek_core.runtime.opening import LostError, Opener
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Loss, PartError, Step
from deepseek_core.target import Target

__all__ = ["Fallback", "Recovery"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fallback:
    """One device that was lost, and what became of its units.

    Attributes:
        part: the part that failed, or did not open.
        lost: the target it was on; nothing runs there any more.
        device: as its runtime names it; empty when it was not opened.
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
    """Opens a package without devices that cannot be opened, and repeats an input without the device that failed.

    Args:
        targets: where lost units may go, in order of preference, before the other targets of the package.

    Attributes:
        schedule: what runs now.
        records: what was lost so far.

    Raises:
        TargetError: a target is unknown.
    """

    schedule: Schedule

    def __init__(self, opener: Opener, package: Package, registry: Registry, targets: Sequence[Target | str]) -> None:
        self.records: tuple[Fallback, ...] = ()
        self._opener, self._registry = opener, registry
        self._model = package.model
        self._placement = package.placement or Placement({}, ())  # `open` refuses what is not compiled
        self._spare = [registry.resolve(target) for target in targets]
        self._lock = threading.Lock()

    def open(self) -> Schedule:
        """Open every part where it was placed, or where a fallback takes its units.

        Raises:
            PackageError: the package is not compiled, or units of a part that does not open can go nowhere.
        """
        steps, losses = self._opener.open_what_opens()
        if losses:
            reasons = "; ".join(loss.reason for loss in _one_each(losses))
            lost = {loss.target for loss in losses}
            self._opener.close(step for step in steps if step.target in lost)
            try:
                self._keep(*self._moved(losses, [step for step in steps if step.target not in lost]))
            except DeepseekError as none:
                what = f"{reasons}, and its units cannot go elsewhere: {none.message}"
                raise PackageError(what, fix=none.fix) from none
        else:
            self.schedule = self._opener.schedule(steps)
        return self.schedule

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
            return self._elsewhere(feeds, error)

    def _elsewhere(self, feeds: Feeds, first: PartError) -> dict[str, NDArray[Any]]:
        """Give up one target after the other until the input succeeds."""
        losses, error = list[Loss](), first
        while True:
            if error.loss is None:
                raise error
            losses.append(error.loss)
            try:
                placement, records, schedule = self._moved(losses, self.schedule.steps)
            except DeepseekError as none:
                what = f"{first.message}, and its units cannot go elsewhere: {none.message}"
                raise PartError(what, fix=none.fix, step=first.step) from error
            try:
                outputs = run_here(schedule, feeds)
            except PartError as again:
                kept = {id(step.executable) for step in self.schedule.steps}
                self._opener.close(step for step in schedule.steps if id(step.executable) not in kept)
                error = again
                continue
            self._keep(placement, records, schedule)
            return outputs

    def _keep(self, placement: Placement, records: list[Fallback], schedule: Schedule) -> None:
        for record in records:
            _log.warning("%s", record)
        self.schedule, self._placement, self.records = schedule, placement, (*self.records, *records)

    def _moved(self, losses: list[Loss], steps: Sequence[Step]) -> tuple[Placement, list[Fallback], Schedule]:
        """Place and open without what was lost; what does not open then is added to `losses`.

        Raises:
            DeepseekError: units can go nowhere.
        """
        opening: DeepseekError | None = None
        while True:
            lost = {record.lost for record in self.records} | {loss.target for loss in losses}
            try:
                placement = self._placed(lost)
            except DeepseekError as nowhere:
                raise opening or nowhere from None
            records = [self._record(loss, placement) for loss in _one_each(losses)]
            why = {unit: str(record) for record in (*self.records, *records) for unit in record.units}
            try:
                return placement, records, self._opener.open_again(placement, steps, why)
            except LostError as error:
                losses.append(error.loss)
                opening = PackageError(error.loss.reason, fix="check the device and its driver")

    def _placed(self, lost: set[Target]) -> Placement:
        """Units of lost targets go elsewhere, the others stay."""
        stay = {unit: target for unit, target in self._placement.units.items() if target not in lost}
        spare = [pair for pair in self._spare if pair[1] not in lost and _works(*pair)]
        own = [self._registry.resolve(target) for target in dict.fromkeys(stay.values())]
        if not (spare or own):
            raise PlacementError("no target is left", fix="mend the device, or name a fallback that is here")
        return place(self._model, [*spare, *own], stay, PreferenceSolver())

    def _record(self, loss: Loss, placement: Placement) -> Fallback:
        units = {u: placement.units[u] for u, target in self._placement.units.items() if target == loss.target}
        return Fallback(loss.part, loss.target, loss.device, loss.reason, units)


def _one_each(losses: Sequence[Loss]) -> Iterable[Loss]:
    """The first loss of each target."""
    firsts: dict[Target, Loss] = {}
    for loss in losses:
        firsts.setdefault(loss.target, loss)
    return firsts.values()


def _works(backend: Backend, target: Target) -> bool:
    here = backend.probe(target)
    return here.can_run and here.can_compile
