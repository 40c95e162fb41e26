"""Run an engine: lanes with a context, a stream and memory of their own, so that several runs go side by side."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api, make_log
from deepseek_backend_tensorrt.vendor.arrays import DeviceArray
from deepseek_backend_tensorrt.vendor.cuda import Driver
from deepseek_backend_tensorrt.vendor.failure import DeviceMemoryError, VendorError
from deepseek_backend_tensorrt.vendor.lane import Lane
from deepseek_backend_tensorrt.vendor.tensors import Tensor, check_shapes, tensors_of

__all__ = ["Engine"]

Shapes = Mapping[str, "tuple[int, ...]"]


class Engine:
    """A deserialised engine on one device.

    Args:
        api: the adapter.
        driver: the CUDA driver.
        device: which device, by number.
        plan: the engine's bytes.
        lanes: runs that may go side by side; each holds the engine's scratch memory once more.
        graphs: launch captured graphs instead of single kernels where the shapes repeat.

    Raises:
        VendorError: TensorRT does not take the bytes (`plan`), or the device is too small (`memory`).
    """

    def __init__(
        self, api: Api, driver: Driver, device: int, plan: bytes, *, lanes: int = 2, graphs: bool = True
    ) -> None:
        self.api, self.driver, self.device = api, driver, device
        driver.use(device)
        self._log = make_log(api.trt)
        self._runtime = api.runtime(self._log)
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._refused(len(plan))
        self.tensors: tuple[Tensor, ...] = tensors_of(self._engine)
        self._graphs, self._most = graphs, max(1, lanes)
        self._free: queue.LifoQueue[Lane] = queue.LifoQueue()
        self._lanes: list[Lane] = []
        self._guard = threading.Lock()
        self._open = True
        self._free.put(self._new_lane())

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self.tensors if tensor.is_input)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor in self.tensors if not tensor.is_input)

    def run(self, feeds: Mapping[str, Any], shapes: Shapes) -> dict[str, tuple[bytearray, tuple[int, ...]]]:
        """Bytes in, bytes out, through pinned memory.

        Args:
            feeds: input name → contiguous buffer in the engine's element type.
            shapes: input name → dimensions.

        Raises:
            VendorError: a shape outside every profile (`shape`), no memory for it (`memory`), or a run that fails.
        """
        profile = check_shapes(self._engine, self.inputs, shapes)
        lane = self._lane()
        try:
            lane.prepare(profile, shapes)
            return lane.run(feeds)
        finally:
            self._free.put(lane)

    def run_on_device(self, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray], stream: int) -> None:
        """Enqueue on a stream of the caller's, from and into the caller's memory; nothing is copied or waited for.

        Raises:
            VendorError: a shape or type that does not fit, or TensorRT does not enqueue.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        profile = check_shapes(self._engine, self.inputs, shapes)
        lane = self._lane()
        try:
            lane.enqueue_foreign(profile, inputs, outputs, stream)
        finally:
            self._free.put(lane)

    def output_shapes(self, shapes: Shapes) -> dict[str, tuple[int, ...]]:
        """Dimensions of the outputs for these of the inputs."""
        profile = check_shapes(self._engine, self.inputs, shapes)
        lane = self._lane()
        try:
            return lane.shapes(profile, shapes)
        finally:
            self._free.put(lane)

    def time(self, shapes: Shapes, *, rounds: int, warm: int, copies: bool) -> dict[str, Any]:
        """Seconds of each of `rounds` runs by the device's own clock; `copies` includes them."""
        profile = check_shapes(self._engine, self.inputs, shapes)
        lane = self._lane()
        try:
            lane.prepare(profile, shapes)
            return lane.time(rounds, warm, copies=copies)
        finally:
            self._free.put(lane)

    def profile(self, shapes: Shapes, rounds: int) -> list[tuple[str, float]]:
        """Mean seconds of each layer, measured one by one."""
        profile = check_shapes(self._engine, self.inputs, shapes)
        lane = self._lane()
        try:
            lane.prepare(profile, shapes)
            return lane.profile(rounds)
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Wait for what runs and release everything; calling twice is harmless."""
        with self._guard:
            if not self._open:
                return
            self._open = False
        self.driver.use(self.device)
        for _ in self._lanes:
            self._free.get().close()
        self._lanes.clear()
        self._engine = self._runtime = None

    def _lane(self) -> Lane:
        """A free lane, a new one while there may be more, or the next that becomes free."""
        if not self._open:
            raise VendorError("the executable is closed", "load the artifact again")
        self.driver.use(self.device)
        try:
            return self._free.get_nowait()
        except queue.Empty:
            pass
        with self._guard:
            if len(self._lanes) < self._most:
                try:
                    return self._new_lane()
                except DeviceMemoryError:  # one lane less: runs wait for each other
                    self._most = len(self._lanes)
        return self._free.get()

    def _new_lane(self) -> Lane:
        need, left = self.api.device_memory(self._engine), self.driver.free_memory()
        if need > left:
            raise DeviceMemoryError(need, left, "a context of the engine")
        context = self._engine.create_execution_context()
        if context is None:
            raise VendorError(self._reason("TensorRT makes no context"), "close other sessions", "memory")
        lane = Lane(self.driver, self.api, context, self.tensors, graphs=self._graphs)
        self._lanes.append(lane)
        return lane

    def _refused(self, size: int) -> VendorError:
        left = self.driver.free_memory()
        if size > left:
            return DeviceMemoryError(size, left, "the engine's weights")
        return VendorError(self._reason("TensorRT refuses the engine"), "compile the model again here", "plan")

    def _reason(self, what: str) -> str:
        errors = self._log.errors()
        return f"{what}: {errors[0]}" if errors else what
