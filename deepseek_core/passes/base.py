"""Passes over the IR: each declares what it needs and what it guarantees, and both are checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel

__all__ = ["Pass", "run_passes"]


class Pass(ABC):
    """One change to a model, in place.

    Class attributes:
        requires: facts that must hold before (names given by other passes' `ensures`).
        ensures: facts that hold afterwards.
        breaks: facts that may no longer hold afterwards.
    """

    requires: frozenset[str] = frozenset()
    ensures: frozenset[str] = frozenset()
    breaks: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return type(self).__name__

    @abstractmethod
    def run(self, model: QuantizedModel) -> bool:
        """Change `model`; True when anything changed."""

    def check(self, model: QuantizedModel) -> str | None:
        """A sentence when the pass did not do what it ensures; None when it did."""
        return None


def run_passes(model: QuantizedModel, passes: Sequence[Pass], facts: frozenset[str] = frozenset()) -> frozenset[str]:
    """Run passes in order and check their conditions.

    Args:
        facts: what is known to hold before the first pass.

    Returns:
        The facts that hold afterwards.

    Raises:
        ModelError: a pass needs a fact that no earlier pass gave, or did not keep its word.
    """
    for step in passes:
        if missing := step.requires - facts:
            raise ModelError(
                f"pass {step.name} needs {', '.join(sorted(missing))}", fix="run the pass that ensures it first"
            )
        step.run(model)
        if (broken := step.check(model)) is not None:
            raise ModelError(f"pass {step.name} failed its own check: {broken}", fix="report the model that shows it")
        facts = (facts - step.breaks) | step.ensures
    return facts
