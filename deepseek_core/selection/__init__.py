"""Choose among kernel candidates: measure them, remember the figures, find the cheapest assignment."""

from deepseek_core.atomic import atomic_write
from deepseek_core.selection.assign import Border, assign
from deepseek_core.selection.cache import TuningCache, cache_folder
from deepseek_core.selection.measure import measure
from deepseek_core.selection.signature import unit_signature

__all__ = ["Border", "TuningCache", "assign", "atomic_write", "cache_folder", "measure", "unit_signature"]
