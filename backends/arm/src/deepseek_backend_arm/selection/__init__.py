"""Which of the matrix kernels multiplies a unit's codes: by estimate, or by what this machine measured."""

from deepseek_backend_arm.selection.choose import choose, ranked
from deepseek_backend_arm.selection.product import NAMES, WAYS, Product, Way

__all__ = ["NAMES", "WAYS", "Product", "Way", "choose", "ranked"]
