"""The parent's side of the child process that holds TensorRT.

A broken installation, or a bug in native code, ends the child and not this process; the next request starts another.
`DEEPSEEK_TENSORRT_PYTHON` names another interpreter to run it, for bindings that this one cannot import, such as those
of TensorRT 8.6.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek_backend_tensorrt.vendor.wire import receive, send
from deepseek_core.errors import BackendError

__all__ = ["INTERPRETER", "Child", "raised", "shared"]

INTERPRETER = "DEEPSEEK_TENSORRT_PYTHON"
_START = (
    "import sys, types; package = types.ModuleType('deepseek_backend_tensorrt'); package.__path__ = [sys.argv[1]]; "
    "sys.modules[package.__name__] = package; from deepseek_backend_tensorrt.vendor.worker import main; main()"
)
_TAIL = 5


class Child:
    """One child process, started with the first request."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self.generation = 0
        """How many processes there have been; handles of an earlier one are gone."""

    def ask(self, body: Mapping[str, Any], blobs: Sequence[Any] = ()) -> tuple[Any, list[bytes]]:
        """Send a request and wait for its answer.

        Raises:
            BackendError: it cannot be done, or the child died over it.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                send(process.stdin, dict(body), blobs)
                answer, data = receive(process.stdout)
            except (OSError, EOFError):
                raise self._death(str(body["do"])) from None
        if "failed" in answer:
            raise raised(*answer["failed"])
        return answer["ok"], data

    def close(self) -> None:
        """End the child; the next request starts another."""
        with self._lock:
            self._drop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._drop()
            self.generation += 1
            interpreter = self._environment.get(INTERPRETER) or os.environ.get(INTERPRETER) or sys.executable
            try:
                self._process = subprocess.Popen(
                    [interpreter, "-c", _START, str(Path(__file__).parent)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={"CUDA_MODULE_LOADING": "LAZY", **os.environ, **self._environment},
                )
            except OSError as error:
                raise BackendError(
                    f"'{interpreter}' cannot be started ({error})", fix=f"set {INTERPRETER} to a Python interpreter"
                ) from None
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
        return self._process

    def _listen(self, stream: Any) -> None:
        """Keep the last lines that libraries print: they are what is left of a process that dies."""
        with contextlib.suppress(ValueError, OSError):
            for line in stream:
                self._said.append(line.decode(errors="replace").strip())

    def _death(self, what: str) -> BackendError:
        process = self._process
        code = process.wait() if process is not None else None
        self._drop()
        last = f" after printing '{self._said[-1]}'" if self._said else ""
        return BackendError(
            f"TensorRT's process died over '{what}' (exit code {code}){last}",
            fix="check the installation of TensorRT and of the NVIDIA driver",
        )

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still buffered for the dead child
                    stream.close()


def raised(message: str, fix: str, kind: str) -> Exception:
    """A failure of the vendor layer as an error of the SDK; a bug stays one."""
    from deepseek_core.errors import FeedError, PackageError

    if kind == "bug":
        return RuntimeError(message)
    error = {"shape": FeedError, "plan": PackageError}.get(kind, BackendError)
    made: Exception = error(message, fix=fix or "see what TensorRT says")
    return made


_SHARED: list[Child] = []
_GUARD = threading.Lock()


def shared() -> Child:
    """The child of this process."""
    with _GUARD:
        if not _SHARED:
            _SHARED.append(Child())
            atexit.register(_SHARED[0].close)
    return _SHARED[0]
