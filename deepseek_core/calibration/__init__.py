"""Calibration: stream data once into exactly mergeable statistics, then find ranges."""

from deepseek_core.calibration.activations import activation_qparams
from deepseek_core.calibration.base import Calibrator
from deepseek_core.calibration.collector import Observable, collect
from deepseek_core.calibration.methods import calibrator
from deepseek_core.calibration.result import Calibration
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.calibration.weights import weight_qparams

__all__ = [
    "Calibration",
    "Calibrator",
    "Observable",
    "TensorStats",
    "activation_qparams",
    "calibrator",
    "collect",
    "weight_qparams",
]
