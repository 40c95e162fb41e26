"""An opened program."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from deepseek_backend_echo import engine
from deepseek_backend_echo.program import Program
from deepseek_core import Feeds, TensorInfo, Tier

__all__ = ["DEVICE", "EchoExecutable"]

DEVICE = "echo v1 simulator"


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
