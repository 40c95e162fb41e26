"""The C sources of the runtime: the package's own, and those made from the kernels' arguments."""

from __future__ import annotations

import functools
from importlib.resources import files

from deepseek_backend_arm.plan.abi import header, table

__all__ = ["BARE", "FLAGS", "LIBRARY", "features", "march", "sources"]

FLAGS = ("-std=gnu11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra")
"""Contraction to fused operations would change roundings that the IR defines."""
LIBRARY = (
    *("convolution", "depthwise", "depthwise_dotprod", "elementwise", "gemm", "gemm_dotprod", "gemm_i8mm", "gemm_neon"),
    *("matmul", "loader", "model", "movement", "normalization", "pool", "pooling"),
    *("call", "linked"),
    *("cast", "control", "pairs", "real_function", "real_gemm", "real_gemm_half", "real_matrix", "real_pool"),
    *("recurrent", "rows"),
)
"""Files of the library, without their `.c`."""
BARE = ("bare", "bare_threads")
"""What images have instead of a C library, where the compiler's own is large."""
_FEATURES = {
    **dict.fromkeys(("depthwise_dotprod", "gemm_dotprod"), ("dotprod",)),
    "gemm_i8mm": ("dotprod", "i8mm"),
    "real_gemm_half": ("fp16",),
}


def features(name: str) -> tuple[str, ...]:
    """What of the instruction set a file needs beyond ARMv8-A; its functions run only where the CPU has it."""
    return _FEATURES.get(name, ())


def march(name: str) -> tuple[str, ...]:
    """The same as options of GCC."""
    return (f"-march={'+'.join(('armv8.2-a', *features(name)))}",) if features(name) else ()


@functools.cache
def sources() -> dict[str, str]:
    """Text by file name."""
    folder = files("deepseek_backend_arm") / "runtime"
    own = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith((".c", ".h"))}
    return {**dict(sorted(own.items())), "args.h": header(), "kernels.inc": table()}
