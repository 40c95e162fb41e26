"""Open the parts of a package on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.errors import PackageError
from deepseek_core.executable import Executable
from deepseek_core.package import Action, Package, verdict, verdicts
from deepseek_core.package.build import build_part
from deepseek_core.partition import Part, split
from deepseek_core.placement import Placement
from deepseek_core.registry import Registry
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Step, check_device

__all__ = ["Opener"]

_log = logging.getLogger(__name__)


class Opener:
    """Opens artifacts, and closes what it opened.

    Args:
        device: which of several devices, for all parts of the package or by backend name.
    """

    def __init__(self, package: Package, registry: Registry, device: str | Mapping[str, str] | None) -> None:
        self._package, self._registry, self._device = package, registry, device
        self._opened: list[Executable] = []

    def open_package(self) -> Schedule:
        """Every part where it was placed; one that does not fit this machine is built again in memory.

        Raises:
            PackageError: the package cannot run here.
            BackendError: a part opened on another device than it is placed on.
        """
        package = self._package
        worst = verdict(package, self._registry)
        if worst.action is Action.REFUSE or package.placement is None:
            raise PackageError(worst.reason, fix=worst.fix)
        artifacts, reasons = list(package.artifacts), [""] * len(package.artifacts)
        if worst.action is not Action.RUN:
            for number, part, reason in self._stale(package.placement):
                _log.warning("%s for %s is built again: %s", part.name, part.target, reason)
                artifacts[number], reasons[number] = self._build(part), reason
        units = package.placement.parts
        return self._schedule(
            [
                self._open(number, artifact, self._device, units=units[number], rebuilt=reason)
                for number, (artifact, reason) in enumerate(zip(artifacts, reasons, strict=True))
            ]
        )

    def open_again(self, placement: Placement, schedule: Schedule, moved: Mapping[str, str]) -> Schedule:
        """The same model under another placement: steps of `schedule` that still fit are kept, others are built.

        Args:
            moved: unit name → why it runs elsewhere now.
        """
        before = len(self._opened)
        try:
            return self._schedule(self._steps_again(placement, schedule, moved))
        except BaseException:
            self._close(self._opened[before:])
            raise

    def close(self, steps: Iterable[Step] | None = None) -> None:
        """Release the devices of some steps, or of all; calling twice is harmless."""
        self._close(list(self._opened) if steps is None else [step.executable for step in steps])

    def _close(self, executables: Sequence[Executable]) -> None:
        closing = set(map(id, executables))
        self._opened = [executable for executable in self._opened if id(executable) not in closing]
        for executable in executables:
            executable.close()

    def _steps_again(self, placement: Placement, schedule: Schedule, moved: Mapping[str, str]) -> Iterator[Step]:
        device = self._device if isinstance(self._device, Mapping) else None
        parts = zip(split(self._package.model, placement), placement.parts, strict=True)
        for number, (part, units) in enumerate(parts):
            kept = next((step for step in schedule.steps if _fits(step, part, units)), None)
            if kept is not None:
                yield kept.renumbered(number)
                continue
            reason = next((moved[unit] for unit in units if unit in moved), "")
            yield self._open(number, self._build(part), device, units=units, moved=reason)

    def _stale(self, placement: Placement) -> list[tuple[int, Part, str]]:
        found = zip(split(self._package.model, placement), verdicts(self._package, self._registry), strict=True)
        return [(n, part, v.reason) for n, (part, v) in enumerate(found) if v.action is Action.REBUILD]

    def _build(self, part: Part) -> Artifact:
        return build_part(part, self._registry.resolve(part.target)[0], self._package.options)

    def _open(self, number: int, artifact: Artifact, device: str | Mapping[str, str] | None, **facts: Any) -> Step:
        backend, target = self._registry.resolve(artifact.target)
        executable = backend.load(artifact, device.get(backend.name) if isinstance(device, Mapping) else device)
        self._opened.append(executable)
        check_device(number, artifact, executable, backend.probe(target))
        takes, gives = (tuple(info.name for info in infos) for infos in (executable.inputs, executable.outputs))
        return Step(number, target, executable, executable.device, takes, gives, **facts)

    def _schedule(self, steps: Iterable[Step]) -> Schedule:
        model = self._package.model
        outputs = tuple(dict.fromkeys((*(info.name for info in model.outputs), *self._package.options.taps)))
        return Schedule(tuple(steps), (info.name for info in model.inputs), _constants(self._package, outputs), outputs)


def _fits(step: Step, part: Part, units: tuple[str, ...]) -> bool:
    takes, gives = ({info.name for info in infos} for infos in (part.model.inputs, part.model.outputs))
    return (step.target, step.units, set(step.takes)) == (part.target, units, takes) and gives <= set(step.gives)


def _constants(package: Package, outputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Wanted outputs that are constants of the model: no part computes them."""
    constants = package.model.graph.initializers
    tensors = {name: constants[name].const_value for name in outputs if name in constants}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
