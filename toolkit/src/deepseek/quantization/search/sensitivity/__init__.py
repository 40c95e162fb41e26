"""How sensitive the outputs are to the rounding of each value and of each unit's constants."""

from deepseek.quantization.search.sensitivity.measure import measure, statistics
from deepseek.quantization.search.sensitivity.table import Sensitivity

__all__ = ["Sensitivity", "measure", "statistics"]
