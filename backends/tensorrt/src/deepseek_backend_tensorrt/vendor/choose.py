"""Which TensorRT is here, and the adapter for it."""

from __future__ import annotations

import importlib
from typing import Any

from deepseek_backend_tensorrt.vendor.api import Api
from deepseek_backend_tensorrt.vendor.failure import VendorError
from deepseek_backend_tensorrt.vendor.rtx import ApiRtx
from deepseek_backend_tensorrt.vendor.v8 import Api8
from deepseek_backend_tensorrt.vendor.v10 import Api10
from deepseek_backend_tensorrt.vendor.v11 import Api11

__all__ = ["GENERATIONS", "MODULES", "adapter", "load"]

GENERATIONS: dict[str, type[Api]] = {"8": Api8, "10": Api10, "11": Api11}
MODULES = {"tensorrt": ("tensorrt", "tensorrt_bindings"), "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""Product → Python modules that may hold it, in order."""


def adapter(trt: Any, *, rtx: bool = False) -> Api:
    """The adapter for a module.

    Raises:
        VendorError: it is of a generation that is not known.
    """
    if rtx:
        return ApiRtx(trt)
    major = str(trt.__version__).partition(".")[0]
    if major not in GENERATIONS:
        known = ", ".join(GENERATIONS)
        raise VendorError(
            f"TensorRT {trt.__version__} is not known here", f"install TensorRT {known} or TensorRT-RTX", "toolchain"
        )
    return GENERATIONS[major](trt)


def load(product: str) -> Api:
    """Import `tensorrt` or `rtx`. A broken installation may end the process: call it in a child first.

    Raises:
        VendorError: it is not installed, or its libraries do not load.
    """
    problems = []
    for name in MODULES[product]:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            problems.append(f"{name}: {error}")
            continue
        if hasattr(module, "Builder") or hasattr(module, "Runtime"):  # a folder of that name has neither
            return adapter(module, rtx=product == "rtx")
    raise VendorError(
        f"{product} cannot be imported ({'; '.join(problems) or 'a folder of that name is no TensorRT'})",
        "pip install tensorrt-rtx" if product == "rtx" else "install NVIDIA TensorRT with its Python bindings",
        "toolchain",
    )
