"""What every device can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from deepseek_core import Tier
from deepseek_core.errors import BackendError

__all__ = ["Call", "Device", "DeviceError", "Range", "Recording", "emulated_name"]

_MISUSE = "report a bug of the rocm backend"


def emulated_name(architecture: str) -> str:
    """How executables name an emulated GPU."""
    return f"emulated {architecture}"


class DeviceError(BackendError):
    """A device that is not there, refuses a call, or is lost.

    Attributes:
        code: of the runtime's error, None where it gave none.
    """

    def __init__(self, message: str, *, fix: str = _MISUSE, code: int | None = None) -> None:
        super().__init__(message, fix=fix)
        self.code = code


@dataclass(frozen=True, slots=True)
class Range:
    """Memory that a call may touch.

    Attributes:
        address, size: of its bytes.
        writes: whether it may write there; it may always read.
        name: of what is there.
    """

    address: int
    size: int
    writes: bool
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One kernel launch, all addresses known.

    Attributes:
        function: what `Device.function` gave.
        grid: workgroups along x, y, z.
        threads: of a workgroup.
        shared: bytes of dynamic LDS.
        arguments: bytes of the kernel's arguments.
        ranges: memory that it may touch; devices that cannot check ignore them.
        unit: what it computes, for people.
    """

    function: Any
    grid: tuple[int, int, int]
    threads: int
    shared: int
    arguments: bytes
    ranges: tuple[Range, ...] = ()
    unit: str = ""


class Recording(Protocol):
    """Calls that were recorded once, and run in order each time."""

    def run(self) -> None:
        """Start them; `Device.synchronise` waits for their end."""
        ...

    def close(self) -> None: ...


class Device(Protocol):
    """A device with memory of its own. Addresses are plain numbers; one thread at a time uses a device.

    Every method raises `DeviceError` when the device refuses, or is lost.
    """

    @property
    def name(self) -> str: ...

    @property
    def tier(self) -> Tier: ...

    @property
    def architecture(self) -> str:
        """As code objects name it: `gfx942`."""
        ...

    def allocate(self, size: int) -> int:
        """Address of new memory, a multiple of 256; its contents are undefined."""
        ...

    def free(self, address: int) -> None: ...

    def forget(self, address: int, size: int) -> None:
        """What is in an allocation is no longer needed; where that can be checked, reading it is an error."""
        ...

    def copy_in(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array's bytes to the device."""
        ...

    def copy_out(self, address: int, size: int) -> NDArray[Any]:
        """Bytes from the device, uint8 [size]."""
        ...

    def load(self, code: bytes) -> Any:
        """A module from a code object."""
        ...

    def unload(self, module: Any) -> None: ...

    def function(self, module: Any, symbol: str) -> Any:
        """A kernel of a module."""
        ...

    def record(self, calls: Sequence[Call]) -> Recording: ...

    def synchronise(self) -> None:
        """Wait until everything has run."""
        ...

    def seconds(self, recording: Recording, repeats: int) -> float | None:
        """Time of one run on the device's own clock; None where time means nothing."""
        ...

    def close(self) -> None: ...
