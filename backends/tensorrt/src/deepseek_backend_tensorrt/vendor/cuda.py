"""The CUDA driver through ctypes: contexts, memory, streams, events and graphs, and nothing of a toolkit.

Names and signatures are those of the CUDA Driver API reference manual. One `Driver` serves a process; every device has
its primary context, which is what TensorRT's own runtime uses.
"""

from __future__ import annotations

import ctypes
from typing import Any

from deepseek_backend_tensorrt.vendor.failure import DeviceMemoryError, VendorError

__all__ = ["LIBRARY", "Driver"]

LIBRARY = "libcuda.so.1"
_OUT_OF_MEMORY = 2
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_CAPTURE_THREAD_LOCAL = 1
_NON_BLOCKING = 1
_EVENT_DEFAULT = 0
_FIX = "check that the NVIDIA driver works: nvidia-smi"

_Handle = ctypes.c_void_p
_Pointer = ctypes.c_uint64
_Size = ctypes.c_size_t


class Driver:
    """The driver library, initialised.

    Args:
        library: path or name of the library.

    Raises:
        VendorError: there is no driver, or it does not start.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        try:
            self._cuda: Any = ctypes.CDLL(library)
        except OSError as error:
            raise VendorError(f"no CUDA driver: {error}", "install the NVIDIA driver", "device") from None
        self._call("cuInit", ctypes.c_uint(0))
        self._contexts: dict[int, _Handle] = {}

    # Devices

    def version(self) -> str:
        """The newest CUDA the driver knows, such as `13.0`."""
        found = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(found))
        return f"{found.value // 1000}.{found.value % 1000 // 10}"

    def devices(self) -> list[dict[str, Any]]:
        """Name, compute capability and memory of each device."""
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        return [self._device(number) for number in range(count.value)]

    def use(self, device: int) -> None:
        """Make the primary context of a device current in this thread."""
        if device not in self._contexts:
            context = _Handle()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), ctypes.c_int(device))
            self._contexts[device] = context
        self._call("cuCtxSetCurrent", self._contexts[device])

    def _device(self, number: int) -> dict[str, Any]:
        handle, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), _Size()
        self._call("cuDeviceGet", ctypes.byref(handle), ctypes.c_int(number))
        self._call("cuDeviceGetName", name, ctypes.c_int(len(name)), handle)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
        capability = [self._attribute(code, handle) for code in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)]
        return {"number": number, "name": name.value.decode(), "capability": capability, "memory": memory.value}

    def _attribute(self, code: int, device: ctypes.c_int) -> int:
        found = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(code), device)
        return found.value

    # Memory

    def allocate(self, size: int, what: str) -> int:
        """Device memory; address.

        Raises:
            DeviceMemoryError: there is not enough left; nothing else is touched.
        """
        pointer = _Pointer()
        code = self._cuda.cuMemAlloc_v2(ctypes.byref(pointer), _Size(max(size, 1)))
        if code == _OUT_OF_MEMORY:
            raise DeviceMemoryError(size, self.free_memory(), what)
        self._check("cuMemAlloc_v2", code)
        return pointer.value

    def release(self, pointer: int) -> None:
        self._call("cuMemFree_v2", _Pointer(pointer))

    def free_memory(self) -> int:
        """Bytes left on the current device."""
        free, total = _Size(), _Size()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate_pinned(self, size: int) -> int:
        """Page-locked host memory that copies run from without the CPU; address."""
        pointer = _Handle()
        self._call("cuMemHostAlloc", ctypes.byref(pointer), _Size(max(size, 1)), ctypes.c_uint(0))
        return pointer.value or 0

    def release_pinned(self, pointer: int) -> None:
        self._call("cuMemFreeHost", _Handle(pointer))

    def to_device(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy in stream order; `source` is host memory, pinned if the call shall not wait."""
        self._call("cuMemcpyHtoDAsync_v2", _Pointer(target), _Handle(source), _Size(size), _Handle(stream))

    def to_host(self, target: int, source: int, size: int, stream: int) -> None:
        self._call("cuMemcpyDtoHAsync_v2", _Handle(target), _Pointer(source), _Size(size), _Handle(stream))

    # Streams and events

    def stream(self) -> int:
        """A stream that does not wait for the default one."""
        return self._made("cuStreamCreate", ctypes.c_uint(_NON_BLOCKING))

    def release_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", _Handle(stream))

    def wait(self, stream: int) -> None:
        """Block until everything on the stream is done."""
        self._call("cuStreamSynchronize", _Handle(stream))

    def event(self) -> int:
        return self._made("cuEventCreate", ctypes.c_uint(_EVENT_DEFAULT))

    def release_event(self, event: int) -> None:
        self._call("cuEventDestroy_v2", _Handle(event))

    def record(self, event: int, stream: int) -> None:
        self._call("cuEventRecord", _Handle(event), _Handle(stream))

    def wait_for(self, stream: int, event: int) -> None:
        """Later work on `stream` waits for `event`; the CPU does not."""
        self._call("cuStreamWaitEvent", _Handle(stream), _Handle(event), ctypes.c_uint(0))

    def seconds_between(self, start: int, end: int) -> float:
        """Device time from one recorded event to another that is done."""
        found = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(found), _Handle(start), _Handle(end))
        return found.value / 1000

    # Graphs

    def begin_capture(self, stream: int) -> None:
        self._call("cuStreamBeginCapture_v2", _Handle(stream), ctypes.c_int(_CAPTURE_THREAD_LOCAL))

    def end_capture(self, stream: int) -> int:
        """What was put on the stream since `begin_capture`, ready to launch; the graph's handle."""
        graph, ready = _Handle(), _Handle()
        self._call("cuStreamEndCapture", _Handle(stream), ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return ready.value or 0

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", _Handle(graph), _Handle(stream))

    def release_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", _Handle(graph))

    def _made(self, function: str, *arguments: Any) -> int:
        handle = _Handle()
        self._call(function, ctypes.byref(handle), *arguments)
        return handle.value or 0

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(function, getattr(self._cuda, function)(*arguments))

    def _check(self, function: str, code: int) -> None:
        if code:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text))
            name = (text.value or b"unknown error").decode()
            raise VendorError(f"{function} failed: {name} ({code})", _FIX, "device")
