"""The Hexagon versions that the QNN SDK prepares graphs for."""

from __future__ import annotations

from deepseek_backend_npu.devices import look_up
from deepseek_core import Target

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
    return look_up(target, VARIANTS)


def device_name(device: str) -> str:
    """What runs a version here, in words."""
    return f"{device} (QNN's HTP simulation)"
