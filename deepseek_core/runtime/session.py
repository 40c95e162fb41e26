"""Session: a package opened on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import ConfigError
from deepseek_core.executable import Feeds
from deepseek_core.ir.model import TensorInfo
from deepseek_core.package import Package
from deepseek_core.registry import Registry, discover
from deepseek_core.runtime.fallback import Fallback, Recovery
from deepseek_core.runtime.feeds import FeedCheck
from deepseek_core.runtime.gate import Gate
from deepseek_core.runtime.job import Job, run_here
from deepseek_core.runtime.lanes import Lanes
from deepseek_core.runtime.opening import Opener
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import PartError
from deepseek_core.runtime.stream import stream
from deepseek_core.target import Target, Tier

__all__ = ["PartInfo", "Session"]

_Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a session, for people.

    Attributes:
        units: names of the units it runs.
        rebuilt: why it was built again on opening; empty when it was not.
        moved: which device was lost so that it runs here; empty when it runs where it was placed.
    """

    target: Target
    device: str
    tier: Tier
    units: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    rebuilt: str
    moved: str = ""


class Session:
    """Runs a package. `run` may be called from several threads; use it as a context manager, or `close` it.

    Args:
        package: compiled package, or the path of one.
        registry: the backends to use; default: the installed ones.
        device: which of several devices, for all parts or by backend name; default: each backend's own choice.
        fallback: where the units of a device may go that cannot be opened or fails while it runs, in order of
            preference; the package's other targets come after them. Without it a failure is raised.

    Raises:
        PackageError: the package is damaged, not compiled, or cannot run here; with `fallback` only when units of a
            device that cannot be opened can go nowhere.
        PartError: a part does not open.
        BackendError: a part opened on another device than it is placed on.
        TargetError: a fallback target is unknown.
    """

    def __init__(
        self,
        package: Package | str | Path,
        registry: Registry | None = None,
        device: str | Mapping[str, str] | None = None,
        fallback: Sequence[Target | str] | None = None,
    ) -> None:
        package = package if isinstance(package, Package) else Package.open(package)
        registry = registry or discover()
        self._package = package
        self._gate, self._lanes = Gate(), Lanes()
        self._opener = Opener(package, registry, device)
        self._recovery: Recovery | None = None
        try:
            self._check = FeedCheck(package.model.inputs)
            if fallback is not None:
                self._recovery = Recovery(self._opener, package, registry, fallback)
            self._opened = self._opener.open_package() if self._recovery is None else self._recovery.open()
        except BaseException:
            self.close()
            raise
        self._run = self._runner(self._opened) if self._recovery is None else self._run_or_recover

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What `run` must be fed."""
        return self._package.model.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What `run` gives: the model's outputs in its order, then the taps it was compiled with."""
        own = self._package.model.outputs
        names = {info.name for info in own}
        given = {info.name: info for step in self._schedule.steps for info in step.executable.outputs}
        given |= {info.name: info for info in self.inputs}
        return (*own, *(given[name] for name in self._package.options.taps if name not in names))

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """How each part's results are obtained."""
        return tuple(step.executable.tier for step in self._schedule.steps)

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each part, as its runtime names it."""
        return tuple(step.device for step in self._schedule.steps)

    @property
    def rebuilt(self) -> tuple[str, ...]:
        """Why parts had to be built again on opening; empty when all ran as they were."""
        return tuple(step.rebuilt for step in self._opened.steps if step.rebuilt)

    @property
    def fallbacks(self) -> tuple[Fallback, ...]:
        """Devices lost so far, and where their units run now; empty while everything runs where it was placed."""
        return () if self._recovery is None else self._recovery.records

    def run(self, feeds: Feeds) -> _Outputs:
        """Outputs by name. Parts that do not depend on each other run at the same time on different devices.

        Raises:
            FeedError: the feeds do not fit `inputs`.
            PartError: a part failed, and no fallback took its units.
        """
        with self._gate:
            self._check(feeds)
            return self._run(feeds)

    def stream(self, source: Iterable[Feeds], depth: int | None = None) -> Iterator[_Outputs]:
        """Outputs of many inputs, in their order, with every device busy on another input.

        The source is pulled on the caller's thread, when there is room. When the iterator is exhausted, closed or
        fails, nothing runs on.

        Args:
            source: feeds, one for each result; may be endless.
            depth: inputs under way, or done and not yet fetched; default: two for each device.

        Raises:
            ConfigError: `depth` is less than 1.
            FeedError: feeds do not fit `inputs`; raised when they are pulled.
            PartError: as `run`; raised in place of the result.
        """
        depth = 2 * max(1, self._schedule.lanes) if depth is None else depth
        if depth < 1:
            raise ConfigError(f"a stream of depth {depth} has no room for an input", fix="give a depth of 1 or more")
        with self._gate:
            return stream(self._lanes, self._begin, source, depth)

    def describe(self) -> tuple[PartInfo, ...]:
        """The parts in execution order."""
        return tuple(
            PartInfo(
                s.target,
                s.device,
                s.executable.tier,
                s.units,
                s.executable.inputs,
                s.executable.outputs,
                s.rebuilt,
                s.moved,
            )
            for s in self._schedule.steps
        )

    def close(self) -> None:
        """Release the devices, once running calls have ended; streams end with an error. Calling twice is harmless."""
        self._gate.close()
        self._lanes.close()
        self._opener.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _schedule(self) -> Schedule:
        return self._opened if self._recovery is None else self._recovery.schedule

    def _runner(self, schedule: Schedule) -> Callable[[Feeds], _Outputs]:
        """The shortest way through a schedule."""
        if schedule.single is not None:
            return schedule.run_single
        return partial(self._lanes.run if schedule.parallel else run_here, schedule)

    def _run_or_recover(self, feeds: Feeds) -> _Outputs:
        schedule = self._schedule
        try:
            return self._runner(schedule)(feeds)
        except PartError as error:
            assert self._recovery is not None
            return self._recovery.repeat(schedule, feeds, error)

    def _begin(self, feeds: Feeds) -> _Ticket:
        with self._gate:
            self._check(feeds)
            schedule = self._schedule
            job = Job(schedule, feeds)
            self._lanes.start(job)
        recovery = self._recovery
        return _Ticket(job, self._gate, None if recovery is None else partial(recovery.repeat, schedule, feeds))


class _Ticket:
    """A job of a stream, and what to do when a part of it fails."""

    def __init__(self, job: Job, gate: Gate, again: Callable[[PartError], _Outputs] | None) -> None:
        self._gate, self._again = gate, again
        self.done, self.cancel = job.outcome.done, job.cancel
        self._wait = job.outcome.result

    def result(self) -> _Outputs:
        try:
            return self._wait()
        except PartError as error:
            if self._again is None:
                raise
            with self._gate:
                return self._again(error)
