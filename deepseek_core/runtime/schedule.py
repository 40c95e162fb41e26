"""Order of execution, worked out once: which values each part takes, gives, and when they are no longer needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, PackageError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.target import Availability, Target

__all__ = ["Schedule", "Step", "check_device"]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """An opened part.

    Attributes:
        device: where it was when it was opened; `run` checks that it stayed there.
        takes: names of its inputs.
        release: values that no later part and no caller needs.
    """

    number: int
    target: Target
    executable: Executable
    device: str
    takes: tuple[str, ...]
    release: tuple[str, ...] = ()

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run the part, and make sure that it ran where it was placed."""
        results = self.executable.run(feeds)
        if self.executable.device != self.device:
            raise BackendError(
                f"part {self.number}, placed on {self.target} ({self.device}), ran on {self.executable.device}",
                fix="report it to the backend's authors: a fallback must never be silent",
            )
        return results


class Schedule:
    """Steps in order, from feeds to the wanted outputs.

    Args:
        steps: opened parts in execution order.
        inputs: names that are fed.
        constants: outputs that are constants of the model.
        outputs: names of the wanted values, in order.

    Raises:
        PackageError: a part needs a value, or an output is wanted, that nothing gives.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        inputs: Iterable[str],
        constants: Mapping[str, NDArray[Any]],
        outputs: tuple[str, ...],
    ) -> None:
        inputs = tuple(inputs)
        _check_wiring(steps, {*inputs, *constants}, outputs)
        self._constants = dict(constants)
        self._outputs = outputs
        self._steps = _with_releases(steps, outputs)
        only = self._steps[0] if len(steps) == 1 else None
        given = () if only is None else tuple(info.name for info in only.executable.outputs)
        direct = only is not None and set(only.takes) == set(inputs) and set(outputs) <= set(given)
        self._only = only if direct else None

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """The wanted outputs, in order."""
        if self._only is not None:
            results = self._only.run(feeds)
            return results if tuple(results) == self._outputs else _picked(results, self._outputs, self._only)
        values: dict[str, NDArray[Any]] = {**self._constants, **feeds}
        for step in self._steps:
            values.update(step.run({name: values[name] for name in step.takes}))
            for name in step.release:
                values.pop(name, None)
        return _picked(values, self._outputs, None)


def check_device(number: int, artifact: Artifact, executable: Executable, here: Availability) -> None:
    """Hold an opened part against what the backend says is present.

    Raises:
        BackendError: it runs on another device, or obtains its results in another way.
    """
    placed = f"part {number} is placed on {artifact.target}"
    if here.devices and executable.device not in here.devices:
        raise BackendError(
            f"{placed}, and opened on '{executable.device}' (present: {', '.join(here.devices)})",
            fix="check the device and its driver; a fallback must never be silent",
        )
    if here.tier is not None and executable.tier != here.tier:
        raise BackendError(
            f"{placed}, which gives results of tier '{here.tier}' here, and opened with tier '{executable.tier}'",
            fix="report it to the backend's authors",
        )


def _check_wiring(steps: Sequence[Step], known: set[str], outputs: tuple[str, ...]) -> None:
    fix = "compile the package again"
    for step in steps:
        missing = sorted(set(step.takes) - known)
        if missing:
            raise PackageError(f"part {step.number} ({step.target}) needs '{missing[0]}', which nothing gives", fix=fix)
        known |= {info.name for info in step.executable.outputs}
    missing = [name for name in outputs if name not in known]
    if missing:
        raise PackageError(f"no part gives the output '{missing[0]}'", fix=fix)


def _with_releases(steps: Sequence[Step], outputs: tuple[str, ...]) -> list[Step]:
    """Each value is released behind the last step that takes it; one that nobody takes, where it appears."""
    last: dict[str, int] = {}
    for position, step in enumerate(steps):
        given = (info.name for info in step.executable.outputs)
        last.update(dict.fromkeys((*step.takes, *given), position))
    keep = set(outputs)
    return [
        Step(
            s.number,
            s.target,
            s.executable,
            s.device,
            s.takes,
            tuple(n for n, i in last.items() if i == p and n not in keep),
        )
        for p, s in enumerate(steps)
    ]


def _picked(values: Mapping[str, NDArray[Any]], names: tuple[str, ...], step: Step | None) -> dict[str, NDArray[Any]]:
    try:
        return {name: values[name] for name in names}
    except KeyError as error:
        raise BackendError(f"no part gave the output {error}", fix="report it to the backend's authors") from None
