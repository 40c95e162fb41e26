"""Passes over the IR, one a file."""

from deepseek_core.passes.base import Pass, run_passes
from deepseek_core.passes.prepare import prepare

__all__ = ["Pass", "prepare", "run_passes"]
