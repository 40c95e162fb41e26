"""Step: one part of a package, opened on its device and held to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from deepseek_core.artifact import Artifact
from deepseek_core.errors import BackendError, DeepseekError
from deepseek_core.executable import Executable, Feeds
from deepseek_core.target import Availability, Target

__all__ = ["Loss", "PartError", "Step", "check_device", "part_name"]

_REPORT = "report it to the backend's authors"


@dataclass(frozen=True, slots=True)
class Loss:
    """A part that failed, or could not be opened.

    Attributes:
        device: as its runtime names it; empty when the part was not opened.
        reason: what went wrong.
    """

    part: str
    target: Target
    device: str
    reason: str


class PartError(BackendError):
    """A part that failed while it ran; what its backend raised is the cause.

    Attributes:
        step: the part; None where the error comes from another process.
    """

    def __init__(self, message: str, *, fix: str, step: Step | None = None) -> None:
        super().__init__(message, fix=fix)
        self.step = step

    @property
    def loss(self) -> Loss | None:
        """What is lost if the part's device is; None where the error comes from another process."""
        step = self.step
        return None if step is None else Loss(step.name, step.target, step.device, self.message)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """An opened part.

    Attributes:
        number: position among the steps.
        device: where it was when it was opened; `run` checks that it stayed there.
        takes: names of its inputs.
        gives: names of its outputs, taps included.
        units: names of the units it runs.
        rebuilt: why it was built again on opening; empty when it was not.
        moved: why it runs where it was not placed; empty when it runs where it was.
    """

    number: int
    target: Target
    executable: Executable
    device: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    units: tuple[str, ...] = ()
    rebuilt: str = ""
    moved: str = ""

    @property
    def name(self) -> str:
        """As `partition.split` names the part."""
        return part_name(self.number, self.target)

    @property
    def lane(self) -> tuple[str, str]:
        """Steps of one lane share a device, and its worker thread."""
        return self.target.backend, self.device

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run the part, and make sure that it ran where it was placed.

        Raises:
            PartError: it failed, or ran elsewhere.
        """
        try:
            results = self.executable.run(feeds)
        except Exception as error:  # a device may fail in any way, and the caller must know which one did
            raise self._failed(error) from error
        if self.executable.device != self.device:
            raise PartError(
                f"part {self.number}, placed on {self.target} ({self.device}), ran on {self.executable.device}",
                fix=f"{_REPORT}: a fallback must never be silent",
                step=self,
            )
        return results

    def renumbered(self, number: int) -> Step:
        """The same opened part at another position."""
        return replace(self, number=number)

    def forgot(self, name: str) -> PartError:
        """The error for an output that `run` did not give."""
        return PartError(f"no part gave the output '{name}' ({self.name} should have)", fix=_REPORT, step=self)

    def _failed(self, error: Exception) -> PartError:
        known = isinstance(error, DeepseekError)
        what = error.message if isinstance(error, DeepseekError) else f"{type(error).__name__}: {error}".rstrip(": ")
        fix = error.fix if isinstance(error, DeepseekError) else "check the device and its driver"
        verb = ":" if known else " failed with"
        return PartError(f"{self.name} on {self.target} ({self.device}){verb} {what}", fix=fix, step=self)


def part_name(number: int, target: Target) -> str:
    """As `partition.split` names the part."""
    return f"part{number}_{target.backend}"


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
            fix=_REPORT,
        )
