"""AMD GPUs through the HIP runtime, which is loaded when it is there: nothing of ROCm is needed before."""

from __future__ import annotations

import ctypes
import functools

from deepseek_backend_rocm.devices.base import DeviceError
from deepseek_backend_rocm.devices.gpu import GpuDevice
from deepseek_backend_rocm.devices.interface import HIP, Library

__all__ = ["found_devices", "hip_library", "open_hip"]

_PROPERTIES, _ARCHITECTURE, _TEXT = 1472, 1160, 256
"""Bytes of `hipDeviceProp_tR0600`, and where `gcnArchName` is in it (hip_runtime_api.h of ROCm 6 and 7)."""


@functools.cache
def hip_library() -> Library:
    """The HIP runtime.

    Raises:
        DeviceError: it is not installed, or older than ROCm 6.
    """
    return Library(HIP)


def found_devices(library: Library) -> list[tuple[str, str]]:
    """Name and architecture of each GPU that HIP finds; none is no error.

    Raises:
        DeviceError: HIP fails otherwise.
    """
    code = library.code("Init", ctypes.c_uint(0))
    count = ctypes.c_int()
    code = code or library.code("DeviceGetCount", ctypes.byref(count))
    if code in HIP.none:
        return []
    if code:
        raise DeviceError(f"HIP does not start: error {code} ({library.reason(code)})", fix="check the GPU's driver")
    return [_described(library, number) for number in range(count.value)]


def _described(library: Library, number: int) -> tuple[str, str]:
    if not library.has("GetDevicePropertiesR0600"):
        raise DeviceError("the HIP runtime is older than ROCm 6", fix="install ROCm 6 or later")
    properties = ctypes.create_string_buffer(2 * _PROPERTIES)
    library.call("GetDevicePropertiesR0600", properties, ctypes.c_int(number))
    name = properties.raw[:_TEXT].split(b"\0")[0].decode(errors="replace")
    architecture = properties.raw[_ARCHITECTURE : _ARCHITECTURE + _TEXT].split(b"\0")[0].decode(errors="replace")
    return f"hip:{number} ({name})", architecture.split(":")[0]


def open_hip(architecture: str, library: Library | None = None) -> GpuDevice:
    """The first AMD GPU of an architecture.

    Raises:
        DeviceError: there is no HIP runtime, no GPU, or none of the architecture.
    """
    library = hip_library() if library is None else library
    devices = found_devices(library)
    if not devices:
        raise DeviceError("HIP finds no AMD GPU", fix="check the GPU's driver, or let the emulator run the artifact")
    for number, (name, found) in enumerate(devices):
        if found == architecture:
            library.call("SetDevice", ctypes.c_int(number))
            return GpuDevice(library, name, architecture)
    present = ", ".join(sorted({found for _, found in devices}))
    raise DeviceError(f"there is no {architecture} GPU here, but {present}", fix=f"compile for rocm:{devices[0][1]}")
