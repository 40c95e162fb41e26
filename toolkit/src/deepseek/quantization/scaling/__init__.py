"""Positive factors that move between layers without changing the float function, one for each channel."""

from deepseek.quantization.scaling.apply import rescale
from deepseek.quantization.scaling.freedom import freedom
from deepseek.quantization.scaling.groups import Group, groups
from deepseek.quantization.scaling.sweep import Freedom, Touch

__all__ = ["Freedom", "Group", "Touch", "freedom", "groups", "rescale"]
