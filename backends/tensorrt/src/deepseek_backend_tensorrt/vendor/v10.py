"""TensorRT 10: strongly typed networks on request, and a parser that names the node it stumbled over."""

from __future__ import annotations

from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api, flag

__all__ = ["Api10"]


class Api10(Api):
    """10.0 still knows EXPLICIT_BATCH, and has no `device_memory_size_v2` yet."""

    generation = "10"

    def create_network(self, builder: Any) -> Any:
        flags = self.trt.NetworkDefinitionCreationFlag
        return builder.create_network(flag(flags, "EXPLICIT_BATCH", "STRONGLY_TYPED"))

    def device_memory(self, engine: Any) -> int:
        newer = getattr(engine, "device_memory_size_v2", None)
        return int(engine.device_memory_size if newer is None else newer)
