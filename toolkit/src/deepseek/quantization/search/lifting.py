"""The last resort of `auto`: give the units that cost most accuracy a wider format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deepseek.quantization.precision import Precision
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.bench import Bench, Scored
from deepseek.quantization.search.budget import Budget
from deepseek.quantization.search.formats import FLOAT16, FLOAT32
from deepseek.quantization.search.mixing.mixer import Mix, Mixer

__all__ = ["lifts"]

_ATTEMPTS = 5

_SHARE = 1 / 3
"""How much of the predicted time that quantization saves may be given back."""

_MARGIN = 0.9

_PER_CHANGE = 0.03
"""Price of a unit that changes, as a share of the time that everything takes unchanged."""


def lifts(bench: Bench, best: Scored, budget: Budget) -> Iterator[tuple[Mix, QuantizationRecipe]]:
    """Assignments with ever less predicted noise, as long as most of what quantization saves is still saved.

    Each is the fastest of its noise, but for a small price on every unit that changes. An assignment is a recipe's
    last step, so that codes which were chosen for other units stay.

    Args:
        best: what misses the budget.
    """
    plain = str(Precision.INT8 if best.recipe.precision is Precision.MIXED else best.recipe.precision)
    mixer = Mixer(bench, best.recipe, (plain, FLOAT16, Precision.W8A16))
    units = {name: {form.name for form in own} for name, own in mixer.menu.units.items()}
    all_plain = {name: plain if plain in own else FLOAT32 for name, own in units.items()}
    problem = mixer.problem
    quick, slow = problem.seconds(all_plain), problem.seconds(dict.fromkeys(units, FLOAT32))
    bound = problem.noise(all_plain) * min(0.8, _wanted(budget, best))
    for _ in range(_ATTEMPTS):
        mix = mixer.mix(bound, favourite=plain, price=_PER_CHANGE * quick)
        if mix.seconds > quick + _SHARE * max(slow - quick, 0.0):
            return
        if mix.assignment != all_plain:
            yield mix, replace(best.recipe, steps=(*best.recipe.steps, mix.step))
        bound = min(bound, mix.noise) / 2


def _wanted(budget: Budget, best: Scored) -> float:
    """The noise that the budget allows over the noise there is; 1 where it does not say."""
    noise = best.score.fidelity.noise
    if budget.min_sqnr is None or not noise > 0:
        return 1.0
    return _MARGIN * float(10 ** (-budget.min_sqnr / 10)) / noise
