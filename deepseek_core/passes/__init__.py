"""Passes over the IR, one a file."""

from deepseek_core.passes.base import Pass, run_passes

__all__ = ["Pass", "run_passes"]
