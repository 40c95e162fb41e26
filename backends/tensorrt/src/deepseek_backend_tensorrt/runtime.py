"""An opened artifact: in this process where it can be, so that arrays on the device need no copy; else in the child."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import ml_dtypes  # noqa: F401  NumPy learns the types of codes
import numpy as np
from numpy.typing import NDArray

from deepseek_backend_tensorrt.child import INTERPRETER, Child, raised, shared
from deepseek_backend_tensorrt.container import FORMAT, Container
from deepseek_backend_tensorrt.devices import ARCHITECTURES, architecture_of, fits
from deepseek_backend_tensorrt.toolchain import BUILDERS, Gpu, Toolchain, toolchain
from deepseek_backend_tensorrt.vendor import choose
from deepseek_backend_tensorrt.vendor.arrays import device_array
from deepseek_backend_tensorrt.vendor.cuda import LIBRARY, Driver
from deepseek_backend_tensorrt.vendor.execution import Engine
from deepseek_backend_tensorrt.vendor.failure import VendorError
from deepseek_core import Artifact, Feeds, TensorInfo, Tier
from deepseek_core.errors import BackendError, FeedError, PackageError

__all__ = ["TensorRTExecutable", "load"]

_Arrays = dict[str, NDArray[Any]]
_Shapes = Mapping[str, tuple[int, ...]]
_WARM = 5


def load(artifact: Artifact, device: str | None) -> TensorRTExecutable:
    """Open an artifact on a device of its architecture.

    Raises:
        PackageError: it is none of ours, damaged, or for another architecture than its target.
        BackendError: the device, TensorRT in the version that built it, or the driver for it is not here.
    """
    if artifact.format != FORMAT or artifact.target.device not in ARCHITECTURES:
        found = f"format '{artifact.format}' for {artifact.target}"
        raise PackageError(f"the tensorrt backend does not run an artifact of {found}", fix="compile the model again")
    artifact.verify()
    container = Container.decode(artifact.payload)
    if container.device != artifact.target.device:
        raise PackageError(
            f"the engine is for {container.device}, not for {artifact.target.device}", fix="compile the model again"
        )
    here = toolchain()
    _check_versions(container, here)
    gpu = _device(artifact, device, here)
    runner: _Runner = _InChild(container, gpu) if os.environ.get(INTERPRETER) else _InProcess(container, gpu)
    return TensorRTExecutable(container, gpu.name, runner)


def _check_versions(container: Container, here: Toolchain) -> None:
    name = BUILDERS.get(container.product, container.product)
    version = here.versions.get(container.product)
    if version is None:
        why = here.problems.get(container.product, "not installed")
        raise BackendError(f"the engine needs {name} {container.version} ({why})", fix=f"install {name}")
    same = version == container.version
    later = container.version_compatible and _parts(version)[:1] == _parts(container.version)[:1]
    if not same and not (later and _parts(version) >= _parts(container.version)):
        raise BackendError(
            f"the engine was built with {name} {container.version}, and {version} is installed here",
            fix="compile the model again here, or with --set tensorrt.version_compatible=on",
        )
    if container.driver and here.driver and _parts(here.driver)[:1] < _parts(container.driver)[:1]:
        raise BackendError(
            f"the engine was built beside a driver for CUDA {container.driver}, the one here is for {here.driver}",
            fix="update the NVIDIA driver",
        )


def _device(artifact: Artifact, wanted: str | None, here: Toolchain) -> Gpu:
    architecture = architecture_of(artifact.target)
    fitting = [gpu for gpu in here.gpus if fits(artifact.target, gpu.capability)]
    chosen = [gpu for gpu in fitting if wanted in (None, gpu.name, str(gpu.number))]
    if chosen:
        return chosen[0]
    others = ", ".join(f"{gpu.name} ({gpu.capability[0]}.{gpu.capability[1]})" for gpu in here.gpus) or "no GPU"
    what = f"device '{wanted}'" if wanted and fitting else f"GPU of {architecture.short}"
    raise BackendError(
        f"there is no {what} here: {others}", fix=f"run it on {architecture.board}'s kind, or compile for the GPU here"
    )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


class _Runner(Protocol):
    """Where the engine is. `tensors` are (name, dtype, shape, is input)."""

    tensors: list[tuple[str, str, tuple[int, ...], bool]]

    def run(self, feeds: _Arrays) -> dict[str, tuple[Any, tuple[int, ...]]]: ...

    def time(self, shapes: _Shapes, rounds: int, *, copies: bool) -> dict[str, Any]: ...

    def close(self) -> None: ...


class _InProcess:
    def __init__(self, container: Container, gpu: Gpu) -> None:
        try:
            driver = Driver(os.environ.get("DEEPSEEK_CUDA_LIBRARY", LIBRARY))
            self.engine = Engine(choose.load(container.product), driver, gpu.number, container.engine, **container.run)
        except VendorError as failure:
            raise _converted(failure) from None
        self.tensors = [(t.name, t.dtype, t.shape, t.is_input) for t in self.engine.tensors]

    def run(self, feeds: _Arrays) -> dict[str, tuple[Any, tuple[int, ...]]]:
        try:
            return dict(self.engine.run(feeds, {name: array.shape for name, array in feeds.items()}))
        except VendorError as failure:
            raise _converted(failure) from None

    def time(self, shapes: _Shapes, rounds: int, *, copies: bool) -> dict[str, Any]:
        try:
            return self.engine.time(shapes, rounds=rounds, warm=_WARM, copies=copies)
        except VendorError as failure:
            raise _converted(failure) from None

    def close(self) -> None:
        self.engine.close()


class _InChild:
    def __init__(self, container: Container, gpu: Gpu) -> None:
        self._child: Child = shared()
        body = {"do": "open", "product": container.product, "device": gpu.number, **container.run}
        opened, _ = self._child.ask(body, [container.engine])
        self._number, self._generation = opened["engine"], self._child.generation
        self.tensors = [(name, dtype, tuple(shape), is_input) for name, dtype, shape, is_input in opened["tensors"]]

    def run(self, feeds: _Arrays) -> dict[str, tuple[Any, tuple[int, ...]]]:
        if self._generation != self._child.generation:
            raise BackendError("TensorRT's process died since the engine was opened", fix="load the artifact again")
        body = {"do": "run", "engine": self._number, "shapes": {name: list(a.shape) for name, a in feeds.items()}}
        shapes, blobs = self._child.ask(body, [array.reshape(-1).view(np.uint8).data for array in feeds.values()])
        return {name: (bytearray(blob), tuple(shape)) for (name, shape), blob in zip(shapes, blobs, strict=True)}

    def time(self, shapes: _Shapes, rounds: int, *, copies: bool) -> dict[str, Any]:
        listed = {name: list(shape) for name, shape in shapes.items()}
        body = {"do": "time", "engine": self._number, "shapes": listed, "rounds": rounds, "warm": _WARM}
        found, _ = self._child.ask({**body, "copies": copies})
        return dict(found)

    def close(self) -> None:
        if self._generation == self._child.generation:
            self._child.ask({"do": "close", "engine": self._number})


def _converted(failure: VendorError) -> Exception:
    return raised(failure.message, failure.fix, failure.kind)


class TensorRTExecutable:
    """A part on its device; several threads may run it, as many side by side as it has lanes."""

    tier = Tier.DEVICE

    def __init__(self, container: Container, device: str, runner: _Runner) -> None:
        self.device = device
        self.inputs: tuple[TensorInfo, ...] = container.inputs
        self.outputs: tuple[TensorInfo, ...] = container.outputs
        self._runner: _Runner | None = runner
        self._types = {name: dtype for name, dtype, _, _ in runner.tensors}

    def run(self, feeds: Feeds) -> _Arrays:
        """Outputs by name, copied through pinned memory.

        Raises:
            FeedError: a shape outside the engine's profiles.
            BackendError: the device has no memory left, the run fails, or the executable is closed.
        """
        results = self._open().run(
            {name: self._engine_array(name, feeds[name]) for name in self._types if name in feeds}
        )
        found = {}
        for info in self.outputs:
            data, shape = results[info.name]
            array = np.frombuffer(data, np.dtype(self._types[info.name])).reshape(shape)
            found[info.name] = array if info.dtype == str(array.dtype) else array.astype(np.dtype(info.dtype))
        return found

    def run_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None, stream: int = 0
    ) -> dict[str, Any]:
        """Enqueue on a stream of the caller's, from and into arrays on the device, without a copy.

        Args:
            inputs: arrays of torch, CuPy, JAX or anything with `__cuda_array_interface__` or `__dlpack__`.
            outputs: arrays to write into, one for each output.
            stream: a CUDA stream's handle; 0 is the default stream.

        Returns:
            The outputs that were given. They are complete when the stream has come so far.

        Raises:
            FeedError: an array that does not fit, or lies in host memory.
            BackendError: TensorRT runs in a child process here, or outputs are missing.
        """
        runner = self._open()
        if not isinstance(runner, _InProcess):
            raise BackendError(f"{INTERPRETER} keeps TensorRT in a process of its own", fix="use `run`")
        given = dict(outputs or {})
        missing = [info.name for info in self.outputs if info.name not in given]
        if missing:
            raise BackendError(f"no array to write output '{missing[0]}' into", fix="give one for each output")
        try:
            given_, taken = ({name: device_array(array) for name, array in side.items()} for side in (given, inputs))
            runner.engine.run_on_device(taken, given_, stream)
        except VendorError as failure:
            raise _converted(failure) from None
        return given

    def device_shapes(self, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for these of the inputs, to make room for them.

        Raises:
            FeedError: a shape outside the engine's profiles.
        """
        runner = self._open()
        if not isinstance(runner, _InProcess):
            raise BackendError(f"{INTERPRETER} keeps TensorRT in a process of its own", fix="use `run`")
        try:
            return runner.engine.output_shapes(inputs)
        except VendorError as failure:
            raise _converted(failure) from None

    def time(self, shapes: _Shapes, *, rounds: int = 100, copies: bool = False) -> list[float]:
        """Seconds of each of `rounds` runs with inputs of these shapes, by the device's own clock.

        Args:
            shapes: input name → dimensions.
            rounds: runs that are timed, behind a few that are not.
            copies: whether the copies from and to the host count.
        """
        return [float(seconds) for seconds in self._open().time(shapes, rounds, copies=copies)["seconds"]]

    def close(self) -> None:
        """Release the engine; calling twice is harmless."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _open(self) -> _Runner:
        if self._runner is None:
            raise BackendError("the executable is closed", fix="load the artifact again")
        return self._runner

    def _engine_array(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The array as the engine takes it: TensorRT 8.6 has int32 where the model has int64."""
        wanted = np.dtype(self._types[name])
        if array.dtype != wanted:
            converted = array.astype(wanted)
            if not np.array_equal(converted.astype(array.dtype), array):
                raise FeedError(f"'{name}' has values that {wanted} does not hold", fix="feed smaller values")
            array = converted
        return np.ascontiguousarray(array)
