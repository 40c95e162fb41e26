"""Installed versions, from metadata only: nothing is imported."""

from __future__ import annotations

from importlib import metadata

__all__ = ["COMPILER_FIX", "REFERENCE_FIX", "compiler_version", "reference_version"]

COMPILER_FIX = "pip install ethos-u-vela==5.2.0"
REFERENCE_FIX = "pip install --no-deps tosa-tools==2026.8.0 (its own pins ask for numpy < 2.2)"


def compiler_version() -> str | None:
    """Version of Vela; None where there is none."""
    return _version("ethos-u-vela")


def reference_version() -> str | None:
    """Version of Arm's TOSA tools, with the reference model; None where there are none."""
    return _version("tosa-tools")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
