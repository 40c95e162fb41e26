"""What `auto` tries, cheapest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.steps import STEPS, StepSpec
from deepseek_core import CalibratorSpec

__all__ = ["LADDER", "Rung", "with_step"]

ORDER = (
    "hold_out",
    "augment",
    "equalize",
    "smooth",
    "keep_float",
    "assign",
    "ranges",
    "round_to_nearest",
    "gptq",
    "learn_rounding",
    "correct_bias",
    "progressive",
)
"""Where a step belongs in a recipe: function-preserving ones first, choices of codes late, what mends errors last."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Variants of one idea; the best is kept when it is better than going without.

    Attributes:
        name: of the idea.
        steps: variants that add (or replace) a step.
        calibrators: variants that change the calibrator of every activation.
    """

    name: str
    steps: tuple[StepSpec, ...] = ()
    calibrators: tuple[CalibratorSpec, ...] = ()

    def variants(self, recipe: QuantizationRecipe) -> Iterator[tuple[str, QuantizationRecipe]]:
        """(variant in words, recipe) of each variant that differs from `recipe`; steps not installed are left out."""
        for spec in self.steps:
            if spec.name in STEPS and spec not in recipe.steps:
                yield _words(spec.options.items()), with_step(recipe, spec)
        for calibrator in self.calibrators:
            if calibrator != recipe.calibrator:
                yield (
                    _words((("method", calibrator.method), *calibrator.options)),
                    replace(recipe, calibrator=calibrator),
                )


LADDER: tuple[Rung, ...] = (
    Rung(
        "calibrator",
        calibrators=(
            CalibratorSpec("mse"),
            CalibratorSpec("minmax"),
            CalibratorSpec("percentile", (("percentile", 99.99),)),
            CalibratorSpec("entropy"),
        ),
    ),
    Rung("equalize", (StepSpec("equalize"),)),
    Rung("smooth", (StepSpec("smooth"),)),
    Rung("ranges", (StepSpec("ranges"),)),
    Rung("learn_rounding", (StepSpec("learn_rounding"),)),
    Rung("correct_bias", (StepSpec("correct_bias"),)),
)
"""Cheapest first."""


def with_step(recipe: QuantizationRecipe, spec: StepSpec) -> QuantizationRecipe:
    """The recipe with a step in its place (`ORDER`), instead of one of the same name."""
    others = [own for own in recipe.steps if own.name != spec.name]
    place = ORDER.index(spec.name) if spec.name in ORDER else len(ORDER)
    before = [own for own in others if own.name not in ORDER or ORDER.index(own.name) < place]
    after = others[len(before) :] if others[: len(before)] == before else [o for o in others if o not in before]
    return replace(recipe, steps=(*before, spec, *after))


def _words(options: object) -> str:
    return ", ".join(f"{key}={value}" for key, value in options) or "default"  # type: ignore[attr-defined]
