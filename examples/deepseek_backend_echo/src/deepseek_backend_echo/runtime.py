"""An opened program."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from deepseek_backend_echo import engine
from deepseek_backend_echo.capabilities import DEVICE, TARGET
from deepseek_backend_echo.program import FORMAT, Program
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, PackageError

__all__ = ["EchoExecutable", "open_artifact"]


def open_artifact(artifact: Artifact, device: str | None) -> EchoExecutable:
    """Open a program on the simulator.

    Raises:
        PackageError: the artifact is none of ours, for a device that does not exist, or damaged.
        BackendError: there is no such device.
    """
    if device not in (None, DEVICE):
        raise BackendError(f"there is no device '{device}'", fix=f"use '{DEVICE}', or name none")
    if artifact.format != FORMAT or artifact.target != TARGET:
        found = f"format '{artifact.format}' for {artifact.target}"
        raise PackageError(f"an artifact of {found} does not run on {TARGET}", fix=f"compile the model for {TARGET}")
    return EchoExecutable(Program.decode(artifact.payload))


class EchoExecutable:
    """Runs a program on the simulated device, and says so."""

    tier = Tier.SIMULATED
    device = DEVICE

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._program.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._program.outputs

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        return engine.execute(self._program, feeds)

    def close(self) -> None:
        """Nothing to release: the simulator holds no device."""
