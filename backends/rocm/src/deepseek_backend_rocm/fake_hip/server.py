"""The process behind the library: memory, modules, streams, graphs and events of one emulated GPU.

It is as strict as HIP may be: whatever is not right gives the error code that HIP's reference names, and once a kernel
has failed every call fails with its error, as on a GPU.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from deepseek_backend_rocm.emulator.code import CodeObject, KernelCode, read_code
from deepseek_backend_rocm.emulator.faults import CodeError, KernelFault
from deepseek_backend_rocm.emulator.machine import Machine

__all__ = ["Server", "main"]

_REQUEST, _ANSWER = struct.Struct("<8Q"), struct.Struct("<q2Q")
_INVALID_VALUE, _INVALID_CONFIGURATION, _INVALID_DEVICE = 1, 9, 101
_INVALID_IMAGE, _NO_BINARY, _INVALID_HANDLE, _NOT_FOUND = 200, 209, 400, 500
_ILLEGAL_ADDRESS, _LAUNCH_FAILURE, _CAPTURING = 700, 719, 900
_LARGEST_SHARED = 160 << 10


class HipError(Exception):
    """A call that gives an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Launch:
    kernel: KernelCode
    grid: tuple[int, int, int]
    threads: int
    shared: int
    arguments: bytes


@dataclass(slots=True)
class _Module:
    code: CodeObject
    functions: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Stream:
    captured: list[_Launch] | None = None


@dataclass(slots=True)
class _Event:
    time: int | None = None


@dataclass(frozen=True, slots=True)
class _Graph:
    launches: tuple[_Launch, ...]


@dataclass(frozen=True, slots=True)
class _Executable:
    launches: tuple[_Launch, ...]


Answer = tuple[int, bytes]


class Server:
    """One emulated GPU.

    Args:
        architecture: of the GPU.
        lose_after: launches after which it is lost.
    """

    def __init__(self, architecture: str, lose_after: int | None = None) -> None:
        self._architecture, self._left = architecture, lose_after
        self._machine = Machine()
        self._objects: dict[int, Any] = {}
        self._next = 1
        self._failed = 0
        self.message = ""
        """What the kernel that failed did."""

    def answer(self, call: int, numbers: tuple[int, ...], data: bytes) -> tuple[int, int, bytes]:
        """Error code, value and data."""
        if self._failed:
            return self._failed, 0, b""
        try:
            value, back = _CALLS[call](self, numbers, data)
        except HipError as error:
            return error.code, 0, b""
        return 0, value, back

    def _new(self, thing: object) -> int:
        handle = self._next << 4
        self._next += 1
        self._objects[handle] = thing
        return handle

    def _find(self, handle: int, kind: type[Any]) -> Any:
        found = self._objects.get(handle)
        if not isinstance(found, kind):
            raise HipError(_INVALID_HANDLE)
        return found

    def _nothing(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return 0, b""

    def _count(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return 1, b""

    def _properties(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        self._set_device(numbers, data)
        names = (f"emulated {self._architecture}", f"{self._architecture}:sramecc+:xnack-")
        return 0, b"".join(name.encode().ljust(256, b"\0") for name in names)

    def _set_device(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        if numbers[0]:
            raise HipError(_INVALID_DEVICE)
        return 0, b""

    def _allocate(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._machine.memory.allocate(numbers[0]), b""

    def _free(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._memory(lambda: self._machine.memory.free(numbers[0])), b""

    def _upload(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._memory(lambda: self._machine.memory.store(numbers[0], np.frombuffer(data, np.uint8))), b""

    def _download(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        found: list[bytes] = []
        self._memory(lambda: found.append(self._machine.memory.load(numbers[0], numbers[1]).tobytes()))
        return 0, found[0]

    def _memory(self, act: Callable[[], object]) -> int:
        try:
            act()
        except KernelFault:
            raise HipError(_INVALID_VALUE) from None
        return 0

    def _load(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        try:
            code = read_code(data)
        except CodeError as error:
            self.message = error.message
            raise HipError(_INVALID_IMAGE) from None
        if code.architecture.name != self._architecture:
            raise HipError(_NO_BINARY)
        return self._new(_Module(code)), b""

    def _unload(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        for function in self._find(numbers[0], _Module).functions:
            del self._objects[function]
        del self._objects[numbers[0]]
        return 0, b""

    def _function(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        module = self._find(numbers[0], _Module)
        kernel = module.code.kernels.get(data.decode(errors="replace"))
        if kernel is None:
            raise HipError(_NOT_FOUND)
        handle = self._new(kernel)
        module.functions.append(handle)
        return handle, b""

    def _launch(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        kernel, stream = self._find(numbers[0], KernelCode), self._stream(numbers[1])
        x, y, z, threads, rows, layers, shared, _ = struct.unpack_from("<8I", data)
        arguments = data[32:]
        if min(x, y, z, threads) < 1 or rows != 1 or layers != 1 or shared > _LARGEST_SHARED:
            raise HipError(_INVALID_CONFIGURATION)
        if threads > kernel.metadata.get(".max_flat_workgroup_size", 1024):
            raise HipError(_INVALID_CONFIGURATION)
        if len(arguments) != kernel.descriptor.arguments:
            raise HipError(_INVALID_VALUE)
        launch = _Launch(kernel, (x, y, z), threads, shared, arguments)
        if stream.captured is not None:
            stream.captured.append(launch)
        else:
            self._run(launch)
        return 0, b""

    def _run(self, launch: _Launch) -> None:
        if self._left == 0:
            self._fail(_LAUNCH_FAILURE, "the GPU is lost")
        if self._left is not None:
            self._left -= 1
        try:
            self._machine.launch(launch.kernel, launch.grid, launch.threads, launch.arguments, shared=launch.shared)
        except KernelFault as fault:
            self._fail(_ILLEGAL_ADDRESS if "out of bounds" in fault.message else _LAUNCH_FAILURE, fault.message)
        except CodeError as error:
            self._fail(_LAUNCH_FAILURE, error.message)

    def _fail(self, code: int, message: str) -> None:
        self._failed, self.message = code, message
        print(f"fake HIP: {message}", file=sys.stderr)
        raise HipError(code)

    def _stream(self, handle: int) -> _Stream:
        """A stream; 0 is the one that is always there."""
        if handle == 0:
            return _Stream()
        stream: _Stream = self._find(handle, _Stream)
        return stream

    def _make_stream(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._new(_Stream()), b""

    def _synchronise(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        if self._stream(numbers[0]).captured is not None:
            raise HipError(_CAPTURING)
        return 0, b""

    def _begin_capture(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        stream = self._find(numbers[0], _Stream)
        if stream.captured is not None:
            raise HipError(_CAPTURING)
        stream.captured = []
        return 0, b""

    def _end_capture(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        stream = self._find(numbers[0], _Stream)
        if stream.captured is None:
            raise HipError(_INVALID_VALUE)
        launches, stream.captured = tuple(stream.captured), None
        return self._new(_Graph(launches)), b""

    def _instantiate(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._new(_Executable(self._find(numbers[0], _Graph).launches)), b""

    def _replay(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        self._stream(numbers[1])
        for launch in self._find(numbers[0], _Executable).launches:
            self._run(launch)
        return 0, b""

    def _make_event(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        return self._new(_Event()), b""

    def _record(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        event = self._find(numbers[0], _Event)
        self._stream(numbers[1])
        event.time = time.monotonic_ns()
        return 0, b""

    def _wait_event(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        self._find(numbers[0], _Event)
        return 0, b""

    def _elapsed(self, numbers: tuple[int, ...], data: bytes) -> Answer:
        start, end = (self._find(handle, _Event).time for handle in numbers[:2])
        if start is None or end is None:
            raise HipError(_INVALID_HANDLE)
        return max(end - start, 0), b""


def _ending(kind: type[Any]) -> Callable[[Server, tuple[int, ...], bytes], Answer]:
    def end(server: Server, numbers: tuple[int, ...], data: bytes) -> Answer:
        server._find(numbers[0], kind)
        del server._objects[numbers[0]]
        return 0, b""

    return end


_CALLS: dict[int, Callable[[Server, tuple[int, ...], bytes], Answer]] = dict(
    enumerate(
        (
            Server._nothing,
            Server._count,
            Server._properties,
            Server._set_device,
            Server._allocate,
            Server._free,
            Server._upload,
            Server._download,
            Server._load,
            Server._unload,
            Server._function,
            Server._launch,
            Server._make_stream,
            _ending(_Stream),
            Server._synchronise,
            Server._begin_capture,
            Server._end_capture,
            Server._instantiate,
            Server._replay,
            _ending(_Executable),
            _ending(_Graph),
            Server._make_event,
            _ending(_Event),
            Server._record,
            Server._wait_event,
            Server._elapsed,
        ),
        start=1,
    )
)
"""By the numbers that the library gives them."""


def serve(server: Server, source: IO[bytes], target: IO[bytes]) -> None:
    """Answer until nobody asks any more."""
    while True:
        head = source.read(_REQUEST.size)
        if len(head) < _REQUEST.size:
            return
        call, *numbers, size = _REQUEST.unpack(head)
        code, value, back = server.answer(call, tuple(numbers), source.read(size))
        target.write(_ANSWER.pack(code, value, len(back)) + back)
        target.flush()


def main(arguments: list[str]) -> None:
    """`server ARCHITECTURE [LAUNCHES]`: answer on standard output what standard input asks."""
    architecture, *rest = arguments
    serve(Server(architecture, int(rest[0]) if rest else None), sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main(sys.argv[1:])
