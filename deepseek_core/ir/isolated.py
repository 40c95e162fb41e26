"""Native code that trusts its input, run where it can do no harm.

The shape inference and the version converter of onnx dereference what a hostile or damaged file leaves out, and can
loop for ever; no check in front of them is complete. A forked child makes the one call: what kills it there is an
error here. Where the system cannot fork safely (macOS, Windows), and for models that a program made itself, the call
is made in place.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable

__all__ = ["CrashError", "NativeError", "call"]

_SECONDS = 10.0
_BYTES_PER_SECOND = 1e5
"""Time that every call has, and what it has for its size: some hundred times what a sound model needs."""

_HEADER = struct.Struct("<Q")
_MEMORY = 4 << 30
"""Bytes of address space that a call may take on top of what the process has."""


class NativeError(Exception):
    """The call raised an exception; this has its message."""


class CrashError(Exception):
    """The call crashed, or did not end in time."""


def call(work: Callable[[bytes], bytes], data: bytes, *, isolate: bool) -> bytes:
    """`work(data)`.

    Args:
        isolate: make the call in a child process, where the system can fork.

    Raises:
        NativeError: `work` raised.
        CrashError: `work` crashed or did not end.
    """
    if not isolate or sys.platform != "linux":
        try:
            return work(data)
        except Exception as error:
            raise NativeError(str(error)) from error
    answer = _isolated(work, data)
    if not answer:
        raise CrashError("it crashes or hangs native code of onnx")
    if answer[:1] == b"-":
        raise NativeError(answer[1:].decode(errors="replace"))
    return answer[1:]


def _isolated(work: Callable[[bytes], bytes], data: bytes) -> bytes:
    """What the child answers; empty when it crashes or does not end."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # The child calls one native function and ends: other threads' locks do not matter to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(work, data, writer)
    os.close(writer)
    answer = b""
    try:
        answer = _read(reader, time.monotonic() + _SECONDS + len(data) / _BYTES_PER_SECOND)
    finally:
        os.close(reader)
        if not answer:
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
    return answer


def _child(work: Callable[[bytes], bytes], data: bytes, writer: int) -> None:
    """Make the call, send `+result` or `-reason`, and end without running anybody's clean-up."""
    try:
        gc.disable()
        faulthandler.disable()
        _limit()
        try:
            answer = b"+" + work(data)
        except Exception as error:
            answer = b"-" + (str(error) or type(error).__name__).encode(errors="replace")
        view = memoryview(_HEADER.pack(len(answer)) + answer)
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)


def _limit() -> None:
    """No core dump, and an end to what a call may allocate."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, hard))


def _read(reader: int, deadline: float) -> bytes:
    """The answer; empty when it does not come, or not in time."""
    ready = select.poll()
    ready.register(reader, select.POLLIN)
    received = bytearray()
    while (left := deadline - time.monotonic()) > 0 and ready.poll(1000 * left):
        part = os.read(reader, 1 << 20)
        received += part
        if len(received) >= _HEADER.size and len(received) - _HEADER.size == _HEADER.unpack_from(received)[0]:
            return bytes(received[_HEADER.size :])
        if not part:
            break
    return b""
