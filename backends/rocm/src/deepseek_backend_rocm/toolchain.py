"""The compiler of kernels: Triton, in one exact version. It is imported where something is compiled, never before."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from deepseek_core.errors import BackendError

__all__ = ["FIX", "TRITON", "installed", "require"]

TRITON = "3.7.1"
FIX = "pip install 'deepseek-backend-rocm[triton]'"


@cache
def installed() -> str | None:
    """Version of Triton that is here, without importing it; None when it is not."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def require() -> None:
    """Nothing, where kernels can be compiled.

    Raises:
        BackendError: Triton is not installed, or in another version than the one whose code was examined.
    """
    found = installed()
    if found is None:
        raise BackendError("Triton is not installed, which compiles kernels for AMD GPUs", fix=FIX)
    if found != TRITON:
        raise BackendError(f"Triton {found} is installed; kernels are compiled with {TRITON}", fix=FIX)
