"""Calibration: stream data once into exactly mergeable statistics, then find ranges."""

from deepseek_core.calibration.base import Calibrator

__all__ = ["Calibrator"]
