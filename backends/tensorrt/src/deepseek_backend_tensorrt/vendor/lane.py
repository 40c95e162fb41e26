"""One context of an engine with its stream, its memory, and the graph of what it does over and over."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api
from deepseek_backend_tensorrt.vendor.arrays import DeviceArray
from deepseek_backend_tensorrt.vendor.cuda import Driver
from deepseek_backend_tensorrt.vendor.failure import VendorError
from deepseek_backend_tensorrt.vendor.tensors import Tensor

__all__ = ["Lane"]

_Shapes = Mapping[str, "tuple[int, ...]"]


class Lane:
    """Used by one thread at a time; memory grows with the shapes and is kept."""

    def __init__(self, driver: Driver, api: Api, context: Any, tensors: tuple[Tensor, ...], *, graphs: bool) -> None:
        self._driver, self._api, self._context = driver, api, context
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self._graphs = graphs
        self.no_graph = "" if graphs else "switched off"
        self._stream = driver.stream()
        self._done = driver.event()
        self._memory: dict[str, tuple[int, int, int]] = {}  # name → device address, pinned address, capacity
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._profile = 0
        self._prepared: tuple[int, tuple[tuple[str, tuple[int, ...]], ...]] | None = None
        self._graph = 0
        self._is_warm = False

    def prepare(self, profile: int, shapes: _Shapes) -> None:
        """Get ready for inputs of these shapes.

        Raises:
            DeviceMemoryError: the device has no room for them; the lane still serves what it served.
        """
        key = (profile, tuple(sorted((name, tuple(shape)) for name, shape in shapes.items())))
        if key == self._prepared:
            return
        self._forget_graph()
        found = self.shapes(profile, shapes)
        for name, shape in {**shapes, **found}.items():
            self._reserve(self._tensors[name], tuple(shape))
        self._bind()
        self._shapes = {name: tuple(shape) for name, shape in {**shapes, **found}.items()}
        self._prepared = key

    def shapes(self, profile: int, shapes: _Shapes) -> dict[str, tuple[int, ...]]:
        """Output shapes; the context has the inputs' afterwards."""
        self._prepared = None
        if profile != self._profile:
            if not self._context.set_optimization_profile_async(profile, self._stream):
                raise VendorError(f"TensorRT does not switch to profile {profile}", "compile the model again", "plan")
            self._profile = profile
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, tuple(shape)):
                raise VendorError(f"TensorRT refuses shape {tuple(shape)} of '{name}'", "feed another shape", "shape")
        outputs = [tensor.name for tensor in self._tensors.values() if not tensor.is_input]
        found = {name: tuple(self._context.get_tensor_shape(name)) for name in outputs}
        unknown = next((name for name, shape in found.items() if min(shape, default=0) < 0), None)
        if unknown is not None:
            raise VendorError(f"the shape of output '{unknown}' depends on values", "run it on another target", "shape")
        return found

    def run(self, feeds: Mapping[str, Any]) -> dict[str, tuple[bytearray, tuple[int, ...]]]:
        """Stage the feeds, run, and give copies of the outputs."""
        for name, buffer in feeds.items():
            self._stage(name, buffer)
        self._go(copies=True)
        self._driver.wait(self._stream)
        found = {}
        for name, tensor in self._tensors.items():
            if not tensor.is_input:
                size = tensor.size(self._shapes[name])
                result = bytearray(size)
                if size:
                    ctypes.memmove((ctypes.c_char * size).from_buffer(result), self._memory[name][1], size)
                found[name] = result, self._shapes[name]
        return found

    def enqueue_foreign(
        self, profile: int, inputs: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray], stream: int
    ) -> None:
        """Run from and into memory of the caller's, in order of the caller's stream."""
        self._forget_graph()
        found = self.shapes(profile, {name: array.shape for name, array in inputs.items()})
        for name, array in {**inputs, **outputs}.items():
            self._check(name, array, found.get(name, array.shape))
            self._context.set_tensor_address(name, array.pointer)
        self._driver.wait_for(stream, self._done)  # the context's scratch memory may still be in use
        if not self._context.execute_async_v3(stream):
            raise VendorError("TensorRT does not enqueue the run", "check the arrays", "device")
        self._driver.record(self._done, stream)

    def time(self, rounds: int, warm: int, *, copies: bool) -> dict[str, Any]:
        """Seconds of single runs, each between two events on the stream."""
        for _ in range(max(warm, 2)):
            self._go(copies=copies)
        self._driver.wait(self._stream)
        start, end = self._driver.event(), self._driver.event()
        taken = []
        for _ in range(rounds):
            self._driver.record(start, self._stream)
            self._go(copies=copies)
            self._driver.record(end, self._stream)
            self._driver.wait(self._stream)
            taken.append(self._driver.seconds_between(start, end))
        for event in (start, end):
            self._driver.release_event(event)
        self._forget_graph()  # it may have been captured without the copies
        return {"seconds": taken, "graph": not self.no_graph, "no_graph": self.no_graph}

    def profile(self, rounds: int) -> list[tuple[str, float]]:
        """Mean seconds by layer, as TensorRT reports them."""
        times: dict[str, list[float]] = {}

        class Profiler(self._api.trt.IProfiler):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.setdefault(layer_name, []).append(ms / 1000)

        self._forget_graph()
        self._enqueue(copies=False)
        self._driver.wait(self._stream)
        profiler = Profiler()
        self._context.profiler = profiler
        for _ in range(rounds):
            self._enqueue(copies=False)
            self._driver.wait(self._stream)
        self._context.profiler = None
        return [(name, sum(seconds) / len(seconds)) for name, seconds in times.items()]

    def close(self) -> None:
        self._driver.wait(self._stream)
        self._forget_graph()
        self._context = None
        for device, pinned, _ in self._memory.values():
            self._driver.release(device)
            self._driver.release_pinned(pinned)
        self._memory.clear()
        self._driver.release_event(self._done)
        self._driver.release_stream(self._stream)

    def _reserve(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        size = tensor.size(shape)
        known = self._memory.get(tensor.name)
        if known is not None and known[2] >= size:
            return
        device = self._driver.allocate(size, f"'{tensor.name}' {list(shape)}")
        pinned = self._driver.allocate_pinned(size)
        if known is not None:
            self._driver.release(known[0])
            self._driver.release_pinned(known[1])
        self._memory[tensor.name] = device, pinned, size

    def _bind(self) -> None:
        self._driver.wait_for(self._stream, self._done)  # a run on a caller's stream may not be done
        for name, (device, _, _) in self._memory.items():
            self._context.set_tensor_address(name, device)

    def _stage(self, name: str, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        size = self._tensors[name].size(self._shapes[name])
        if view.nbytes != size:
            raise VendorError(
                f"'{name}' has {view.nbytes:,} bytes, {size:,} are needed", "feed an array that fits", "shape"
            )
        if size:
            source = (ctypes.c_char * size).from_buffer_copy(view) if view.readonly else None
            source = (ctypes.c_char * size).from_buffer(view) if source is None else source
            ctypes.memmove(self._memory[name][1], source, size)

    def _go(self, *, copies: bool) -> None:
        """Launch the graph; the first two times with these shapes enqueue and capture it."""
        if self._graph:
            self._driver.launch(self._graph, self._stream)
        elif self._is_warm and not self.no_graph:
            self._capture(copies=copies)
        else:
            self._enqueue(copies=copies)
            self._is_warm = True

    def _capture(self, *, copies: bool) -> None:
        """Work that a graph cannot hold is enqueued as before; `no_graph` says why."""
        try:
            self._driver.begin_capture(self._stream)
            try:
                self._enqueue(copies=copies)
            finally:
                graph = self._driver.end_capture(self._stream)
        except VendorError as failure:
            self.no_graph = failure.message
            self._enqueue(copies=copies)
            return
        self._graph = graph
        self._driver.launch(graph, self._stream)

    def _enqueue(self, *, copies: bool) -> None:
        if copies:
            self._copy(inputs=True)
        if not self._context.execute_async_v3(self._stream):
            raise VendorError("TensorRT does not enqueue the run", "check the values that are fed", "device")
        if copies:
            self._copy(inputs=False)

    def _copy(self, *, inputs: bool) -> None:
        for name, tensor in self._tensors.items():
            size = tensor.size(self._shapes[name])
            if tensor.is_input is not inputs or not size:
                continue
            device, pinned, _ = self._memory[name]
            if inputs:
                self._driver.to_device(device, pinned, size, self._stream)
            else:
                self._driver.to_host(pinned, device, size, self._stream)

    def _check(self, name: str, array: DeviceArray, shape: tuple[int, ...]) -> None:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise VendorError(f"the engine has no '{name}'", f"use {', '.join(self._tensors)}", "shape")
        if array.dtype != tensor.dtype or tuple(array.shape) != tuple(shape):
            raise VendorError(
                f"'{name}' is {array.dtype} {list(array.shape)}; the engine has {tensor.dtype} {list(shape)}",
                "pass an array of that type and shape",
                "shape",
            )

    def _forget_graph(self) -> None:
        if self._graph:
            self._driver.release_graph(self._graph)
        self._graph, self._is_warm = 0, False
