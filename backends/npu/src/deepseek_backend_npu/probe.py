"""What of the toolchain is on this machine: metadata only, nothing is imported."""

from __future__ import annotations

from deepseek_backend_npu.devices import device_name, device_of
from deepseek_backend_npu.versions import COMPILER_FIX, REFERENCE_FIX, compiler_version, reference_version
from deepseek_core import Availability, Missing, Target, Tier

__all__ = ["probe"]


def probe(target: Target) -> Availability:
    """The compiler, and the emulator or Arm's model, for a variant."""
    device = device_of(target)
    compiler, reference = compiler_version(), reference_version()
    missing = []
    if compiler is None:
        missing.append(Missing("the Ethos-U compiler (Vela)", COMPILER_FIX))
    tier = Tier.EMULATED if device.emulated else Tier.REFERENCE
    can_run = compiler is not None if device.emulated else reference is not None
    if not device.emulated and reference is None:
        missing.append(Missing("Arm's TOSA reference model", REFERENCE_FIX))
    detail = f"Vela {compiler or 'not installed'}, " + (
        "command-stream emulator" if device.emulated else f"TOSA reference model {reference or 'not installed'}"
    )
    return Availability(
        can_compile=compiler is not None,
        can_run=can_run,
        missing=tuple(missing),
        detail=detail,
        toolchain={} if compiler is None else {"ethos-u-vela": compiler},
        tier=tier if can_run else None,
        devices=(device_name(target.device, tier),) if can_run else (),
    )
