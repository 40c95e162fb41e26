"""The Hexagon versions that the QNN SDK prepares graphs for."""

from __future__ import annotations

from deepseek_core import Target
from deepseek_core.errors import TargetError

__all__ = ["VARIANTS", "architecture", "device_name", "is_hexagon"]

VARIANTS: dict[str, int] = {f"hexagon-v{version}": version for version in (73, 68, 69, 75, 79, 81)}
"""Device part of a target → the `htp_arch` of QNN's options."""


def is_hexagon(target: Target) -> bool:
    """Whether a target of this backend is one of Qualcomm's; unknown devices are Arm's to refuse."""
    return target.device.startswith("hexagon-")


def architecture(target: Target) -> int:
    """The version of a target.

    Raises:
        TargetError: the version or a feature is unknown.
    """
    if target.device not in VARIANTS:
        raise TargetError(f"there is no NPU '{target.device}'", fix=f"choose one of {', '.join(VARIANTS)}")
    if target.features:
        raise TargetError(
            f"{target.device} has no feature '{target.features[0]}'", fix=f"use npu:{target.device}, without features"
        )
    return VARIANTS[target.device]


def device_name(device: str) -> str:
    """What runs a version here, in words."""
    return f"{device} (QNN's HTP simulation)"
