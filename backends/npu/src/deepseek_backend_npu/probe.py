"""What of the toolchain is on this machine: metadata only, nothing is imported."""

from __future__ import annotations

from deepseek_backend_npu.devices import device_name, device_of
from deepseek_backend_npu.versions import COMPILER_FIX, compiler_version
from deepseek_core import Availability, Missing, Target, Tier

__all__ = ["probe"]


def probe(target: Target) -> Availability:
    """The compiler, whose programs the emulator runs, for a variant."""
    device_of(target)
    compiler = compiler_version()
    missing = () if compiler is not None else (Missing("the Ethos-U compiler (Vela)", COMPILER_FIX),)
    return Availability(
        can_compile=compiler is not None,
        can_run=compiler is not None,
        missing=missing,
        detail=f"Vela {compiler or 'not installed'}, command-stream emulator",
        toolchain={} if compiler is None else {"ethos-u-vela": compiler},
        tier=Tier.EMULATED if compiler is not None else None,
        devices=(device_name(target.device, Tier.EMULATED),) if compiler is not None else (),
    )
