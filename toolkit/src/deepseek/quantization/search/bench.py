"""Run candidate recipes and score them, never the same work twice."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.run import start
from deepseek.quantization.search.budget import Score
from deepseek.quantization.search.fidelity import Fidelity
from deepseek.quantization.search.journal import Journal, digest_of, digest_of_samples
from deepseek.quantization.search.judge import Evaluate, Judge
from deepseek.quantization.steps import StepSpec
from deepseek.quantization.steps.hold_out import HoldOut, divide
from deepseek.quantization.work import Work
from deepseek_core import Feeds, QuantizedModel, Registry, discover
from deepseek_core.calibration import Calibration
from deepseek_core.options import Progress
from deepseek_core.quantize import apply_recipe

__all__ = ["Bench", "Scored"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its score.

    Attributes:
        seconds: of running and scoring it when that was first done.
    """

    recipe: QuantizationRecipe
    score: Score
    seconds: float


class Bench:
    """Candidates of one search. Works are remembered by the steps they share, scores by the journal.

    Args:
        model: float model, or a path to an ONNX file.
        samples: calibration feeds; a part that `hold_out` leaves out judges the candidates.
        recipe: where every candidate starts; its precision, targets and seed are those of all.
        evaluate: the user's measure.
        journal: of trial results.
    """

    def __init__(
        self,
        model: QuantizedModel | str | Path,
        samples: Collection[Feeds],
        recipe: QuantizationRecipe,
        *,
        evaluate: Evaluate | None = None,
        journal: Journal | None = None,
        registry: Registry | None = None,
        progress: Progress | None = None,
    ) -> None:
        registry = registry or discover()
        first = start(model, samples, recipe, registry=registry, progress=progress)
        hold_out = next((spec for spec in recipe.steps if spec.name == "hold_out"), StepSpec("hold_out"))
        step = hold_out.build()
        assert isinstance(step, HoldOut)
        _, held = divide(samples, step.share, step.at_most, recipe.seed)
        self.recipe = replace(recipe, steps=(hold_out, *(spec for spec in recipe.steps if spec.name != "hold_out")))
        self.judge = Judge(first.origin, held, evaluate, registry)
        self.journal = journal if journal is not None else Journal()
        self._first = first
        self._works: dict[str, Work] = {}
        self._calibrations: dict[str, Calibration | None] = {}
        self._subject = (first.origin.digest(), digest_of_samples(samples))

    @property
    def origin(self) -> QuantizedModel:
        """The prepared float model."""
        return self._first.origin

    def work(self, recipe: QuantizationRecipe) -> Work:
        """A recipe run, from the longest beginning that was run before, and calibrated.

        Statistics of a model do not depend on the calibrator that will read them, so recipes that differ in it share
        those of the model as it came.
        """
        work, steps = self._begun(recipe, len(recipe.steps)), digest_of(_steps(recipe, len(recipe.steps)))
        if work.calibration is None:
            if work.model is self._first.model:
                work = replace(work, calibration=self._calibrations.get(steps)).calibrated()
                self._calibrations[steps] = work.calibration
            work = work.calibrated()
            self._works[_name(recipe, len(recipe.steps))] = work
        return work

    def score(self, recipe: QuantizationRecipe) -> Scored:
        """How close a candidate is on the held-out samples."""
        key = self.key("fidelity", recipe.to_json())
        known = self.journal.get(key)
        if known is None:
            begin = time.perf_counter()
            found = self.judge.fidelity(self.work(recipe).quantized())
            known = _entry(found, time.perf_counter() - begin)
            self.journal.put(key, known)
        return Scored(recipe, Score(_fidelity(known)), float(known["seconds"]))

    def noise_without_weights(self, recipe: QuantizationRecipe) -> float:
        """What is left of a candidate's noise when its weights stay in float."""
        key = self.key("weights in float", recipe.to_json())
        if self.journal.get(key) is None:
            work = self.work(recipe)
            assert work.calibration is not None
            found = replace(work.recipe(), weights={}, biases=frozenset())
            self.journal.put(
                key, self.judge.fidelity(apply_recipe(work.model, found, work.calibration, work.calibrators)).noise
            )
        return float(self.journal.get(key))

    def value(self, recipe: QuantizationRecipe | None) -> float | None:
        """`evaluate` of a candidate, or of the float model for None."""
        if not self.judge.is_asked:
            return None
        key = self.key("evaluate", None if recipe is None else recipe.to_json())
        known = self.journal.get(key)
        if known is None:
            model = self.origin if recipe is None else self.work(recipe).quantized()
            known = self.judge.value(model)
            self.journal.put(key, known)
        return None if known is None else float(known)

    def key(self, kind: str, what: object) -> str:
        """The journal's key for something about this model and these samples."""
        return digest_of(kind, *self._subject, what)

    def forget(self, keep: QuantizationRecipe) -> None:
        """Drop works that do not lie on the way to a recipe."""
        lengths = range(len(keep.steps) + 1)
        way, steps = {_name(keep, n) for n in lengths}, {digest_of(_steps(keep, n)) for n in lengths}
        self._works = {name: work for name, work in self._works.items() if name in way}
        self._calibrations = {name: found for name, found in self._calibrations.items() if name in steps}

    def _begun(self, recipe: QuantizationRecipe, length: int) -> Work:
        """The work after the first `length` steps."""
        name = _name(recipe, length)
        if name not in self._works:
            if length == 0:
                self._works[name] = replace(self._first, calibrator=recipe.calibrator)
            else:
                before = self._begun(recipe, length - 1)
                self._works[name] = recipe.steps[length - 1].build()(before)
        return self._works[name]


def _steps(recipe: QuantizationRecipe, length: int) -> list[dict[str, Any]]:
    return [spec.to_json() for spec in recipe.steps[:length]]


def _name(recipe: QuantizationRecipe, length: int) -> str:
    return digest_of(recipe.calibrator.to_json(), _steps(recipe, length))


def _entry(found: Fidelity, seconds: float) -> dict[str, Any]:
    return {
        "noise": found.noise,
        "samples": list(found.samples),
        "agreement": found.agreement,
        "seconds": round(seconds, 3),
    }


def _fidelity(entry: dict[str, Any]) -> Fidelity:
    return Fidelity(float(entry["noise"]), tuple(map(float, entry["samples"])), float(entry["agreement"]))
