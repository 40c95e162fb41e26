"""Facts about this machine. Nothing here imports ONNX Runtime."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
from pathlib import Path

__all__ = ["FEATURES", "architecture", "cpu_name", "features", "runtime_version"]

FEATURES: dict[str, dict[str, str]] = {
    "x86_64": {
        "avx2": "avx2",
        "avx512bw": "avx512",
        "avx512_vnni": "avx512_vnni",
        "avx_vnni": "avx_vnni",
        "amx_int8": "amx_int8",
    },
    "aarch64": {"asimddp": "dotprod", "i8mm": "i8mm", "sve": "sve"},
}
"""Architecture → flag as Linux writes it → feature as targets write it; those that change which kernels run."""

_NAMES = {"AMD64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")


def architecture() -> str:
    """`x86_64`, `aarch64`, or the machine's own name for another one."""
    machine = platform.machine()
    return _NAMES.get(machine, machine)


@functools.cache
def features() -> tuple[str, ...]:
    """Kernel-changing features of this CPU, sorted; empty where the system does not list flags in /proc/cpuinfo."""
    flags = frozenset(f"{_cpuinfo('flags')} {_cpuinfo('Features')}".split())
    known = FEATURES.get(architecture(), {})
    return tuple(sorted(feature for flag, feature in known.items() if flag in flags))


def cpu_name() -> str:
    """The CPU's model name, or the architecture where the system does not tell."""
    return _cpuinfo("model name") or platform.processor() or architecture()


@functools.cache
def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next(
        (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == key), ""
    )


def runtime_version() -> str | None:
    """Version of the installed ONNX Runtime; None when there is none that could be imported."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:  # a folder of that name is no package
        return None
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
