"""Session: a package opened on this machine."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.errors import PackageError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.ir.model import TensorInfo
from deepseek_core.package import Action, Package, verdict, verdicts
from deepseek_core.package.build import build_part
from deepseek_core.partition import split
from deepseek_core.registry import Registry, discover
from deepseek_core.runtime.feeds import FeedCheck
from deepseek_core.runtime.schedule import Schedule, Step, check_device
from deepseek_core.target import Target, Tier

__all__ = ["PartInfo", "Session"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a session, for people.

    Attributes:
        units: names of the units it runs.
        rebuilt: why it was built again on opening; empty when it was not.
    """

    target: Target
    device: str
    tier: Tier
    units: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    rebuilt: str


class Session:
    """Runs a package. `run` may be called from several threads; use it as a context manager, or `close` it.

    Args:
        package: compiled package, or the path of one.
        registry: the backends to use; default: the installed ones.
        device: which of several devices, for all parts or by backend name; default: each backend's own choice.

    Raises:
        PackageError: the package is damaged, not compiled, or cannot run here.
        BackendError: a part opened on another device than it is placed on.
    """

    def __init__(
        self,
        package: Package | str | Path,
        registry: Registry | None = None,
        device: str | Mapping[str, str] | None = None,
    ) -> None:
        package = package if isinstance(package, Package) else Package.open(package)
        registry = registry or discover()
        artifacts, self._reasons = _current_artifacts(package, registry)
        self._package = package
        self._gate = _Gate()
        self._steps: list[Step] = []
        try:
            for number, artifact in enumerate(artifacts):
                self._steps.append(_open(number, artifact, registry, device))
            outputs = tuple(dict.fromkeys((*(o.name for o in package.model.outputs), *package.options.taps)))
            self._check = FeedCheck(package.model.inputs)
            self._schedule = Schedule(self._steps, (i.name for i in self.inputs), _constants(package, outputs), outputs)
        except BaseException:
            self.close()
            raise
        self._run = self._schedule.run

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What `run` must be fed."""
        return self._package.model.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What `run` gives: the model's outputs in its order, then the taps it was compiled with."""
        own = self._package.model.outputs
        names = {info.name for info in own}
        given = {info.name: info for step in self._steps for info in step.executable.outputs}
        given |= {info.name: info for info in self.inputs}
        return (*own, *(given[name] for name in self._package.options.taps if name not in names))

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """How each part's results are obtained."""
        return tuple(step.executable.tier for step in self._steps)

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each part, as its runtime names it."""
        return tuple(step.device for step in self._steps)

    @property
    def rebuilt(self) -> tuple[str, ...]:
        """Why parts had to be built again on opening; empty when all ran as they were."""
        return tuple(filter(None, self._reasons))

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            FeedError: the feeds do not fit `inputs`.
        """
        with self._gate:
            self._check(feeds)
            return self._run(feeds)

    def describe(self) -> tuple[PartInfo, ...]:
        """The parts in execution order."""
        placement = self._package.placement
        names = () if placement is None else placement.parts
        return tuple(
            PartInfo(s.target, s.device, s.executable.tier, units, s.executable.inputs, s.executable.outputs, reason)
            for s, units, reason in zip(self._steps, names, self._reasons, strict=True)
        )

    def close(self) -> None:
        """Release the devices, once running calls have ended; calling twice is harmless."""
        self._gate.close()
        for step in self._steps:
            step.executable.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Gate:
    """Lets calls in until it is closed; closing waits for those inside."""

    def __init__(self) -> None:
        self._idle = threading.Condition(threading.Lock())
        self._inside = 0
        self._open = True

    def __enter__(self) -> None:
        with self._idle:
            if not self._open:
                raise PackageError("the session is closed", fix="open a new one")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._idle:
            self._inside -= 1
            if not (self._inside or self._open):
                self._idle.notify_all()

    def close(self) -> None:
        with self._idle:
            self._open = False
            self._idle.wait_for(lambda: not self._inside)


def _current_artifacts(package: Package, registry: Registry) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
    """Artifacts that fit this machine, rebuilt in memory where needed, and the reason for each that was."""
    worst = verdict(package, registry)
    if worst.action is Action.REFUSE or package.placement is None:
        raise PackageError(worst.reason, fix=worst.fix)
    if worst.action is Action.RUN:
        return package.artifacts, ("",) * len(package.artifacts)
    artifacts, reasons = list(package.artifacts), []
    parts = split(package.model, package.placement)
    for number, (part, found) in enumerate(zip(parts, verdicts(package, registry), strict=True)):
        stale = found.action is Action.REBUILD
        if stale:
            _log.warning("%s for %s is built again: %s", part.name, part.target, found.reason)
            artifacts[number] = build_part(part, registry.resolve(part.target)[0], package.options)
        reasons.append(found.reason if stale else "")
    return tuple(artifacts), tuple(reasons)


def _open(number: int, artifact: Artifact, registry: Registry, device: str | Mapping[str, str] | None) -> Step:
    backend, target = registry.resolve(artifact.target)
    wanted = device.get(backend.name) if isinstance(device, Mapping) else device
    executable = backend.load(artifact, wanted)
    with _closing_on_error(executable):
        check_device(number, artifact, executable, backend.probe(target))
        takes = tuple(info.name for info in executable.inputs)
        return Step(number, target, executable, executable.device, takes)


@contextlib.contextmanager
def _closing_on_error(executable: Executable) -> Iterator[None]:
    try:
        yield
    except BaseException:
        executable.close()
        raise


def _constants(package: Package, outputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Wanted outputs that are constants of the model: no part computes them."""
    constants = package.model.graph.initializers
    tensors = {name: constants[name].const_value for name in outputs if name in constants}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
