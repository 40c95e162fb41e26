"""TensorRT-RTX: builds ahead of time for any of its architectures, and finishes kernels on the device."""

from __future__ import annotations

from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api
from deepseek_backend_tensorrt.vendor.failure import VendorError

__all__ = ["ApiRtx"]


class ApiRtx(Api):
    """It needs no GPU to build, and takes a list of compute capabilities."""

    generation = "rtx"
    ahead = True

    def set_architecture(self, config: Any, capability: tuple[int, int], present: tuple[int, int] | None) -> None:
        known = self.trt.ComputeCapability
        name = f"SM{capability[0]}{capability[1]}"
        if not hasattr(known, name):
            others = ", ".join(member for member in known.__members__ if member.startswith("SM"))
            raise VendorError(
                f"TensorRT-RTX {self.version} has no kernels for {name}",
                f"compile for one of {others}, or with TensorRT 8.6, 10 or 11 on a machine with that GPU",
                "device",
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(known, name), 0)

    def set_compatibility(self, config: Any, *, version: bool, hardware: bool) -> None:
        if hardware:
            raise VendorError(
                "TensorRT-RTX has no hardware-compatible engines", "compile once for each architecture", "toolchain"
            )
        super().set_compatibility(config, version=version, hardware=False)
