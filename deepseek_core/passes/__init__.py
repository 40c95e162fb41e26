"""Passes over the IR, one a file."""

from deepseek_core.passes.base import Pass, run_passes
from deepseek_core.passes.fold import COMPUTED_OTHERWISE
from deepseek_core.passes.prepare import prepare
from deepseek_core.passes.unroll import UnrollLimits

__all__ = ["COMPUTED_OTHERWISE", "Pass", "UnrollLimits", "prepare", "run_passes"]
