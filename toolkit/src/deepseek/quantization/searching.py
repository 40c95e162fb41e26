"""The work done: by a recipe as it stands, or by the search for one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.quantization.execution import Runner
from deepseek.quantization.precision import Precision
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.report import Attempt
from deepseek.quantization.run import run, start
from deepseek.quantization.search.auto import auto
from deepseek.quantization.search.budget import Budget, Score
from deepseek.quantization.search.effort import Effort
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.search.ladder import LADDER
from deepseek.quantization.search.mixing import mixed
from deepseek.quantization.search.outcome import Outcome, Trial
from deepseek.quantization.work import Work
from deepseek_core import CalibratorSpec, Feeds, QuantizedModel, Registry
from deepseek_core.errors import DeepseekError
from deepseek_core.options import Progress
from deepseek_core.selection import cache_folder

__all__ = ["MIXED", "Evaluate", "Found", "by_recipe", "by_search", "judged"]

MIXED = Budget(min_sqnr=25.0)
"""Noise of 1/18 of the signal's amplitude at the outputs."""

_RANGES = "ranges"
"""The step that chooses a calibrator for each tensor."""

Evaluate = Callable[[Any], float]
"""The user's measure of a model, which it gets as a function from feeds to outputs by name; higher is better."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Finished work.

    Attributes:
        recipe: that reproduces it.
        attempts: what the search tried.
        reference, value: what `evaluate` says of the float and of the quantized model; None without one.
        shortfall: what of the budget is missed, in words; None when it is met.
    """

    work: Work
    recipe: QuantizationRecipe
    attempts: tuple[Attempt, ...] = ()
    reference: float | None = None
    value: float | None = None
    shortfall: str | None = None


def by_search(
    model: QuantizedModel,
    samples: Collection[Feeds],
    recipe: QuantizationRecipe,
    budget: Budget,
    *,
    fixed_method: bool,
    effort: Effort,
    evaluate: Evaluate | None,
    resume: str | Path | None,
    registry: Registry,
    progress: Progress,
) -> Found:
    """Search for a recipe, beginning with `recipe`: `search.mixed` for mixed precision, else `search.auto`.

    Args:
        budget: mixed precision without one is given `MIXED`, as the fastest mix would be the noisiest.
        fixed_method: ranges are found by the recipe's calibrator, and by no other; otherwise the search begins with
            the cheapest.
        effort: of `search.auto`.
    """
    if recipe.precision is Precision.MIXED:
        limits = budget if budget.is_limited else MIXED
        return _found(
            mixed(
                model,
                samples,
                limits,
                recipe=recipe,
                evaluate=evaluate,
                resume=resume,
                registry=registry,
                progress=progress,
            )
        )
    recipe = recipe if fixed_method else replace(recipe, calibrator=CalibratorSpec("minmax"))
    ladder = [rung for rung in LADDER if not (fixed_method and (rung.calibrators or rung.name == _RANGES))]
    found = auto(
        model,
        samples,
        budget,
        recipe=recipe,
        evaluate=evaluate,
        resume=resume,
        ladder=ladder,
        effort=effort,
        registry=registry,
        progress=progress,
    )
    return _found(found)


def by_recipe(
    model: QuantizedModel,
    samples: Collection[Feeds],
    recipe: QuantizationRecipe,
    *,
    registry: Registry,
    progress: Progress,
) -> Found:
    """Run a recipe as it stands."""
    work = start(model, samples, recipe, registry=registry, progress=progress)
    return Found(run(work, recipe).calibrated(), recipe)


def judged(found: Found, model: QuantizedModel, budget: Budget, evaluate: Evaluate | None) -> Found:
    """The work with what the search did not need to ask: the user's measure, and what of the budget is missed.

    Args:
        model: that came out of the work.
    """
    if found.attempts and found.value is not None:
        return found
    work, reference, value = found.work, None, None
    if evaluate is not None:
        with _kept(found):
            reference, value = (_value_of(m, evaluate, work.registry) for m in (work.origin, model))
    shortfall = found.shortfall
    if not found.attempts and budget.is_limited:
        score = Score(Judge(work.origin, work.samples, None, work.registry).fidelity(model), value)
        shortfall = budget.shortfall(score, reference)
    return replace(found, reference=reference, value=value, shortfall=shortfall)


@contextlib.contextmanager
def _kept(found: Found) -> Iterator[None]:
    """Whatever ends the measurement early, the recipe that was found stays, and the exception says where."""
    try:
        yield
    except BaseException as error:
        if found.attempts:
            path = cache_folder() / "interrupted-search" / "recipe.json"
            with contextlib.suppress(DeepseekError, OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                found.recipe.save(path)
                error.add_note(f"the recipe that was found is kept: continue with recipe='{path}'")
        raise


def _value_of(model: QuantizedModel, evaluate: Evaluate, registry: Registry) -> float:
    """What `evaluate` says of a model; what it raises goes through."""
    with Runner(model, registry=registry) as runner:
        return float(evaluate(runner))


def _found(outcome: Outcome) -> Found:
    attempts = tuple(map(_attempt, outcome.trials))
    return Found(outcome.work, outcome.recipe, attempts, outcome.reference, outcome.score.value, outcome.shortfall)


def _attempt(trial: Trial) -> Attempt:
    sqnr = (_sqnr(trial.before), _sqnr(trial.after))
    return Attempt(
        trial.step, trial.what, trial.seconds, sqnr, (_value(trial.before), _value(trial.after)), trial.verdict
    )


def _sqnr(score: Score | None) -> float | None:
    return None if score is None else score.fidelity.sqnr


def _value(score: Score | None) -> float | None:
    return None if score is None else score.value
