"""TensorRT 8.6: explicit batch and precisions by flag; it still calibrates by itself."""

from __future__ import annotations

from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api, flag

__all__ = ["Api8"]


class Api8(Api):
    """Its parser reads opset 17 and nothing newer."""

    generation = "8.6"
    max_opset = 17
    typed = False

    def create_network(self, builder: Any) -> Any:
        return builder.create_network(flag(self.trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"))

    def set_precisions(self, config: Any, *, half: bool, int8: bool) -> None:
        if half:
            config.set_flag(self.trt.BuilderFlag.FP16)
        if int8:
            config.set_flag(self.trt.BuilderFlag.INT8)

    def set_calibrator(self, config: Any, source: Any) -> Any:
        calibrator = _calibrator(self.trt, source)
        config.int8_calibrator = calibrator
        return calibrator

    def parser_problem(self, error: Any) -> tuple[str, str]:
        return "", str(error.desc())

    def device_memory(self, engine: Any) -> int:
        return int(engine.device_memory_size)


def _calibrator(trt: Any, source: Any) -> Any:
    class Entropy(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)

        def get_batch_size(self) -> int:
            return int(source.batch)

        def get_batch(self, names: list[str]) -> list[int] | None:
            found: list[int] | None = source.next(names)
            return found

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: Any) -> None:
            source.keep(bytes(memoryview(cache)))

    return Entropy()
