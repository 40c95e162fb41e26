"""What `auto` tries, in the order of what it usually buys for its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.effort import Effort
from deepseek.quantization.steps import STEPS, StepSpec
from deepseek_core import CalibratorSpec

__all__ = ["LADDER", "Rung", "with_step"]

ORDER = (
    "hold_out",
    "augment",
    "equalize",
    "smooth",
    "keep_float",
    "spare_outliers",
    "assign",
    "ranges",
    "fewer_samples",
    "round_to_nearest",
    "gptq",
    "learn_rounding",
    "correct_bias",
    "progressive",
)
"""Where a step belongs in a recipe: function-preserving ones first, choices of codes late, what mends errors last."""

_UNCHECKED = {"check": False}
"""Candidates are judged here; the step need not."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Variants of one idea; the best is kept when it is better than going without.

    Attributes:
        name: of the idea.
        steps: variants, each of steps to add (or to replace those of the same name).
        calibrators: variants that change the calibrator of every activation.
        of_weights: all it can remove is what weights contribute to the noise; not tried where that is little.
        of_activations: all it changes is how activations become codes; not tried where none does.
        of_noisy: it costs speed: not tried where the outputs have little noise.
        proven: it lowers the noise by design, so that it is kept unless it does not; others have to do so by more than
            chance explains, which few samples with rare large errors hardly ever show.
        effort: the least at which it is tried; with less, only when nothing else meets the budget.
    """

    name: str
    steps: tuple[tuple[StepSpec, ...], ...] = ()
    calibrators: tuple[CalibratorSpec, ...] = ()
    of_weights: bool = False
    of_activations: bool = False
    of_noisy: bool = False
    proven: bool = False
    effort: Effort = Effort.QUICK

    def variants(self, recipe: QuantizationRecipe) -> Iterator[tuple[str, QuantizationRecipe]]:
        """(variant in words, recipe) of each variant that differs from `recipe`; steps not installed are left out."""
        for specs in self.steps:
            if all(spec.name in STEPS for spec in specs) and not all(spec in recipe.steps for spec in specs):
                yield ", ".join(map(_named, specs)), reduce(with_step, specs, recipe)
        for calibrator in self.calibrators:
            if calibrator != recipe.calibrator:
                options = "".join(f" {key}={value}" for key, value in calibrator.options)
                yield f"{calibrator.method}{options}", replace(recipe, calibrator=calibrator)


LADDER: tuple[Rung, ...] = (
    Rung(
        "calibrator",
        calibrators=(CalibratorSpec("minmax"), CalibratorSpec("percentile", (("percentile", 99.99),))),
        of_activations=True,
    ),
    Rung(
        "calibrator",
        calibrators=(CalibratorSpec("mse"), CalibratorSpec("entropy")),
        of_activations=True,
        effort=Effort.THOROUGH,
    ),
    *(
        Rung("outliers", ((StepSpec("spare_outliers", {"least_sqnr": least}),),), of_activations=True, of_noisy=True)
        for least in (6.0, 12.0, 18.0)
    ),
    Rung("equalize", ((StepSpec("equalize", _UNCHECKED),),), effort=Effort.THOROUGH),
    Rung("smooth", ((StepSpec("smooth", _UNCHECKED),),), of_activations=True),
    Rung("ranges", ((StepSpec("ranges"),),), of_activations=True),
    Rung(
        "learn_rounding",
        ((StepSpec("fewer_samples"), StepSpec("learn_rounding")),),
        of_weights=True,
        proven=True,
        effort=Effort.STANDARD,
    ),
    Rung("correct_bias", ((StepSpec("correct_bias"),),), effort=Effort.THOROUGH),
)


def with_step(recipe: QuantizationRecipe, spec: StepSpec) -> QuantizationRecipe:
    """The recipe with a step in its place (`ORDER`), instead of one of the same name."""
    others = [own for own in recipe.steps if own.name != spec.name]
    later = ORDER[ORDER.index(spec.name) :] if spec.name in ORDER else ()
    place = next((i for i, own in enumerate(others) if own.name in later), len(others))
    return replace(recipe, steps=(*others[:place], spec, *others[place:]))


def _named(spec: StepSpec) -> str:
    return " ".join((spec.name, *(f"{key}={value}" for key, value in spec.options.items())))
