"""QEMU, where this machine is no ARM64 one."""

from __future__ import annotations

import shutil

__all__ = ["QEMU_FIX", "find_qemu"]

QEMU_FIX = "apt-get install qemu-user (Debian, Ubuntu), or run on an ARM64 machine"


def find_qemu() -> str | None:
    """Path of the user-mode emulator."""
    return shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
