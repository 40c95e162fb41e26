"""The cheapest kernel of each instruction set for a product."""

from __future__ import annotations

from collections.abc import Mapping

from deepseek_backend_arm.selection.estimate import estimated
from deepseek_backend_arm.selection.product import WAYS, Product, Way
from deepseek_backend_arm.selection.timing import timed
from deepseek_core import Basis

__all__ = ["choose", "ranked"]

_ALIKE = 1.05


def choose(product: Product, wanted: str, threads: int = 1) -> Way:
    """The fastest kernel for each instruction set; the first on a tie.

    Args:
        product: what is multiplied.
        wanted: name of a kernel that is taken wherever it exists, or anything else.
        threads: that share the work, for measurements.
    """
    names = []
    for level, known in WAYS.items():
        if wanted in known:
            names.append(wanted)
        else:
            names.append(ranked(product, level, threads)[0][0])
    return Way.of(names)


def ranked(product: Product, level: str, threads: int = 1) -> tuple[list[str], Mapping[str, float], Basis]:
    """Kernels of an instruction set that may run a product, the best first; seconds of each, and where they come from.

    Estimates leave out fetching and caches, so that a few per cent say nothing: of those within `_ALIKE` of the
    fastest, the one of the fewest instructions is best.
    """
    names = [name for name in WAYS[level] if name != "fours" or product.tight > 0]
    measured = timed(product, level, names, threads)
    if measured:
        return sorted(names, key=lambda name: measured[name]), measured, Basis.MEASURED
    estimates = {name: estimated(product, name) for name in names}
    least = min(seconds for seconds, _ in estimates.values())

    def rank(name: str) -> tuple[bool, float]:
        seconds, instructions = estimates[name]
        return seconds > least * _ALIKE, instructions if seconds <= least * _ALIKE else seconds

    return sorted(names, key=rank), {name: seconds for name, (seconds, _) in estimates.items()}, Basis.ANALYTIC
