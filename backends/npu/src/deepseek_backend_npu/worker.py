"""Native code that may bring its process down, in a child process: Arm's TOSA model, and the weight decoder.

The child is started with the first request and answers until this process ends; when a request kills it, the caller
gets one error and the next request starts another. Requests and answers are messages of plain bytes:

    8 bytes      number of parts, little-endian
    8 bytes each sizes of the parts
    …            the parts
"""

from __future__ import annotations

import atexit
import contextlib
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from deepseek_core.errors import BackendError

__all__ = ["Worker", "call", "read_message", "write_message"]

_NUMBER = struct.Struct("<q")
_MOST_PARTS = 1 << 16


class Worker:
    """A child process that runs one of the modules `decoder_worker` and `reference_worker`."""

    def __init__(self, module: str) -> None:
        self._module = f"{__package__}.{module}"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, parts: Sequence[bytes]) -> list[bytes]:
        """Send a request and wait for its answer.

        Raises:
            BackendError: the child died over it, or reports an error.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                write_message(process.stdin, parts)
                answer = read_message(process.stdout)
            except (OSError, EOFError):
                self._drop()
                raise BackendError(
                    f"native code in {self._module} crashed on this artifact", fix="compile the model again"
                ) from None
        if answer[0] != b"ok":
            raise BackendError(" ".join(answer[-1].decode(errors="replace").split()), fix="compile the model again")
        return answer[1:]

    def close(self) -> None:
        """End the child; the next call starts another."""
        with self._lock:
            self._drop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._drop()
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        return self._process

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still buffered for the dead child
                    stream.close()


def write_message(stream: IO[bytes], parts: Sequence[bytes]) -> None:
    """Write one message and flush."""
    stream.write(b"".join(_NUMBER.pack(number) for number in (len(parts), *map(len, parts))))
    for part in parts:
        stream.write(part)
    stream.flush()


def read_message(stream: IO[bytes]) -> list[bytes]:
    """Read one message.

    Raises:
        EOFError: the stream ends.
    """
    (count,) = _NUMBER.unpack(_exactly(stream, _NUMBER.size))
    if not 0 < count <= _MOST_PARTS:
        raise EOFError("not a message")
    sizes = [_NUMBER.unpack(_exactly(stream, _NUMBER.size))[0] for _ in range(count)]
    return [_exactly(stream, size) for size in sizes]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("the stream ended")
    return data


_WORKERS: dict[str, Worker] = {}
_GUARD = threading.Lock()


def call(module: str, parts: Sequence[bytes]) -> list[bytes]:
    """Ask the process-wide child of a module; see `Worker.call`."""
    with _GUARD:
        if module not in _WORKERS:
            _WORKERS[module] = Worker(module)
            atexit.register(_WORKERS[module].close)
    return _WORKERS[module].call(parts)
