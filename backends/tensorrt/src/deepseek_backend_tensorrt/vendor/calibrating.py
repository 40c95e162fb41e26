"""TensorRT's own entropy calibration (`IInt8EntropyCalibrator2` of 8.6), as the ranges it finds."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api, make_log
from deepseek_backend_tensorrt.vendor.cuda import Driver
from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["calibrate"]


def calibrate(api: Api, driver: Driver, model: bytes, feeds: list[str], batches: list[bytes]) -> dict[str, float]:
    """Largest absolute value that each tensor keeps.

    Args:
        api: the adapter; only 8.6 has calibrators.
        model: float ONNX with fixed shapes.
        feeds: names of the inputs.
        batches: one blob of float32 for each input of each batch, batch after batch.

    Returns:
        Tensor name → 127 times the scale that TensorRT chose.
    """
    source = _Source(driver, feeds, batches)
    log = make_log(api.trt)
    builder = api.trt.Builder(log.logger)
    network = api.create_network(builder)
    parser = api.trt.OnnxParser(network, log.logger)
    if not parser.parse(model):
        raise VendorError(f"the parser: {parser.get_error(0).desc()}", "export the model with opset 17", "build")
    config = builder.create_builder_config()
    config.builder_optimization_level = 0
    api.set_precisions(config, half=False, int8=True)
    kept = api.set_calibrator(config, source)
    api.set_tactics(config, ["CUBLAS", "CUBLAS_LT", "CUDNN"])
    plan = builder.build_serialized_network(network, config)
    del kept
    source.close()
    if plan is None and not source.cache:
        raise VendorError(next(iter(log.errors()), "no calibration"), "check the samples", "build")
    return _ranges(source.cache.decode("ascii", "replace"))


def _ranges(cache: str) -> dict[str, float]:
    """`name: 3d9b5c2a` lines: the scale as the hexadecimal of a big-endian float32."""
    found = {}
    for line in cache.splitlines()[1:]:
        name, colon, digits = line.rpartition(": ")
        if colon:
            (scale,) = struct.unpack(">f", bytes.fromhex(digits))
            found[name] = 127.0 * scale
    return found


class _Source:
    """Batches on the device, one after the other."""

    def __init__(self, driver: Driver, feeds: list[str], batches: list[bytes]) -> None:
        self.batch = 1
        self.cache = b""
        self._driver, self._feeds = driver, feeds
        self._batches = iter([batches[i : i + len(feeds)] for i in range(0, len(batches), len(feeds))])
        self._memory: dict[str, int] = {}
        self._stream = driver.stream()

    def next(self, names: list[str]) -> list[Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        for name, data in zip(self._feeds, batch, strict=True):
            if name not in self._memory:
                self._memory[name] = self._driver.allocate(len(data), f"calibration input '{name}'")
            source = ctypes.create_string_buffer(data, len(data))
            self._driver.to_device(self._memory[name], ctypes.addressof(source), len(data), self._stream)
            self._driver.wait(self._stream)
        return [self._memory[name] for name in names]

    def keep(self, cache: bytes) -> None:
        self.cache = cache

    def close(self) -> None:
        for pointer in self._memory.values():
            self._driver.release(pointer)
        self._driver.release_stream(self._stream)
