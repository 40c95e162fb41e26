"""An opened artifact: the host's conversions around the NPU, which is emulated or Arm's reference model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import FORMAT, Container
from deepseek_backend_npu.devices import DEVICES, device_name, device_of
from deepseek_backend_npu.host import convert
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.reference import run_reference
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_backend_npu.versions import REFERENCE_FIX, reference_version
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["NpuExecutable", "open_artifact"]

Runner = Callable[[list[NDArray[Any]]], Sequence[NDArray[Any]]]


def open_artifact(artifact: Artifact, device: str | None) -> NpuExecutable:
    """Open an artifact on the emulator or on the reference model, as it says.

    Raises:
        PackageError: it is none of ours, damaged, or for another variant than its target.
        BackendError: there is no such device, or what runs it is not installed.
    """
    if artifact.format != FORMAT or artifact.target.device not in DEVICES:
        found = f"format '{artifact.format}' for {artifact.target}"
        raise PackageError(f"the npu backend does not run an artifact of {found}", fix="compile the model again")
    device_of(artifact.target)
    artifact.verify()
    container = Container.decode(artifact.payload)
    if container.device != artifact.target.device:
        raise PackageError(
            f"the artifact is for {container.device}, not for {artifact.target.device}", fix="compile the model again"
        )
    executable = NpuExecutable(container)
    if device not in (None, executable.device):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{executable.device}', or name none")
    return executable


class NpuExecutable:
    """A part, ready to run; all state of a run is its own, so several threads may run it."""

    def __init__(self, container: Container) -> None:
        variant = DEVICES[container.device]
        self._container = container
        self.tier = Tier(container.tier)
        self.device = device_name(container.device, self.tier)
        if not container.payload:
            self._run: Runner | None = _nothing
        elif self.tier is Tier.REFERENCE:
            if reference_version() is None:
                raise BackendError("Arm's TOSA reference model is not installed", fix=REFERENCE_FIX)
            self._run = self._in_reference
        else:
            from deepseek_backend_npu.emulator import Machine

            self._run = Machine(variant, parse(container.payload), container).run

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._container.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._container.outputs

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            BackendError: the program breaks a rule of the hardware, or the executable is closed.
        """
        if self._run is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        container = self._container
        values: dict[str, NDArray[Any]] = dict(feeds)
        convert(container.before, values)
        arrays = [
            np.ascontiguousarray(values[b.name].transpose(b.order).reshape(b.shape), NUMPY[b.dtype])
            for b in container.feeds
        ]
        for border, array in zip(container.results, self._run(arrays), strict=True):
            axes = [border.order.index(axis) for axis in range(len(border.order))]
            values[border.name] = np.ascontiguousarray(array.transpose(axes))
        convert(container.after, values)
        return {info.name: values[info.name] for info in container.outputs}

    def close(self) -> None:
        """Calling twice is harmless."""
        self._run = None

    def _in_reference(self, arrays: list[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        return run_reference(self._container.tosa, arrays, self._container.results)


def _nothing(arrays: list[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    return []
