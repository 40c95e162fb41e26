"""Measure what a model's placement rests on, and remember it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepseek_core.errors import DeepseekError, PlacementError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.partition import PreferenceSolver, Profile, Solver, propose, settle
from deepseek_core.placement import Placement
from deepseek_core.profile.bench import Bench
from deepseek_core.profile.links import fit, measure_link
from deepseek_core.registry import Backend, Registry
from deepseek_core.target import Target

__all__ = ["Findings", "LinkFinding", "PartFinding", "TargetFinding", "run_profile"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TargetFinding:
    """What was measured of one target.

    Attributes:
        absent: why nothing could be measured; empty when it could.
        measured: units that were timed.
        known: units that were timed before, or are like one that was.
        failed: unit name → why it could not be timed.
        launch: seconds that a part takes beside its units, None where it is not known.
    """

    target: Target
    absent: str = ""
    measured: int = 0
    known: int = 0
    failed: Mapping[str, str] | None = None
    launch: float | None = None


@dataclass(frozen=True, slots=True)
class LinkFinding:
    """A measured link; `samples` are bytes and seconds. `second_per_byte` is None where only small tensors cross it."""

    source: Target
    to: Target
    latency: float
    second_per_byte: float | None
    samples: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class PartFinding:
    """A part of the placement that the figures lead to.

    Attributes:
        predicted: seconds, from its units.
        measured: seconds, None where it failed.
        failed: why it failed; empty when it did not.
    """

    target: Target
    units: int
    predicted: float
    measured: float | None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was measured."""

    targets: tuple[TargetFinding, ...]
    links: tuple[LinkFinding, ...]
    parts: tuple[PartFinding, ...]


def run_profile(
    model: QuantizedModel,
    targets: Sequence[tuple[Backend, Target]],
    feeds: Mapping[str, NDArray[Any]],
    registry: Registry,
    profile: Profile,
    *,
    options: CompileOptions | None = None,
    solver: Solver | None = None,
    fresh: bool = False,
) -> Findings:
    """Time every unit of a model on every target that is here, launches, links, and the parts that follow.

    Units run one after the other on real values, from `feeds` on; equal units are timed once. What was measured before
    is kept unless `fresh`. The values of one inference are held in memory meanwhile.

    Args:
        registry: whose cpu or reference backend computes what no target here can.
        profile: takes the figures; saved at the end.
        options: to compile with; `options.progress` is told about the work.
        solver: places the model at the end; default: least latency.

    Raises:
        PlacementError: no target is here, or a unit runs on no target and no carrier.
        FeedError: the feeds do not fit the model.
    """
    options = options or CompileOptions()
    here = [pair for pair in targets if _absence(*pair) is None]
    if not here:
        reasons = "; ".join(f"{target}: {_absence(backend, target)}" for backend, target in targets)
        raise PlacementError(f"none of the targets is here ({reasons})", fix="name a target that can run here")
    carriers = _carriers(registry, here)
    work = _Work(Bench(propose(model, [*here, *carriers]), options, dict(feeds)), here, profile, fresh)
    try:
        findings = dict(work.units())
        launches = {target: work.launch(backend, target) for backend, target in here}
        links = tuple(work.links())
        parts = tuple(work.parts(model, solver))
    finally:
        work.bench.close()
        profile.save()
    return Findings(tuple(_finding(b, t, findings, launches) for b, t in targets), links, parts)


def _finding(
    backend: Backend,
    target: Target,
    found: Mapping[Target, tuple[int, int, dict[str, str]]],
    launches: Mapping[Target, float | None],
) -> TargetFinding:
    absent = _absence(backend, target)
    if absent is not None:
        return TargetFinding(target, absent)
    measured, known, failed = found[target]
    return TargetFinding(target, "", measured, known, failed, launches[target])


def _absence(backend: Backend, target: Target) -> str | None:
    here = backend.probe(target)
    if here.can_run and here.can_compile:
        return None
    missing = ", ".join(lacking.what for lacking in here.missing) or "its device or toolchain"
    return f"{missing} is missing"


def _carriers(registry: Registry, here: Sequence[tuple[Backend, Target]]) -> list[tuple[Backend, Target]]:
    """Backends that compute values where no target does."""
    known = {target for _, target in here}
    found = [registry.resolve(name) for name in ("cpu", "reference") if name in registry.backends]
    return [pair for pair in found if pair[1] not in known and _absence(*pair) is None]


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, DeepseekError) else f"{type(error).__name__}: {error}"


class _Work:
    """The steps of one profile."""

    def __init__(self, bench: Bench, here: Sequence[tuple[Backend, Target]], profile: Profile, fresh: bool) -> None:
        self.bench, self.here, self.profile, self.fresh = bench, here, profile, fresh
        self.graph = bench.problem.graph

    def units(self) -> Iterator[tuple[Target, tuple[int, int, dict[str, str]]]]:
        """Time units in topological order: how many were measured and known, and which failed, by target."""
        counts = {target: [0, 0] for _, target in self.here}
        failed: dict[Target, dict[str, str]] = {target: {} for _, target in self.here}
        seen: set[tuple[Target, str]] = set()
        for position, unit in enumerate(self.graph.units):
            self.bench.options.progress(f"profile {unit.name}", position / len(self.graph.units))
            results: dict[str, NDArray[Any]] | None = None
            for backend, target in self._claiming(unit.name):
                try:
                    executable = self.bench.unit(backend, target, position)
                    results = results or self.bench.run(executable)
                    if target in counts:
                        new = self._time(backend, target, position, seen)
                        counts[target][0 if new else 1] += 1
                except Exception as error:  # a device may fail in any way; the others are measured
                    _log.info("%s on %s is not measured: %s", unit.name, target, _reason(error))
                    if target in failed:
                        failed[target][unit.name] = _reason(error)
            if results is None:
                raise PlacementError(f"'{unit.name}' runs on no target here", fix="add a target that runs it")
            self.bench.values.update(results)
        for _, target in self.here:
            yield target, (*counts[target], failed[target])  # type: ignore[misc]

    def launch(self, backend: Backend, target: Target) -> float | None:
        """What many parts cost more than one, for each part beyond the first: units alone against one part of them."""
        device = self.profile.device(backend, target)
        placement = self._all_on(target)
        parts = [p for p in placement.parts if placement.units[p[0]] == target and len(p) > 1]
        index = self.graph.index
        whole = [p for p in parts if all((target, index[name]) in self.bench.taken for name in p)]
        if not whole:
            return device.launch
        part = max(whole, key=len)
        if self.fresh or device.launch is None:
            together, reason = self._part(backend, placement, placement.parts.index(part))
            if together is None:
                _log.info("the launch on %s is not measured: %s", target, reason)
                return device.launch
            alone = [self.bench.taken[target, index[name]] for name in part]
            launch = min(max((sum(alone) - together) / (len(part) - 1), 0.0), *alone)
            work = sum(alone) - launch * len(part)
            device.record_launch(launch, max(together - launch, 0.0) / work if work > 0 else 1.0)
        return device.launch

    def links(self) -> Iterator[LinkFinding]:
        """Every ordered pair of targets that the model's tensors could cross."""
        known = {} if self.fresh else self.profile.links(self.here)
        tables = {offer.target: offer.capabilities for offer in self.bench.problem.offers}
        for source in self.here:
            for to in self.here:
                if source[1] == to[1] or (source[1], to[1]) in known:
                    continue
                self.bench.options.progress(f"profile {source[1]} → {to[1]}", 1.0)
                samples = measure_link(self.bench, source, to)
                if samples:
                    analytic = min(tables[source[1]].bandwidth, tables[to[1]].bandwidth)
                    latency, per_byte = fit(samples, 1 / analytic)
                    self.profile.record_link(source, to, latency, per_byte)
                    yield LinkFinding(source[1], to[1], latency, per_byte, tuple(samples))

    def parts(self, model: QuantizedModel, solver: Solver | None) -> Iterator[PartFinding]:
        """Place the model with the new figures, and measure the parts that this gives."""
        try:
            problem = propose(model, self.here, profile=self.profile)
            placement = settle(problem, solver)
        except PlacementError as error:
            _log.info("parts are not measured: %s", error)
            return
        for number, names in enumerate(placement.parts):
            target = placement.units[names[0]]
            backend = problem.offer(target).backend
            units = [self.graph.units[self.graph.index[name]] for name in names]
            device = self.profile.device(backend, target)
            predicted = problem.part_cost(target, [self.graph.index[name] for name in names]).seconds
            seconds, reason = self._part(backend, placement, number)
            if seconds is not None:
                device.record_part(units, seconds)
            yield PartFinding(target, len(names), predicted, seconds, reason)

    def _part(self, backend: Backend, placement: Placement, number: int) -> tuple[float | None, str]:
        """Seconds of a part, or why it failed."""
        try:
            executable = self.bench.part(backend, placement, number)
            try:
                return self.bench.seconds(executable, budget=1.0), ""
            finally:
                executable.close()
        except Exception as error:  # as in `units`
            return None, _reason(error)

    def _claiming(self, name: str) -> Iterator[tuple[Backend, Target]]:
        """Targets that would run a unit alone."""
        for offer in self.bench.problem.offers:
            if name in offer.claim_of and len(offer.claim_of[name].units) == 1:
                yield offer.backend, offer.target

    def _time(self, backend: Backend, target: Target, position: int, seen: set[tuple[Target, str]]) -> bool:
        """Whether a unit had to be timed."""
        unit, device = self.graph.units[position], self.profile.device(backend, target)
        signature = device.signature(unit)
        known = device.alone(unit)
        new = known is None or (self.fresh and (target, signature) not in seen)
        seen.add((target, signature))
        if new:
            known = self.bench.seconds(self.bench.opened[target, position])
            device.record_alone(unit, known)
        assert known is not None
        self.bench.taken[target, position] = known
        return new

    def _all_on(self, target: Target) -> Placement:
        """As much as can be on one target."""
        problem = self.bench.problem
        first = sorted(problem.offers, key=lambda offer: offer.target != target)
        return settle(type(problem)(problem.graph, tuple(first)), PreferenceSolver())
