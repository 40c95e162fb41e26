"""A GPU behind the driver interface: memory, modules, launches recorded as a graph, and events for time."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.devices.base import Call, DeviceError, Recording
from deepseek_backend_rocm.devices.interface import Library
from deepseek_core import Tier

__all__ = ["GpuDevice"]

_BUFFER, _SIZE = 1, 2
"""Marks in the list of extra launch arguments: a pointer to the arguments, a pointer to their size."""
_RELAXED = 2
"""Capture mode: other threads may go on allocating."""
_NON_BLOCKING = 1


class GpuDevice:
    """One GPU, with a stream of its own.

    Args:
        library: the runtime, with the GPU made current.
        name: for people.
        architecture: as code objects name it.
        largest_shared: bytes of dynamic local memory that a kernel has without being asked for more.
    """

    tier = Tier.DEVICE

    def __init__(self, library: Library, name: str, architecture: str, largest_shared: int = 0) -> None:
        self.library, self.name, self.architecture = library, name, architecture
        self._largest_shared = largest_shared
        self.stream: ctypes.c_void_p | None = _made(library, "StreamCreate", _NON_BLOCKING)

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self.library.call("MemAlloc", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, address: int) -> None:
        self.library.call("MemFree", ctypes.c_uint64(address))

    def forget(self, address: int, size: int) -> None:
        """Nothing checks here what is read."""

    def copy_in(self, address: int, array: NDArray[Any]) -> None:
        data = np.ascontiguousarray(array)
        if data.nbytes:
            source = ctypes.c_void_p(data.ctypes.data)
            self.library.call("MemcpyHtoD", ctypes.c_uint64(address), source, ctypes.c_size_t(data.nbytes))

    def copy_out(self, address: int, size: int) -> NDArray[Any]:
        data = np.empty(size, np.uint8)
        if size:
            target = ctypes.c_void_p(data.ctypes.data)
            self.library.call("MemcpyDtoH", target, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return data

    def load(self, code: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        self.library.call("ModuleLoadData", ctypes.byref(module), ctypes.c_char_p(code))
        return module

    def unload(self, module: Any) -> None:
        self.library.call("ModuleUnload", module)

    def function(self, module: Any, symbol: str) -> ctypes.c_void_p:
        function = ctypes.c_void_p()
        self.library.call("ModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(symbol.encode()))
        return function

    def record(self, calls: Sequence[Call]) -> Recording:
        return _Graph(self, calls)

    def launch(self, call: Call) -> None:
        """Start one kernel on the stream."""
        if call.shared > self._largest_shared > 0:
            # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.library.call("FuncSetAttribute", call.function, 8, call.shared)
        data = ctypes.create_string_buffer(call.arguments, len(call.arguments))
        size = ctypes.c_size_t(len(call.arguments))
        extra = (ctypes.c_void_p * 5)(
            _BUFFER, ctypes.addressof(data), _SIZE, ctypes.addressof(size), self.library.names.end
        )
        grid = [ctypes.c_uint(count) for count in (*call.grid, call.threads, 1, 1, call.shared)]
        self.library.call("LaunchKernel", call.function, *grid, self.stream, None, extra)

    def synchronise(self) -> None:
        self.library.call("StreamSynchronize", self.stream)

    def seconds(self, recording: Recording, repeats: int) -> float:
        start, end = (_made(self.library, "EventCreate", 0) for _ in range(2))
        try:
            recording.run()
            self.library.call("EventRecord", start, self.stream)
            for _ in range(repeats):
                recording.run()
            self.library.call("EventRecord", end, self.stream)
            self.library.call("EventSynchronize", end)
            milliseconds = ctypes.c_float()
            self.library.call("EventElapsedTime", ctypes.byref(milliseconds), start, end)
        finally:
            for event in (start, end):
                self.library.code("EventDestroy", event)
        return milliseconds.value / 1e3 / repeats

    def close(self) -> None:
        """Calling twice is harmless; a device that is lost is closed without a complaint."""
        if self.stream is not None:
            stream, self.stream = self.stream, None
            self.library.code("StreamDestroy", stream)


class _Graph:
    """Calls captured from the stream, so that one call starts them all."""

    def __init__(self, device: GpuDevice, calls: Sequence[Call]) -> None:
        self._device, library = device, device.library
        self._graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        library.call("StreamBeginCapture", device.stream, _RELAXED)
        try:
            for call in calls:
                device.launch(call)
        except DeviceError:
            library.code("StreamEndCapture", device.stream, ctypes.byref(self._graph))
            raise
        library.call("StreamEndCapture", device.stream, ctypes.byref(self._graph))
        library.call("GraphInstantiateWithFlags", ctypes.byref(self._executable), self._graph, ctypes.c_ulonglong(0))

    def run(self) -> None:
        self._device.library.call("GraphLaunch", self._executable, self._device.stream)

    def close(self) -> None:
        library = self._device.library
        if self._executable:
            library.code("GraphExecDestroy", self._executable)
            library.code("GraphDestroy", self._graph)
            self._executable = ctypes.c_void_p()


def _made(library: Library, function: str, flags: int) -> ctypes.c_void_p:
    made = ctypes.c_void_p()
    library.call(function, ctypes.byref(made), ctypes.c_uint(flags))
    return made
