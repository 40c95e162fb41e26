"""The runtime as a shared library in this process: for ARM64 machines, and for the portable build that tests use."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.container import Container
from deepseek_backend_arm.server import STATUS
from deepseek_core.errors import BackendError

__all__ = ["Library", "library_for"]

_OK = 0


class Library:
    """Programs loaded through `ds_load`. Runs take turns: a program has one arena."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.ds_bytes.restype = ctypes.c_void_p
        self._library.ds_bytes.argtypes = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)
        for name in ("ds_execute", "ds_unload"):
            getattr(self._library, name).argtypes = (ctypes.c_void_p,)
        self._lock = threading.Lock()
        self._loaded: dict[int, tuple[Container, ctypes.c_void_p]] = {}

    def load(self, container: Container) -> int:
        """Load a program; gives its slot.

        Raises:
            BackendError: the runtime refuses it.
        """
        loaded = ctypes.c_void_p()
        status = self._library.ds_load(ctypes.byref(loaded), container.sizes, container.body)
        if status != _OK:
            raise BackendError(f"the ARM runtime refuses the program (status {status})", fix="compile the model again")
        with self._lock:
            slot = max(self._loaded, default=-1) + 1
            self._loaded[slot] = (container, loaded)
        return slot

    def run(self, slot: int, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs of a loaded program, from its inputs in order."""
        with self._lock:
            container, loaded = self._loaded[slot]
            for place, array in zip(container.inputs, feeds, strict=True):
                ctypes.memmove(self._library.ds_bytes(loaded, place.place, place.bytes), array.tobytes(), place.bytes)
            status = self._library.ds_execute(loaded)
            if status != _OK:
                raise BackendError(f"the ARM runtime refuses: {STATUS[status]}", fix="feed other inputs")
            return [
                np.frombuffer(
                    bytearray(ctypes.string_at(self._library.ds_bytes(loaded, place.place, place.bytes), place.bytes)),
                    place.dtype,
                ).reshape(place.shape)
                for place in container.outputs
            ]

    @property
    def level(self) -> int:
        """Best instruction set of this CPU, as a position in `targets.LEVELS`."""
        return int(self._library.ds_cpu())

    def execute(self, slot: int) -> None:
        """Run a loaded program on what lies in its inputs."""
        with self._lock:
            self._library.ds_execute(self._loaded[slot][1])

    def free(self, slot: int) -> None:
        """Forget a program."""
        with self._lock:
            _, loaded = self._loaded.pop(slot)
            self._library.ds_unload(loaded)


@functools.cache
def library_for(folder: Path) -> Library:
    """The shared library in a folder of the built runtime."""
    return Library(folder / "libds.so")
