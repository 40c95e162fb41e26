"""What of TensorRT and of NVIDIA's hardware is here, as the child process found it. Asked once for each process."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_backend_tensorrt.child import INTERPRETER, shared
from deepseek_backend_tensorrt.devices import Architecture
from deepseek_core.errors import BackendError

__all__ = ["BUILDERS", "FIX", "Gpu", "Toolchain", "toolchain"]

BUILDERS = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx"}
"""Product → its name in `Artifact.toolchain`."""
FIX = "pip install tensorrt-rtx, or install NVIDIA TensorRT with its Python bindings"
_MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_bindings", "tensorrt_rtx_bindings")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device."""

    number: int
    name: str
    capability: tuple[int, int]
    memory: int


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What is here.

    Attributes:
        versions: product (`tensorrt`, `rtx`) → version.
        driver: newest CUDA the driver knows; None without a driver.
        gpus: the devices.
        problems: product or `driver` → why it is not here.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)

    def gpu(self, architecture: Architecture) -> Gpu | None:
        """The first device of an architecture."""
        return next((gpu for gpu in self.gpus if gpu.capability == architecture.capability), None)

    def builder(self, architecture: Architecture, wanted: str = "auto") -> str:
        """The product that builds for an architecture here.

        Raises:
            BackendError: none does.
        """
        able = [name for name in ("tensorrt", "rtx") if self._builds(name, architecture)]
        if wanted in able or (wanted == "auto" and able):
            return able[0] if wanted == "auto" else wanted
        what = "neither TensorRT nor TensorRT-RTX" if wanted == "auto" else BUILDERS[wanted]
        raise BackendError(f"{what} can build for {architecture.short} here: {self._lacking(architecture)}", fix=FIX)

    def _builds(self, product: str, architecture: Architecture) -> bool:
        if product not in self.versions:
            return False
        return architecture.ahead if product == "rtx" else self.gpu(architecture) is not None

    def _lacking(self, architecture: Architecture) -> str:
        reasons = []
        if "tensorrt" in self.versions:
            reasons.append(
                f"TensorRT {self.versions['tensorrt']} needs a GPU of {architecture.short}, which is not here"
            )
        if "rtx" in self.versions:
            reasons.append(f"TensorRT-RTX {self.versions['rtx']} does not build for {architecture.short}")
        return "; ".join(reasons) or "neither is installed"


@functools.cache
def toolchain() -> Toolchain:
    """Ask the child. Where nothing is installed, no process is started."""
    has_module = any(importlib.util.find_spec(name) for name in _MODULES)
    if not (os.environ.get(INTERPRETER) or has_module):
        return Toolchain(problems={"tensorrt": "not installed", "rtx": "not installed"})
    try:
        found, _ = shared().ask({"do": "probe"})
    except BackendError as error:
        return Toolchain(problems={"tensorrt": error.message, "rtx": error.message})
    gpus = tuple(
        Gpu(gpu["number"], gpu["name"], (gpu["capability"][0], gpu["capability"][1]), gpu["memory"])
        for gpu in found["devices"]
    )
    versions = {product: entry["version"] for product, entry in found["products"].items()}
    return Toolchain(versions, found["driver"], gpus, found["problems"])
