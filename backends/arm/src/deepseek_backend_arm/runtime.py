"""An opened artifact: its program, loaded into the runtime."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.build import runtime_folder
from deepseek_backend_arm.container import FORMAT, Container
from deepseek_backend_arm.emulator import QEMU_FIX, find_qemu
from deepseek_backend_arm.image.executable import IMAGE_FORMAT, open_image
from deepseek_backend_arm.linking import LinkedServer, linked_library
from deepseek_backend_arm.plan.linked import Linked
from deepseek_backend_arm.probe import device_name
from deepseek_backend_arm.server import server_for
from deepseek_backend_arm.targets import TARGETS, cpu_of
from deepseek_backend_arm.toolchain import is_arm
from deepseek_core import Artifact, Executable, Feeds, Target, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["ArmExecutable", "Runner", "open_artifact"]


class Runner(Protocol):
    """Something that programs can be loaded into."""

    def load(self, container: Container) -> int: ...

    def run(self, slot: int, feeds: list[NDArray[Any]]) -> list[NDArray[Any]]: ...

    def free(self, slot: int) -> None: ...


def open_artifact(artifact: Artifact, device: str | None) -> Executable:
    """Open an artifact on this machine, or on the CPU that QEMU emulates.

    Raises:
        PackageError: it is none of ours, damaged, or for another CPU than its target.
        BackendError: there is no such device, or what runs it is not installed.
    """
    target = artifact.target
    if artifact.format == IMAGE_FORMAT and target in TARGETS:
        return open_image(artifact, device)
    if artifact.format != FORMAT or target not in TARGETS:
        found = f"format '{artifact.format}' for {target}"
        raise PackageError(f"the arm backend does not run an artifact of {found}", fix="compile the model again")
    artifact.verify()
    container = Container.decode(artifact.payload)
    if container.device != target.device:
        raise PackageError(f"the artifact is for {container.device}, not {target}", fix="compile the model again")
    if device not in (None, device_name(target)):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{device_name(target)}', or name none")
    return ArmExecutable(
        container, _runner(target, container.table), device_name(target), Tier.DEVICE if is_arm() else Tier.EMULATED
    )


def _runner(target: Target, linked: Linked) -> Runner:
    """The machine itself, or the emulator; a runtime of its own for a program that brings functions."""
    if is_arm():
        from deepseek_backend_arm.native import library_for

        return linked_library(linked) if linked.functions else library_for(runtime_folder())
    qemu = find_qemu()
    if qemu is None:
        raise BackendError("QEMU's user-mode emulator for ARM64 is not installed", fix=QEMU_FIX)
    if linked.functions:
        return LinkedServer((qemu, "-cpu", cpu_of(target).emulated), linked)
    return server_for((qemu, "-cpu", cpu_of(target).emulated, str(runtime_folder() / "serve")))


class ArmExecutable:
    """A part, ready to run; several threads take turns."""

    def __init__(self, container: Container, runner: Runner, device: str, tier: Tier) -> None:
        self._container, self._runner = container, runner
        self._slot: int | None = runner.load(container)
        self._device, self._tier = device, tier

    @property
    def tier(self) -> Tier:
        return self._tier

    @property
    def device(self) -> str:
        return self._device

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(place.info for place in self._container.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(place.info for place in self._container.outputs)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: the runtime died, or the executable is closed.
        """
        if self._slot is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        arrays = [np.ascontiguousarray(feeds[place.name], place.dtype) for place in self._container.inputs]
        results = self._runner.run(self._slot, arrays)
        return {place.name: array for place, array in zip(self._container.outputs, results, strict=True)}

    def close(self) -> None:
        """Calling twice is harmless."""
        if self._slot is not None:
            slot, self._slot = self._slot, None
            self._runner.free(slot)
