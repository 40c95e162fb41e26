"""Whether TVM is installed, told without importing it."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version

__all__ = ["EXTRA", "PACKAGE", "absence", "tvm_version"]

EXTRA = "pip install deepseek-backend-arm[tvm]"
PACKAGE = "apache-tvm"
_SERIES = "0.27."
"""TVM's passes change from one series to the next; this one was tested."""


@functools.cache
def tvm_version() -> str | None:
    """Version that is installed, None where there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def absence() -> str | None:
    """Why TVM compiles nothing here, with the remedy; None where it does."""
    found = tvm_version()
    if found is None:
        return f"TVM could compile it: {EXTRA}"
    return None if found.startswith(_SERIES) else f"TVM {found} is installed, and {_SERIES}x could compile it: {EXTRA}"
