"""The CPUs this backend builds for, and what of each matters here."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core import Target
from deepseek_core.errors import TargetError

__all__ = ["CPUS", "GENERIC", "LEVELS", "TARGETS", "Cpu", "cpu_of"]

LEVELS = ("neon", "dotprod", "i8mm")
"""Instruction sets, each with those before it: what multiplies int8. Their position is `ds_level` in the runtime."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """A core, or an architecture that several have.

    Attributes:
        level: lowest instruction set that its machines have, a name in `LEVELS`.
        emulated: the CPU that QEMU emulates for it.
        macs: int8 multiply-accumulates in one cycle of one core, at best.
        clock: cycles in a second, of a typical board.
        cores: of a typical board.
        bandwidth: bytes per second of its memory.
    """

    level: str
    emulated: str
    macs: int
    clock: float
    cores: int = 4
    bandwidth: float = 4e9


GENERIC = "arm64"
CPUS = {
    "cortex-a72": Cpu("neon", "cortex-a72", 8, 1.5e9),
    "cortex-a53": Cpu("neon", "cortex-a53", 5, 1.2e9, bandwidth=2e9),
    "cortex-a76": Cpu("dotprod", "cortex-a76", 32, 2.4e9, bandwidth=8e9),
    "neoverse-n1": Cpu("dotprod", "neoverse-n1", 32, 2.6e9, bandwidth=2e10),
    "armv8.2-a": Cpu("dotprod", "cortex-a76", 32, 2e9),
    "armv8.6-a": Cpu("i8mm", "max", 64, 2e9),
    GENERIC: Cpu("neon", "cortex-a72", 8, 1.5e9),
}
"""By the device's name in a target. The two architectures are targets with the feature that sets them apart."""

_FEATURES = {"armv8.2-a": ("dotprod",), "armv8.6-a": ("i8mm",)}
TARGETS = tuple(Target("arm", name, _FEATURES.get(name, ())) for name in CPUS)


def cpu_of(target: Target) -> Cpu:
    """The CPU of a target.

    Raises:
        TargetError: there is none, or it has other features.
    """
    if target not in TARGETS:
        raise TargetError(f"the arm backend has no target '{target}'", fix=f"it has {', '.join(map(str, TARGETS))}")
    return CPUS[target.device]
