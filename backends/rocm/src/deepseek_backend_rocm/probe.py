"""What of compiler, disassembler, runtime and GPU is on this machine; nothing is compiled."""

from __future__ import annotations

import functools

from deepseek_backend_rocm import __version__
from deepseek_backend_rocm.devices.base import DeviceError, emulated_name
from deepseek_backend_rocm.toolchain import FIX, TRITON, installed
from deepseek_core import Availability, Missing, Target, Tier

__all__ = ["probe"]


def probe(target: Target) -> Availability:
    """Compiling needs Triton; running an AMD GPU of the target with HIP, or the disassembler that emulates one."""
    from deepseek_backend_rocm.emulator.disassembly import FIX as DISASSEMBLER
    from deepseek_backend_rocm.emulator.disassembly import find_objdump

    missing = []
    if installed() != TRITON:
        missing.append(Missing(f"triton {TRITON}", FIX))
    present, why = gpus()
    names = tuple(name for name, architecture in present if architecture == target.device)
    objdump = find_objdump()
    if not names and objdump is None:
        missing.append(Missing("llvm-objdump with AMD GPUs, for the emulator", DISASSEMBLER))
    emulated = () if objdump is None else (emulated_name(target.device),)
    return Availability(
        can_compile=installed() == TRITON,
        can_run=bool(names or emulated),
        missing=tuple(missing),
        detail=f"{why}, {'no emulator' if objdump is None else 'emulator'}",
        toolchain={"deepseek-backend-rocm": __version__, "triton": TRITON},
        tier=Tier.DEVICE if names else Tier.EMULATED,
        devices=names[:1] or emulated,
    )


@functools.cache
def gpus() -> tuple[tuple[tuple[str, str], ...], str]:
    """Name and architecture of each AMD GPU that HIP finds, and a word about it."""
    from deepseek_backend_rocm.devices.hip import found_devices, hip_library

    try:
        present = tuple(found_devices(hip_library()))
    except DeviceError as error:
        return (), error.message
    return present, ", ".join(name for name, _ in present) or "HIP finds no AMD GPU"
