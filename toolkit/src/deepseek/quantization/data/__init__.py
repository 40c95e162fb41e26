"""Calibration data: in whatever form users have it, or made up where they have none."""

from deepseek.quantization.data.elements import Folder

__all__ = ["Folder"]
