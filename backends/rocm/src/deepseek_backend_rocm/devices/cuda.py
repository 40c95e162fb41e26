"""An NVIDIA GPU: the same Triton kernels, compiled for it. A check of their logic on silicon, and nothing more.

What it computes says nothing about AMD's code objects, and its time nothing about their speed.
"""

from __future__ import annotations

import ctypes

from deepseek_backend_rocm.devices.base import DeviceError
from deepseek_backend_rocm.devices.gpu import GpuDevice
from deepseek_backend_rocm.devices.interface import CUDA, Library

__all__ = ["open_cuda"]

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
_STATIC_SHARED = 48 << 10


def open_cuda(number: int = 0) -> GpuDevice:
    """An NVIDIA GPU.

    Raises:
        DeviceError: there is no driver, or no GPU.
    """
    library = Library(CUDA)
    code = library.code("Init", ctypes.c_uint(0))
    count = ctypes.c_int()
    code = code or library.code("DeviceGetCount", ctypes.byref(count))
    if code or number >= count.value:
        raise DeviceError(f"CUDA finds no GPU {number}", fix="run this on a machine with an NVIDIA GPU")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    library.call("DeviceGet", ctypes.byref(device), ctypes.c_int(number))
    library.call("DevicePrimaryCtxRetain", ctypes.byref(context), device)
    library.call("CtxSetCurrent", context)
    name = ctypes.create_string_buffer(256)
    library.call("DeviceGetName", name, ctypes.c_int(256), device)
    major, minor = (_attribute(library, which, device) for which in (_MAJOR, _MINOR))
    text = f"cuda:{number} ({name.value.decode(errors='replace')})"
    return GpuDevice(library, text, f"sm_{major}{minor}", _STATIC_SHARED)


def _attribute(library: Library, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    library.call("DeviceGetAttribute", ctypes.byref(value), ctypes.c_int(which), device)
    return value.value
