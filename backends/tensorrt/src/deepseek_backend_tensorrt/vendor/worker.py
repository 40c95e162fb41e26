"""The child: does with TensorRT what its parent asks for, one message at a time, until its input ends."""

from __future__ import annotations

import os
import platform
import sys
from typing import IO, Any

from deepseek_backend_tensorrt.vendor import building, choose
from deepseek_backend_tensorrt.vendor.api import Api
from deepseek_backend_tensorrt.vendor.calibrating import calibrate
from deepseek_backend_tensorrt.vendor.cuda import LIBRARY, Driver
from deepseek_backend_tensorrt.vendor.execution import Engine
from deepseek_backend_tensorrt.vendor.failure import VendorError
from deepseek_backend_tensorrt.vendor.wire import receive, send

__all__ = ["Worker", "main", "serve"]

_Answer = tuple[Any, list[Any]]


class Worker:
    """State of the child: the module, the driver, and the engines that are open."""

    def __init__(self) -> None:
        self._apis: dict[str, Api] = {}
        self._driver: Driver | None = None
        self._engines: dict[int, Engine] = {}
        self._number = 0

    def answer(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        """What one request gives.

        Raises:
            VendorError: it cannot be done.
        """
        actions = {
            "probe": self._probe,
            "build": self._build,
            "calibrate": self._calibrate,
            "supports": self._supports,
            "open": self._open,
            "run": self._run,
            "time": self._time,
            "profile": self._profile,
            "close": self._close,
        }
        return actions[body["do"]](body, blobs)

    def _api(self, product: str) -> Api:
        if product not in self._apis:
            self._apis[product] = choose.load(product)
        return self._apis[product]

    def _cuda(self) -> Driver:
        if self._driver is None:
            self._driver = Driver(os.environ.get("DEEPSEEK_CUDA_LIBRARY", LIBRARY))
        return self._driver

    def _probe(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        """Versions and devices; what is missing is told and nothing raised."""
        found: dict[str, Any] = {"python": platform.python_version(), "products": {}, "problems": {}}
        for product in choose.MODULES:
            try:
                api = self._api(product)
                found["products"][product] = {"version": api.version, "generation": api.generation}
            except VendorError as failure:
                found["problems"][product] = failure.message
        try:
            found |= {"driver": self._cuda().version(), "devices": self._cuda().devices()}
        except VendorError as failure:
            found |= {"driver": None, "devices": [], "problems": {**found["problems"], "driver": failure.message}}
        return found, []

    def _build(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        plan, cache, report = building.build(
            self._api(body["product"]), blobs[0], body["request"], present=self._present(body), cache=blobs[1]
        )
        return report, [plan, cache]

    def _calibrate(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        self._present(body)
        ranges = calibrate(self._api(body["product"]), self._cuda(), blobs[0], body["feeds"], blobs[1:])
        return ranges, []

    def _supports(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        api = self._api(body["product"])
        return {op: building.supported(api, op) for op in body["ops"]}, []

    def _present(self, body: dict[str, Any]) -> tuple[int, int] | None:
        """Compute capability of the device that was chosen, now current; None where there is none."""
        try:
            devices = self._cuda().devices()
        except VendorError:
            return None
        number = body.get("device") or 0
        if number >= len(devices):
            return None
        self._cuda().use(number)
        major, minor = devices[number]["capability"]
        return major, minor

    def _open(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        options = {name: body[name] for name in ("lanes", "graphs") if name in body}
        engine = Engine(self._api(body["product"]), self._cuda(), body["device"], blobs[0], **options)
        self._number += 1
        self._engines[self._number] = engine
        tensors = [[t.name, t.dtype, list(t.shape), t.is_input] for t in engine.tensors]
        return {"engine": self._number, "tensors": tensors}, []

    def _run(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        feeds = dict(zip(body["shapes"], blobs, strict=True))
        results = self._engine(body).run(feeds, _shapes(body))
        shapes = [[name, list(shape)] for name, (_, shape) in results.items()]
        return shapes, [data for data, _ in results.values()]

    def _time(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        engine = self._engine(body)
        return engine.time(_shapes(body), rounds=body["rounds"], warm=body["warm"], copies=body["copies"]), []

    def _profile(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        return self._engine(body).profile(_shapes(body), body["rounds"]), []

    def _close(self, body: dict[str, Any], blobs: list[bytes]) -> _Answer:
        engine = self._engines.pop(body["engine"], None)
        if engine is not None:
            engine.close()
        return None, []

    def _engine(self, body: dict[str, Any]) -> Engine:
        if body["engine"] not in self._engines:
            raise VendorError("the executable is closed", "load the artifact again")
        return self._engines[body["engine"]]


def _shapes(body: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in body["shapes"].items()}


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the requests end."""
    worker = Worker()
    while True:
        try:
            body, blobs = receive(requests)
        except EOFError:
            return
        try:
            answer, data = worker.answer(body, blobs)
        except VendorError as failure:
            send(answers, {"failed": [failure.message, failure.fix, failure.kind]})
        except Exception as error:  # a bug, or TensorRT raising what it likes: the parent tells it with its type
            send(answers, {"failed": [f"{type(error).__name__}: {error}", "", "bug"]})
        else:
            send(answers, {"ok": answer}, data)


def main() -> None:
    """Serve over standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)
