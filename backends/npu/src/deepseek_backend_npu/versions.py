"""Installed versions, from metadata only: nothing is imported."""

from __future__ import annotations

import functools
import platform
import sys
from importlib import metadata

__all__ = [
    "COMPILER_FIX",
    "QNN_FIX",
    "REFERENCE_FIX",
    "compiler_version",
    "qnn_problem",
    "qnn_version",
    "reference_version",
]

COMPILER_FIX = "pip install ethos-u-vela==5.2.0"
REFERENCE_FIX = "pip install --no-deps tosa-tools==2026.8.0 (its own pins ask for numpy < 2.2)"
QNN_FIX = "pip install 'deepseek-backend-npu[qnn]' on Linux on x86-64 (Qualcomm's license applies)"
_SIMULATED = ("linux", "x86_64")


def compiler_version() -> str | None:
    """Version of Vela; None where there is none."""
    return _version("ethos-u-vela")


def reference_version() -> str | None:
    """Version of Arm's TOSA tools, with the reference model; None where there are none."""
    return _version("tosa-tools")


def qnn_version() -> str | None:
    """Version of Qualcomm's plugin for ONNX Runtime; None where there is none."""
    return _version("onnxruntime-qnn")


def qnn_problem() -> str | None:
    """Why the HTP is not simulated here; None where it is."""
    if qnn_version() is None or _version("onnxruntime") is None:
        return "Qualcomm's QNN plugin for ONNX Runtime is not installed"
    if (sys.platform, platform.machine()) != _SIMULATED:
        return f"QNN has no simulation for {platform.machine()} on {sys.platform}"
    return None


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
