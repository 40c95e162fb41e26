"""The runtime in a process of its own, under QEMU or natively: one for each CPU, whatever number of programs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import struct
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.container import Container
from deepseek_core.errors import BackendError

__all__ = ["STATUS", "Server", "server_for"]

_LOAD, _RUN, _FREE = 1, 2, 3
_SLOTS = 4096
_FAILED = 4
STATUS = {
    1: "the program names kernels that the runtime does not have",
    2: "there is not enough memory for the program",
    3: "the CPU lacks an instruction set that the program needs",
    4: "the inputs lead to a branch that their shapes rule out",
}


class Server:
    """Programs loaded into one process. Calls from several threads take turns.

    Args:
        command: starts the process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: dict[int, Container] = {}
        self._free = set(range(_SLOTS))

    def load(self, container: Container) -> int:
        """Load a program; gives its slot.

        Raises:
            BackendError: the runtime refuses it, or as many as can be are loaded.
        """
        with self._lock:
            if not self._free:
                raise BackendError(f"{_SLOTS:,} programs are open", fix="close some of them")
            slot = min(self._free)
            self._send_program(slot, container)
            self._free.remove(slot)
            self._loaded[slot] = container
            return slot

    def run(self, slot: int, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs of a loaded program, from its inputs in order.

        Raises:
            BackendError: the process died; the next call starts another one.
        """
        with self._lock:
            container = self._loaded[slot]
            self._alive()
            message = [struct.pack("<4i", _RUN, slot, len(container.inputs), len(container.outputs))]
            for place, array in zip(container.inputs, feeds, strict=True):
                message += [struct.pack("<2i", place.place, place.bytes), array.tobytes()]
            message += [struct.pack("<2i", place.place, place.bytes) for place in container.outputs]
            self._ask(message)
            return [
                np.frombuffer(bytearray(self._take(place.bytes)), place.dtype).reshape(place.shape)
                for place in container.outputs
            ]

    def free(self, slot: int) -> None:
        """Forget a program."""
        with self._lock:
            if self._loaded.pop(slot, None) is not None:
                self._free.add(slot)
                if self._process is not None:
                    self._ask([struct.pack("<2i", _FREE, slot)])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process is not None:
                for pipe in self._pipes():
                    with contextlib.suppress(OSError):  # what was not sent goes nowhere
                        pipe.close()
                self._process.kill()
                self._process.wait()
                self._process = None

    def _alive(self) -> None:
        """Start the process where there is none, with everything that is loaded."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            for slot, container in self._loaded.items():
                self._send_program(slot, container)

    def _send_program(self, slot: int, container: Container) -> None:
        self._alive()
        self._ask([struct.pack("<2i", _LOAD, slot), container.sizes, container.body])

    def _ask(self, message: Sequence[bytes]) -> None:
        """Send a request and read its status."""
        try:
            pipe = self._pipes()[0]
            pipe.writelines(message)
            pipe.flush()
        except OSError:
            raise self._dead() from None
        (status,) = struct.unpack("<i", self._take(4))
        if status:
            fix = "feed other inputs" if status == _FAILED else "compile the model again"
            said = STATUS.get(status, f"status {status}")
            raise BackendError(f"the ARM runtime refuses: {said}", fix=fix)

    def _take(self, size: int) -> bytes:
        data = self._pipes()[1].read(size)
        if len(data) != size:
            raise self._dead()
        return data

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _dead(self) -> BackendError:
        code = self._process.wait(5) if self._process is not None else None
        self.close()
        return BackendError(f"the ARM runtime ended unexpectedly (exit code {code})", fix="compile the model again")


@functools.cache
def server_for(command: tuple[str, ...]) -> Server:
    """The process that a command starts, shared by everything that runs on it."""
    server = Server(command)
    atexit.register(server.close)
    return server
