"""Open the parts of a package on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.errors import DeepseekError, PackageError
from deepseek_core.executable import Executable
from deepseek_core.package import Action, Package, Verdict, verdict, verdicts
from deepseek_core.package.build import build_part
from deepseek_core.partition import Part, split
from deepseek_core.placement import Placement
from deepseek_core.registry import Registry
from deepseek_core.runtime.schedule import Schedule
from deepseek_core.runtime.step import Loss, PartError, Step, check_device, part_name
from deepseek_core.target import Target

__all__ = ["LostError", "Opener"]

_log = logging.getLogger(__name__)


class LostError(Exception):
    """A part that does not open where it was placed again."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self.loss = loss


class Opener:
    """Opens artifacts, and closes what it opened.

    Args:
        device: which of several devices, for all parts of the package or by backend name.
    """

    def __init__(self, package: Package, registry: Registry, device: str | Mapping[str, str] | None) -> None:
        self._package, self._registry, self._device = package, registry, device
        self._opened: list[Executable] = []

    @cached_property
    def _verdicts(self) -> tuple[Verdict, ...]:
        return verdicts(self._package, self._registry)

    @cached_property
    def _parts(self) -> list[Part]:
        """Sub-models as they were placed; each is built from at most once."""
        return split(self._package.model, self._compiled())

    def open_package(self) -> Schedule:
        """Every part where it was placed; one that does not fit this machine is built again in memory.

        Raises:
            PackageError: the package cannot run here.
            PartError: a part does not open.
            BackendError: a part opened on another device than it is placed on.
        """
        placement = self._compiled()
        worst = verdict(self._package, self._registry)
        if worst.action is Action.REFUSE:
            raise PackageError(worst.reason, fix=worst.fix)
        return self.schedule([self._open_placed(number, placement) for number in range(len(placement.parts))])

    def open_what_opens(self) -> tuple[list[Step], list[Loss]]:
        """The parts that open where they were placed, and those that do not.

        Raises:
            PackageError: the package is not compiled.
        """
        placement, steps, losses = self._compiled(), list[Step](), list[Loss]()
        for number in range(len(placement.parts)):
            try:
                steps.append(self._open_placed(number, placement))
            except Exception as error:  # a device may be lost in any way
                losses.append(self._loss(number, self._package.artifacts[number].target, error))
        return steps, losses

    def open_again(self, placement: Placement, steps: Iterable[Step], moved: Mapping[str, str]) -> Schedule:
        """The same model under another placement: of `steps`, those that still fit are kept, others are built.

        Args:
            moved: unit name → why it runs elsewhere now.

        Raises:
            LostError: a part does not open.
        """
        before = len(self._opened)
        try:
            return self.schedule(self._steps_again(placement, list(steps), moved))
        except BaseException:
            self._close(self._opened[before:])
            raise

    def schedule(self, steps: Iterable[Step]) -> Schedule:
        """Order of execution of steps that make up the package's model."""
        model = self._package.model
        outputs = tuple(dict.fromkeys((*(info.name for info in model.outputs), *self._package.options.taps)))
        return Schedule(tuple(steps), (info.name for info in model.inputs), _constants(self._package, outputs), outputs)

    def close(self, steps: Iterable[Step] | None = None) -> None:
        """Release the devices of some steps, or of all; calling twice is harmless."""
        self._close(list(self._opened) if steps is None else [step.executable for step in steps])

    def _close(self, executables: Sequence[Executable]) -> None:
        closing = set(map(id, executables))
        self._opened = [executable for executable in self._opened if id(executable) not in closing]
        for executable in executables:
            executable.close()

    def _compiled(self) -> Placement:
        if self._package.placement is None:
            refused = verdict(self._package, self._registry)
            raise PackageError(refused.reason, fix=refused.fix)
        return self._package.placement

    def _open_placed(self, number: int, placement: Placement) -> Step:
        artifact, found = self._package.artifacts[number], self._verdicts[number]
        reason = ""
        if found.action is Action.REFUSE:
            raise PackageError(found.reason, fix=found.fix)
        if found.action is Action.REBUILD:
            part, reason = self._parts[number], found.reason
            _log.warning("%s for %s is built again: %s", part.name, part.target, reason)
            artifact = self._build(part)
        return self._open(number, artifact, self._device, units=placement.parts[number], rebuilt=reason)

    def _steps_again(self, placement: Placement, steps: Sequence[Step], moved: Mapping[str, str]) -> Iterator[Step]:
        device = self._device if isinstance(self._device, Mapping) else None
        parts = zip(split(self._package.model, placement), placement.parts, strict=True)
        for number, (part, units) in enumerate(parts):
            kept = next((step for step in steps if _fits(step, part, units)), None)
            if kept is not None:
                yield kept.renumbered(number)
                continue
            reason = next((moved[unit] for unit in units if unit in moved), "")
            try:
                yield self._open(number, self._build(part), device, units=units, moved=reason)
            except Exception as error:
                raise LostError(self._loss(number, part.target, error)) from error

    def _loss(self, number: int, target: Target, error: Exception) -> Loss:
        known = isinstance(error, DeepseekError)
        reason = error.message if isinstance(error, DeepseekError) else f"{type(error).__name__}: {error}".rstrip(": ")
        name = part_name(number, target)
        return Loss(name, target, "", reason if known else f"{name} on {target} cannot be opened: {reason}")

    def _build(self, part: Part) -> Artifact:
        return build_part(part, self._registry.resolve(part.target)[0], self._package.options)

    def _open(self, number: int, artifact: Artifact, device: str | Mapping[str, str] | None, **facts: Any) -> Step:
        backend, target = self._registry.resolve(artifact.target)
        try:
            executable = backend.load(artifact, device.get(backend.name) if isinstance(device, Mapping) else device)
        except DeepseekError:
            raise
        except Exception as error:  # as while it runs: the caller must know which part it was
            loss = self._loss(number, target, error)
            raise PartError(loss.reason, fix="check the device and its driver") from error
        self._opened.append(executable)
        check_device(number, artifact, executable, backend.probe(target))
        takes, gives = (tuple(info.name for info in infos) for infos in (executable.inputs, executable.outputs))
        return Step(number, target, executable, executable.device, takes, gives, **facts)


def _fits(step: Step, part: Part, units: tuple[str, ...]) -> bool:
    takes, gives = ({info.name for info in infos} for infos in (part.model.inputs, part.model.outputs))
    return (step.target, step.units, set(step.takes)) == (part.target, units, takes) and gives <= set(step.gives)


def _constants(package: Package, outputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Wanted outputs that are constants of the model: no part computes them."""
    constants = package.model.graph.initializers
    tensors = {name: constants[name].const_value for name in outputs if name in constants}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
