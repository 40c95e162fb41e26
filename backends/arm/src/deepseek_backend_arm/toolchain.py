"""C compilers for ARM64 that are on this machine: Debian's cross compiler, Zig from PyPI, or the native one."""

from __future__ import annotations

import functools
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepseek_core.errors import BackendError

__all__ = ["FIX", "Toolchain", "find_toolchain", "is_arm"]

FIX = "apt-get install gcc-aarch64-linux-gnu (Debian, Ubuntu), or pip install ziglang (any system)"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler that makes static ARM64 programs.

    Attributes:
        name: `gcc` or `zig`.
        compile: the command that compiles C and links.
        archive: the command that makes static libraries.
        version: as the compiler says.
    """

    name: str
    compile: tuple[str, ...]
    archive: tuple[str, ...]
    version: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Options that only this compiler has."""
        # Scheduling before registers are assigned spills the accumulators of the matrix kernels. Distributions switch
        # checks on that images have no library for.
        if self.name == "gcc":
            return ("-fno-schedule-insns", "-fno-stack-protector", "-U_FORTIFY_SOURCE")
        return ("-fno-sanitize=undefined",)

    @property
    def has_bare_images(self) -> bool:
        """Whether images are linked with `runtime/bare.c` instead of the C library: glibc is large."""
        return self.name == "gcc"

    def instructions(self, features: Sequence[str]) -> tuple[str, ...]:
        """Options for a file that needs more than ARMv8-A."""
        if not features:
            return ()
        if self.name == "gcc":
            return ("+".join(("-march=armv8.2-a", *features)),)
        names = ("fullfp16" if name == "fp16" else name for name in features)  # as LLVM has them
        return ("+".join(("-mcpu=generic", *names)),)

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """Compile or link in a folder.

        Raises:
            BackendError: the compiler refused; carries the first line it said.
        """
        run_tool([*self.compile, *arguments], folder)


def run_tool(command: Sequence[str], folder: Path) -> None:
    """Run a tool of the toolchain in a folder.

    Raises:
        BackendError: it failed; carries the first lines it said.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[:400]
        raise BackendError(f"the ARM64 compiler failed: {said}", fix="report this; the generated C should compile")


def is_arm() -> bool:
    """Whether this machine runs ARM64 Linux programs itself."""
    return sys.platform.startswith("linux") and platform.machine().lower() in ("aarch64", "arm64")


def find_toolchain() -> Toolchain:
    """The best compiler here.

    Raises:
        BackendError: there is none; names both ways to get one.
    """
    found = _found()
    if found is None:
        raise BackendError("no C compiler for ARM64 is installed", fix=FIX)
    return found


def installed() -> Toolchain | None:
    """The best compiler here, None where there is none."""
    return _found()


@functools.cache
def _found() -> Toolchain | None:
    for prefix in ("aarch64-linux-gnu-", "") if is_arm() else ("aarch64-linux-gnu-",):
        gcc, ar = shutil.which(f"{prefix}gcc"), shutil.which(f"{prefix}ar")
        if gcc and ar and _has_libc(gcc):
            return Toolchain("gcc", (gcc,), (ar,), _said(gcc, "-dumpfullversion"))
    if importlib.util.find_spec("ziglang") is not None:
        zig = (sys.executable, "-m", "ziglang")
        target = ("cc", "-target", "aarch64-linux-musl")
        return Toolchain("zig", (*zig, *target), (*zig, "ar"), _said(*zig, "version"))
    return None


def _has_libc(gcc: str) -> bool:
    """Debian's compiler comes without the C library where recommended packages are left out."""
    return Path(_said(gcc, "-print-file-name=libc.a")).is_file()


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
