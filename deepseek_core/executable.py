"""What an opened artifact offers: run, and an honest word about how results are obtained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from deepseek_core.ir.model import TensorInfo
from deepseek_core.target import Tier

__all__ = ["Executable", "Feeds", "Tier"]

Feeds = Mapping[str, NDArray[Any]]


@runtime_checkable
class Executable(Protocol):
    """An artifact opened on a device. `run` may be called from several threads at once."""

    @property
    def tier(self) -> Tier: ...

    @property
    def device(self) -> str:
        """The device that really runs it, as its runtime names it."""
        ...

    @property
    def inputs(self) -> tuple[TensorInfo, ...]: ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Graph outputs, then the taps that were asked for and are neither outputs nor inputs."""
        ...

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Outputs by name. Feeds were checked by the session: names, dtypes and shapes fit `inputs`."""
        ...

    def close(self) -> None:
        """Release the device's resources; calling twice is harmless."""
        ...
