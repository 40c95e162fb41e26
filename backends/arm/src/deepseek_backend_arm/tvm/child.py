"""TVM's process as its parent sees it, and what it made, kept in the user's cache."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import struct
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import IO

from deepseek_backend_arm.tvm.compiled import Compiled
from deepseek_backend_arm.tvm.presence import tvm_version
from deepseek_core.errors import PackageError, StorageError
from deepseek_core.selection import atomic_write, cache_folder

__all__ = ["Child", "NotCompiledError", "compiled_for", "keep", "kept"]

_SOURCES = ("codegen.py", "compiled.py", "definition.py", "relaxed.py", "serial.py", "topk.py")
"""What shapes an answer, beside TVM."""
_LENGTH = struct.Struct("<I")
_LIMIT = 300.0
"""Seconds that a unit may take."""


class NotCompiledError(Exception):
    """TVM does not compile a unit; says why in one line."""


@functools.lru_cache(maxsize=1024)
def compiled_for(model: bytes) -> Compiled | str:
    """What TVM makes of a model of one node, or why it makes nothing; asked once, and kept when it worked."""
    key = hashlib.sha256(_context() + model).hexdigest()[:24]
    path = cache_folder() / "arm" / "tvm" / key
    found = kept(path)
    if found is None:
        try:
            found = _child().compile(f"ds_tvm_{key}", model)
        except NotCompiledError as refusal:
            return str(refusal)
        keep(path, found.encode())
    return found


@functools.cache
def _context() -> bytes:
    """What answers depend on beside the model."""
    folder = files("deepseek_backend_arm") / "tvm"
    texts = b"".join((folder / name).read_bytes() for name in _SOURCES)
    return hashlib.sha256(f"{tvm_version()} ".encode() + texts).digest()


def kept(path: Path) -> Compiled | None:
    """From the cache; a damaged file counts as none."""
    try:
        return Compiled.decode(path.read_bytes())
    except (OSError, PackageError):
        return None


def keep(path: Path, data: bytes) -> None:
    """Without a place to keep it, TVM is asked again next time."""
    with contextlib.suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)


class Child:
    """Starts with the first unit and ends with this process. Requests from several threads take turns."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def compile(self, prefix: str, model: bytes) -> Compiled:
        """What TVM makes of a model of one node.

        Raises:
            NotCompiledError: it makes nothing, or its process ended.
        """
        with self._lock:
            process = self._alive()
            watch = threading.Timer(_LIMIT, process.kill)
            watch.start()
            try:
                status, payload = self._ask(process, [prefix.encode(), model])
            except BaseException as error:  # an interrupt too: its answer would be taken for the next unit's
                self.close()
                if not isinstance(error, OSError):
                    raise
                raise NotCompiledError(f"TVM's process ended with exit code {process.returncode}") from None
            finally:
                watch.cancel()
        if status:
            raise NotCompiledError(f"TVM: {payload.decode(errors='replace')}")
        return Compiled.decode(payload)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # what was not sent goes nowhere
                    pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deepseek_backend_arm.tvm.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    @staticmethod
    def _ask(process: subprocess.Popen[bytes], parts: list[bytes]) -> tuple[int, bytes]:
        assert process.stdin is not None
        assert process.stdout is not None
        for part in parts:
            process.stdin.write(_LENGTH.pack(len(part)) + part)
        process.stdin.flush()
        (status,) = _taken(process.stdout, 1)
        (size,) = _LENGTH.unpack(_taken(process.stdout, _LENGTH.size))
        return status, _taken(process.stdout, size)


def _taken(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise OSError("the pipe ended")
    return data


@functools.cache
def _child() -> Child:
    child = Child()
    atexit.register(child.close)
    return child
