"""NVIDIA's architectures as targets: what they multiply with, and who builds engines for them."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core import Target
from deepseek_core.errors import TargetError

__all__ = ["AMPERE", "ARCHITECTURES", "Architecture", "architecture_of", "fits"]

AMPERE = "ampere"
"""Feature of a target whose engines run on every architecture from Ampere (8.0) on."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One compute capability.

    Attributes:
        major, minor: of the compute capability.
        board: whose figures stand for it in the roofline.
        macs: int8 multiply-accumulates per second of the board, dense, by its data sheet.
        bandwidth: bytes per second of its memory.
        float8: its matrix units take float8 (e4m3fn).
        int4: 4-bit weights are unpacked in its matrix kernels.
        ahead: TensorRT-RTX builds for it on a machine without a GPU.
    """

    major: int
    minor: int
    board: str
    macs: float
    bandwidth: float
    float8: bool = False
    int4: bool = True
    ahead: bool = False

    @property
    def capability(self) -> tuple[int, int]:
        return self.major, self.minor

    @property
    def short(self) -> str:
        """`SM89`, as TensorRT-RTX writes it."""
        return f"SM{self.major}{self.minor}"


ARCHITECTURES = {
    "sm_75": Architecture(7, 5, "T4", 65e12, 320e9, ahead=True),
    "sm_80": Architecture(8, 0, "A100", 312e12, 1555e9, ahead=True),
    "sm_86": Architecture(8, 6, "A10", 125e12, 600e9, ahead=True),
    "sm_87": Architecture(8, 7, "Orin", 42e12, 205e9),
    "sm_89": Architecture(8, 9, "L4", 121e12, 300e9, float8=True, ahead=True),
    "sm_90": Architecture(9, 0, "H100", 990e12, 3350e9, float8=True),
    "sm_100": Architecture(10, 0, "B200", 2250e12, 8000e9, float8=True),
    "sm_120": Architecture(12, 0, "RTX 5090", 419e12, 1792e9, float8=True, ahead=True),
}


def architecture_of(target: Target) -> Architecture:
    """The architecture of a target.

    Raises:
        TargetError: there is no such architecture, or a feature is asked for.
    """
    strangers = [feature for feature in target.features if feature != AMPERE]
    if strangers:
        raise TargetError(f"'{strangers[0]}' is no feature of {target.backend}", fix=f"use tensorrt:{target.device}")
    if target.device not in ARCHITECTURES:
        known = ", ".join(f"tensorrt:{name}" for name in ARCHITECTURES)
        raise TargetError(f"'{target.device}' is no architecture of TensorRT", fix=f"choose one of: {known}")
    return ARCHITECTURES[target.device]


def fits(target: Target, capability: tuple[int, int]) -> bool:
    """Whether a device of this compute capability runs what is compiled for a target."""
    own = architecture_of(target).capability
    return capability == own or (AMPERE in target.features and capability >= (8, 0) <= own)
