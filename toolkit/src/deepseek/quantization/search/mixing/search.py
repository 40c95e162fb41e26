"""`mixed`: the fastest assignment of formats to units within an accuracy budget, verified by measurement."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.bench import Bench, Scored
from deepseek.quantization.search.budget import Budget
from deepseek.quantization.search.journal import Journal, kept
from deepseek.quantization.search.judge import Evaluate
from deepseek.quantization.search.mixing.mixer import Mix, Mixer
from deepseek.quantization.search.outcome import Outcome, Trial
from deepseek_core import Feeds, QuantizedModel, Registry
from deepseek_core.errors import ConfigError
from deepseek_core.options import Progress

__all__ = ["MixSearch", "mixed"]

_ATTEMPTS = 8
_CLOSE = 1.15
"""Ratio of a noise bound that fails to one that holds at which the search between them ends."""


def mixed(
    model: QuantizedModel | str | Path,
    samples: Collection[Feeds],
    budget: Budget | None = None,
    *,
    recipe: QuantizationRecipe | None = None,
    formats: Iterable[str] | None = None,
    evaluate: Evaluate | None = None,
    resume: str | Path | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Find the assignment of formats to units with the least predicted latency that keeps a budget.

    Noise is predicted from sensitivities that are measured once, latency from the targets' costs with the conversions
    where formats meet. Each assignment is then measured; the bound on predicted noise is moved until the measured
    result just keeps the budget. Without limits, the fastest assignment is the result, whatever its noise.

    Args:
        model: float model, or a path to an ONNX file.
        samples: calibration feeds; a part is held out to judge on.
        budget: what the result may lose.
        recipe: precision of units that no other format suits better, targets, seed, and steps to have in any case.
        formats: names to consider beside float32: `float16` and names of precisions; default: all on the targets.
        evaluate: the user's measure of a model, higher is better.
        resume: folder for sensitivities and results of finished trials.

    Raises:
        ConfigError: `max_drop` without `evaluate`.
        Exception: what `evaluate` raises. Finished trials are kept, and a note says where.
    """
    budget = budget or Budget()
    if budget.max_drop is not None and evaluate is None:
        raise ConfigError("max_drop needs something to measure", fix="give evaluate=, or a budget on min_sqnr")
    journal = Journal(resume)
    with kept(journal):
        start = recipe or QuantizationRecipe()
        bench = Bench(model, samples, start, evaluate=evaluate, journal=journal, registry=registry, progress=progress)
        return MixSearch(bench, budget, Mixer(bench, bench.recipe, formats), bench.recipe, progress).run()


class MixSearch:
    """Moves the bound on predicted noise between one that keeps the budget and one that does not.

    Args:
        recipe: what assignments are added to.
    """

    def __init__(
        self, bench: Bench, budget: Budget, mixer: Mixer, recipe: QuantizationRecipe, progress: Progress | None
    ) -> None:
        self._recipe = recipe
        self._bench, self._budget, self._mixer, self._progress = bench, budget, mixer, progress
        self._trials: list[Trial] = []
        self._reference = bench.value(None) if budget.max_drop is not None else None
        self._holds: tuple[float, Mix, Scored] | None = None
        self._fails: tuple[float, Mix, Scored] | None = None

    def run(self) -> Outcome:
        bound = self._first_bound()
        seen: set[str] = set()
        for attempt in range(_ATTEMPTS):
            if self._progress is not None:
                self._progress("mixed precision", attempt / _ATTEMPTS)
            mix = self._mixer.mix(bound)
            if mix.step.to_json().__repr__() in seen:
                break
            seen.add(mix.step.to_json().__repr__())
            holds = self._measure(bound, mix)
            if holds and mix.noise <= bound == math.inf:
                break
            following = self._next_bound(bound)
            if following is None:
                break
            bound = following
        return self._outcome()

    def _first_bound(self) -> float:
        if self._budget.min_sqnr is None:
            return math.inf
        return float(10 ** (-self._budget.min_sqnr / 10))

    def _measure(self, bound: float, mix: Mix) -> bool:
        recipe = replace(self._recipe, steps=(*self._recipe.steps, mix.step))
        scored = self._bench.score(recipe)
        if self._budget.max_drop is not None:
            scored = replace(scored, score=replace(scored.score, value=self._bench.value(recipe)))
        missed = self._budget.shortfall(scored.score, self._reference)
        self._trials.append(Trial("assign", mix.words, scored.seconds, None, scored.score, missed or "within budget"))
        entry = (bound, mix, scored)
        if missed is None:
            if self._holds is None or mix.seconds <= self._holds[1].seconds:
                self._holds = entry
        else:
            self._fails = entry
        return missed is None

    def _next_bound(self, bound: float) -> float | None:
        """Between what holds and what fails; None when they are close."""
        if self._holds is not None and self._fails is not None:
            low, high = self._holds[0], min(self._fails[0], self._fails[1].noise)
            return math.sqrt(low * high) if low > 0 and high / low > _CLOSE else None
        entry = self._holds or self._fails
        assert entry is not None
        _, mix, scored = entry
        wanted = self._first_bound()
        noise = scored.score.fidelity.noise
        if math.isfinite(wanted) and noise > 0:
            return mix.noise * min(wanted / noise, 16.0) * (0.95 if self._holds is None else 1.0)
        return min(bound, mix.noise) / 4 if self._holds is None else None

    def _outcome(self) -> Outcome:
        entry = self._holds or self._fails
        assert entry is not None
        _, _, scored = entry
        shortfall = self._budget.shortfall(scored.score, self._reference)
        work = self._bench.work(scored.recipe)
        return Outcome(scored.recipe, work, scored.score, self._reference, shortfall, tuple(self._trials))
