"""`auto`: try cheap things first, keep what helps, stop when the budget is met."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from deepseek.quantization.precision import Precision
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.bench import Bench, Scored
from deepseek.quantization.search.budget import Budget, Score
from deepseek.quantization.search.effort import Effort
from deepseek.quantization.search.journal import Journal, kept
from deepseek.quantization.search.judge import Evaluate
from deepseek.quantization.search.ladder import LADDER, Rung
from deepseek.quantization.search.lifting import lifts
from deepseek.quantization.search.mixing.mixer import Mixer
from deepseek.quantization.search.mixing.search import MixSearch
from deepseek.quantization.search.outcome import Outcome, Trial
from deepseek_core import Feeds, QuantizedModel, Registry
from deepseek_core.errors import ConfigError, DeepseekError
from deepseek_core.options import Progress

__all__ = ["auto"]


def auto(
    model: QuantizedModel | str | Path,
    samples: Collection[Feeds],
    budget: Budget | None = None,
    *,
    recipe: QuantizationRecipe | None = None,
    evaluate: Evaluate | None = None,
    resume: str | Path | None = None,
    ladder: Sequence[Rung] = LADDER,
    effort: Effort = Effort.STANDARD,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Find a recipe that meets an accuracy budget.

    Candidates are judged by the noise at the outputs on a part of `samples` that is held out from everything else; a
    candidate is kept when its noise is lower by more than chance explains. `evaluate` is asked about what was kept,
    and only while the budget needs it. When the whole ladder misses the budget, the units that cost most accuracy get
    a wider format, as long as most of the time that quantization saves is still saved. The precision `mixed` ends with
    the fastest mix of formats that keeps the budget.

    Args:
        model: float model, or a path to an ONNX file.
        samples: calibration feeds.
        budget: where to stop; without limits `effort` says where.
        recipe: where to start: precision, targets, seed, calibrator and steps to have in any case.
        evaluate: the user's measure of a model, higher is better.
        resume: folder for the results of finished trials, written as they come; what is there is not tried again.
        ladder: what to try, in order.
        effort: what is tried, and from which noise on no long work is. A budget that is not met has everything tried.

    Returns:
        The best found; `shortfall` says what of the budget it misses.

    Raises:
        ConfigError: `max_drop` without `evaluate`.
        Exception: what `evaluate` raises. Finished trials are kept, and a note says where.
    """
    budget = budget or Budget()
    if budget.max_drop is not None and evaluate is None:
        raise ConfigError("max_drop needs something to measure", fix="give evaluate=, or a budget on min_sqnr")
    journal = Journal(resume)
    with kept(journal):
        bench = Bench(
            model,
            samples,
            recipe or QuantizationRecipe(),
            evaluate=evaluate,
            journal=journal,
            registry=registry,
            progress=progress,
        )
        return _Climb(bench, budget, effort, progress).run(ladder)


class _Climb:
    """One search: the best so far, the one that `evaluate` likes most, and the account of how they were found."""

    def __init__(self, bench: Bench, budget: Budget, effort: Effort, progress: Progress | None) -> None:
        self._bench, self._budget, self._effort, self._progress = bench, budget, effort, progress
        self._trials: list[Trial] = []
        self._reference: float | None = None
        self._best: Scored
        self._most: Scored | None = None

    def run(self, ladder: Sequence[Rung]) -> Outcome:
        self._tell("plain", 0.0)
        asked = self._budget.max_drop is not None
        self._reference = self._bench.value(None) if asked else None
        self._best = self._valued(self._bench.score(self._bench.recipe))
        self._trials.append(Trial("plain", "as given", self._best.seconds, None, self._best.score, "start"))
        first = [rung for rung in ladder if self._effort.covers(rung.effort)]
        rest = [rung for rung in ladder if rung not in first] if self._budget.is_limited else []
        for number, rung in enumerate((*first, *rest)):
            if self._is_met:
                break
            self._tell(rung.name, (number + 1) / (len(ladder) + 2))
            self._try(rung)
        if self._best.recipe.precision is Precision.MIXED:
            return self._mixed()
        if self._budget.is_limited and not self._is_met:
            self._tell("wider formats", (len(ladder) + 1) / (len(ladder) + 2))
            self._lift()
        return self._outcome()

    def _mixed(self) -> Outcome:
        """The fastest mix of formats within the budget; without one, as accurate as 8 bits are."""
        best = self._best
        budget = self._budget if self._budget.is_limited else Budget(min_sqnr=best.score.fidelity.sqnr)
        found = MixSearch(self._bench, budget, Mixer(self._bench, best.recipe), best.recipe, self._progress).run()
        return replace(found, trials=(*self._trials, *found.trials))

    def _lift(self) -> None:
        """Wider formats for single units, until the budget is met."""
        for mix, recipe in lifts(self._bench, self._best, self._budget):
            before, scored = self._best, self._valued(self._bench.score(recipe))
            if is_better(scored.score, before.score):
                self._best = scored
            verdict = "kept" if self._best is scored else "dropped"
            self._trials.append(Trial("assign", mix.words, scored.seconds, before.score, scored.score, verdict))
            if self._is_met:
                break

    @property
    def _is_met(self) -> bool:
        return self._budget.is_limited and self._budget.shortfall(self._best.score, self._reference) is None

    def _try(self, rung: Rung) -> None:
        found: list[tuple[str, Scored]] = []
        futile = self._futile(rung)
        if futile is not None:
            self._trials.append(Trial(rung.name, "", 0.0, self._best.score, None, f"not tried: {futile}"))
            return
        for what, recipe in rung.variants(self._best.recipe):
            try:
                found.append((what, self._bench.score(recipe)))
            except DeepseekError as error:
                self._trials.append(Trial(rung.name, what, 0.0, self._best.score, None, f"not possible: {error}"))
        if not found:
            return
        before = self._best
        _, best = min(found, key=lambda entry: entry[1].score.fidelity.noise)
        if is_better(best.score, before.score, proven=rung.proven):
            self._best = self._valued(best)
            self._bench.forget(self._best.recipe)
        for what, scored in found:
            kept = scored.recipe == self._best.recipe
            score = self._best.score if kept else scored.score
            self._trials.append(
                Trial(rung.name, what, scored.seconds, before.score, score, "kept" if kept else "dropped")
            )

    def _futile(self, rung: Rung) -> str | None:
        """Why a rung cannot help enough, where that is known without trying it."""
        sqnr = self._best.score.fidelity.sqnr
        if rung.effort is not Effort.QUICK and sqnr >= self._effort.enough and not self._budget.is_limited:
            return f"{sqnr:.1f} dB are enough"
        if rung.of_noisy and sqnr >= self._effort.noisy:
            return f"{sqnr:.1f} dB are not that noisy"
        if rung.of_activations and not self._bench.work(self._best.recipe).recipe().activations:
            return "no activation is quantized"
        share = self._share_of_weights() if rung.of_weights and sqnr >= self._effort.noisy else 1.0
        return f"weights make {max(share, 0.0):.0%} of the noise" if share < self._effort.worthwhile else None

    def _share_of_weights(self) -> float:
        """How much of the noise would go if weights were exact."""
        noise = self._best.score.fidelity.noise
        return 1 - self._bench.noise_without_weights(self._best.recipe) / noise if noise > 0 else 0.0

    def _valued(self, scored: Scored) -> Scored:
        """With the user's measure, where the budget speaks about it."""
        if self._budget.max_drop is None:
            return scored
        valued = replace(scored, score=replace(scored.score, value=self._bench.value(scored.recipe)))
        if self._most is None or _value(valued) > _value(self._most):
            self._most = valued
        return valued

    def _outcome(self) -> Outcome:
        best = self._best if self._is_met else self._most or self._best
        shortfall = self._budget.shortfall(best.score, self._reference)
        work = self._bench.work(best.recipe)
        return Outcome(best.recipe, work, best.score, self._reference, shortfall, tuple(self._trials))

    def _tell(self, what: str, fraction: float) -> None:
        if self._progress is not None:
            self._progress(f"auto: {what}", fraction)


def _value(scored: Scored) -> float:
    value = scored.score.value
    return -math.inf if value is None or math.isnan(value) else value


def is_better(new: Score, old: Score, *, proven: bool = False) -> bool:
    """Whether less noise is more than chance: the mean of the samples' log ratios exceeds its standard error.

    Of what is proven to help in general, the mean need only be positive.
    """
    ours, theirs = new.fidelity, old.fidelity
    if not ours.noise < theirs.noise:
        return False
    pairs = [(a, b) for a, b in zip(ours.samples, theirs.samples, strict=True) if a > 0 and math.isfinite(a)]
    gains = [math.log(b / a) for a, b in pairs if b > 0 and math.isfinite(b)]
    if len(gains) < 2:
        return True
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
    return mean > (0.0 if proven else math.sqrt(variance / len(gains)))
