"""The driver interface that HIP and CUDA share: names, error codes, and calls through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

from deepseek_backend_rocm.devices.base import DeviceError

__all__ = ["CUDA", "HIP", "Library", "Names"]


@dataclass(frozen=True, slots=True)
class Names:
    """One runtime.

    Attributes:
        title: for people.
        files: names of the shared library, the first that is found counts.
        prefix: of functions.
        suffixes: of functions whose name ends otherwise than its twin's.
        own: functions that are called otherwise.
        end: what ends the list of extra launch arguments.
        fix: what to do where the library is missing.
        none: error codes that say that there is no device.
    """

    title: str
    files: tuple[str, ...]
    prefix: str
    suffixes: Mapping[str, str]
    own: Mapping[str, str]
    end: int
    fix: str
    none: tuple[int, ...]

    def symbol(self, function: str) -> str:
        """How this runtime calls a function."""
        return self.own.get(function, f"{self.prefix}{function}{self.suffixes.get(function, '')}")


HIP = Names(
    title="HIP",
    files=("libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5"),
    prefix="hip",
    suffixes={},
    own={
        "MemAlloc": "hipMalloc",
        "MemFree": "hipFree",
        "LaunchKernel": "hipModuleLaunchKernel",
        "StreamCreate": "hipStreamCreateWithFlags",
        "EventCreate": "hipEventCreateWithFlags",
        "DeviceGetCount": "hipGetDeviceCount",
    },
    end=3,
    fix="install ROCm's HIP runtime (libamdhip64), or let the emulator run the artifact",
    none=(100, 101),
)
"""HIP runtime API, "Module management", "Stream management", "Graph management" (rocm.docs.amd.com)."""

CUDA = Names(
    title="CUDA",
    files=("libcuda.so.1", "libcuda.so"),
    prefix="cu",
    suffixes={
        "MemAlloc": "_v2",
        "MemFree": "_v2",
        "MemcpyHtoD": "_v2",
        "MemcpyDtoH": "_v2",
        "StreamDestroy": "_v2",
        "EventDestroy": "_v2",
        "StreamBeginCapture": "_v2",
    },
    own={},
    end=0,
    fix="install NVIDIA's driver",
    none=(100, 101),
)
"""CUDA driver API, the functions with the same signatures as HIP's."""


class Library:
    """A runtime's shared library.

    Args:
        names: which one.

    Raises:
        DeviceError: it is not installed.
    """

    def __init__(self, names: Names, path: str | None = None) -> None:
        self.names = names
        found = _open((path,) if path is not None else names.files)
        if found is None:
            raise DeviceError(f"the {names.title} runtime ({names.files[0]}) is not installed", fix=names.fix)
        self._library = found

    def has(self, function: str) -> bool:
        """Whether this version has a function."""
        return hasattr(self._library, self.names.symbol(function))

    def call(self, function: str, *arguments: object) -> None:
        """Call a function that gives an error code.

        Raises:
            DeviceError: the code is not 0, or this version lacks the function.
        """
        symbol = self.names.symbol(function)
        code = self.code(function, *arguments)
        if code:
            raise DeviceError(
                f"{symbol} failed with error {code} ({self.reason(code)})",
                fix="see the kernel log of the GPU's driver, then load the artifact again, or on another device",
                code=code,
            )

    def code(self, function: str, *arguments: object) -> int:
        """Call a function; gives its error code."""
        symbol = self.names.symbol(function)
        if not self.has(function):
            raise DeviceError(f"this version of {self.names.title} has no {symbol}", fix=self.names.fix)
        return int(getattr(self._library, symbol)(*arguments))

    def reason(self, code: int) -> str:
        """What an error code means, in the runtime's words."""
        if self.names.prefix == HIP.prefix:
            text = self._library.hipGetErrorString
            text.restype = ctypes.c_char_p
            return (text(code) or b"unknown error").decode()
        words = ctypes.c_char_p()
        known = self._library.cuGetErrorString(code, ctypes.byref(words)) == 0
        return (words.value or b"").decode() if known else "unknown error"


def _open(files: tuple[str, ...]) -> ctypes.CDLL | None:
    for file in files:
        try:
            return ctypes.CDLL(file)
        except OSError:
            continue
    return None
