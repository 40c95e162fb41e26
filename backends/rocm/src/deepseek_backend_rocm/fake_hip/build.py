"""Build the library, and tell what it needs to know."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

from deepseek_core.errors import BackendError

__all__ = ["build", "environment"]

NAME = "libamdhip64.so"


def build(folder: Path, compiler: str = "gcc") -> Path:
    """Compile the library into a folder; gives its path.

    Raises:
        BackendError: there is no C compiler, or it fails.
    """
    if shutil.which(compiler) is None:
        raise BackendError(f"there is no C compiler '{compiler}'", fix="apt-get install gcc libc6-dev")
    target = folder / NAME
    source = resources.files("deepseek_backend_rocm.fake_hip") / "fake_hip.c"
    with resources.as_file(source) as path:
        flags = ["-shared", "-fPIC", "-O1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{NAME}"]
        done = subprocess.run(
            [compiler, *flags, "-o", str(target), str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise BackendError(f"the fake HIP library does not compile: {done.stderr.strip()[:400]}", fix="report it")
    return target


def environment(architecture: str, *, lose_after: int | None = None) -> dict[str, str]:
    """Variables that programs which use the library need.

    Args:
        architecture: of the GPU that it pretends to have.
        lose_after: launches after which the GPU is lost, to see what becomes of it.
    """
    command = [sys.executable, "-m", "deepseek_backend_rocm.fake_hip.server", architecture]
    if lose_after is not None:
        command.append(str(lose_after))
    return {"DEEPSEEK_HIP_SERVER": f"exec {shlex.join(command)}"}
