"""What of toolchain and device is on this machine: nothing is compiled or started."""

from __future__ import annotations

from deepseek_backend_arm import __version__
from deepseek_backend_arm.emulator import QEMU_FIX, find_qemu
from deepseek_backend_arm.targets import cpu_of
from deepseek_backend_arm.toolchain import FIX, installed, is_arm
from deepseek_backend_arm.tvm.presence import PACKAGE, tvm_version
from deepseek_core import Availability, Missing, Target, Tier

__all__ = ["device_name", "probe"]


def probe(target: Target) -> Availability:
    """Planning needs nothing; running needs a C compiler for ARM64, and QEMU where this is no ARM64 machine."""
    toolchain, native, tvm, missing = installed(), is_arm(), tvm_version(), []
    if toolchain is None:
        missing.append(Missing("a C compiler for ARM64", FIX))
    if not native and find_qemu() is None:
        missing.append(Missing("QEMU's user-mode emulator for ARM64", QEMU_FIX))
    words = "no C compiler" if toolchain is None else f"{toolchain.name} {toolchain.version}"
    return Availability(
        can_compile=True,
        can_run=not missing,
        missing=tuple(missing),
        detail=f"{words}, {'this machine' if native else 'QEMU'}{'' if tvm is None else f', TVM {tvm}'}",
        toolchain={"deepseek-backend-arm": __version__, **({} if tvm is None else {PACKAGE: tvm})},
        tier=Tier.DEVICE if native else Tier.EMULATED,
        devices=() if missing else (device_name(target),),
    )


def device_name(target: Target) -> str:
    """What runs the programs of a target here."""
    return "this ARM64 machine" if is_arm() else f"QEMU {cpu_of(target).emulated}"
