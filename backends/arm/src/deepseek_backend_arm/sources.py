"""The C sources of the runtime: the package's own, and those made from the kernels' arguments."""

from __future__ import annotations

import functools
from importlib.resources import files

from deepseek_backend_arm.plan.abi import header, table

__all__ = ["FLAGS", "LIBRARY", "march", "sources"]

FLAGS = ("-std=gnu11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra")
"""Contraction to fused operations would change roundings that the IR defines."""
LIBRARY = (
    *("convolution", "depthwise", "elementwise", "gemm", "gemm_dotprod", "gemm_i8mm", "gemm_neon", "matmul"),
    *("loader", "model", "movement", "normalization", "pool", "pooling"),
)
"""Files of the library, without their `.c`."""
_MARCH = {"gemm_dotprod": ("-march=armv8.2-a+dotprod",), "gemm_i8mm": ("-march=armv8.2-a+dotprod+i8mm",)}


def march(name: str) -> tuple[str, ...]:
    """Instruction set of a file: those whose functions run only where the CPU has it name one."""
    return _MARCH.get(name, ())


@functools.cache
def sources() -> dict[str, str]:
    """Text by file name."""
    folder = files("deepseek_backend_arm") / "runtime"
    own = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith((".c", ".h"))}
    return {**dict(sorted(own.items())), "args.h": header(), "kernels.inc": table()}
