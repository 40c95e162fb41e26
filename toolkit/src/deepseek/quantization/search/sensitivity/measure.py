"""Measure sensitivities: disturb one value at a time with the error that its rounding makes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek.quantization.search.fidelity import fidelity, float_outputs
from deepseek.quantization.search.formats import Menu
from deepseek.quantization.search.sensitivity.noise import Disturbed
from deepseek.quantization.search.sensitivity.rounding import Rounding, roundings, twins
from deepseek.quantization.search.sensitivity.table import Sensitivity
from deepseek.quantization.search.sensitivity.tallies import Source, Tallies
from deepseek.quantization.work import Work
from deepseek_core import Feeds, Recipe
from deepseek_core.calibration import Calibration
from deepseek_core.pipeline import calibrate
from deepseek_core.quantize import apply_recipe

__all__ = ["measure", "statistics"]

Array = NDArray[Any]


def measure(work: Work, menu: Menu, samples: int = 4, *, calibration: Calibration | None = None) -> Sensitivity:
    """Sensitivity of every value and unit to every format of a menu.

    What a source's error does at the outputs is measured once, with the first format that has the source; for further
    formats it is scaled by the energy of their own error. That is exact where the network is linear around its values
    and the errors of two formats look alike, up to their size.

    Args:
        samples: how many of the calibration samples, spread evenly, the figures rest on.
        calibration: `statistics(work, menu)`, where they are known already.
    """
    chosen = list(islice(islice(work.samples, 0, None, max(1, len(work.samples) // samples)), samples))
    calibration = calibration or statistics(work, menu)
    survey = _Survey(work, roundings(work, menu, calibration), chosen)
    joint = {name: _joint(work, recipe, calibration, chosen) for name, recipe in menu.recipes.items()}
    return Sensitivity(survey.tallies.noises("value"), survey.tallies.noises("unit"), joint, len(chosen))


def statistics(work: Work, menu: Menu) -> Calibration:
    """Statistics of every value that some format of the menu rounds."""
    names = {name: entry for recipe in menu.recipes.values() for name, entry in recipe.activations.items()}
    if not names:
        return Calibration()
    if work.calibration is not None and all(name in work.calibration for name in names):
        return work.calibration
    return calibrate(work.model, Recipe(names), work.samples, registry=work.registry, progress=work.progress)


class _Survey:
    """Counts every source's errors and their effects."""

    def __init__(self, work: Work, ways: Sequence[Rounding], samples: Sequence[Feeds]) -> None:
        self._work, self._samples = work, samples
        self._ends = {unit.name: unit.outputs[0].real.name or "" for unit in work.model.units()}
        self.tallies = Tallies(float_outputs(work.model))
        names = {v for way in ways for v in way.values} | {self._ends[unit] for way in ways for unit in way.weights}
        with Disturbed(work.model, names, work.registry) as model:
            for number, way in enumerate(ways):
                self._count(way, model, number / len(ways), 1 / len(ways))

    def _count(self, way: Rounding, model: Disturbed, done: float, share: float) -> None:
        """One format on every sample."""
        known = {v for v, (kind, _) in way.values.items() if self.tallies.is_known(("value", v), kind)}
        twin_model, outputs = twins(self._work.model, way.weights)
        taps = (*way.values, *(self._ends[unit] for unit in outputs), *outputs.values())
        with Runner(twin_model, taps, self._work.registry) as runner:
            for number, sample in enumerate(self._samples):
                self._work.progress(f"sensitivity to {way.name}", done + share * number / len(self._samples))
                seen, clean = runner(sample), model.begin(sample)
                self.tallies.signal(number, clean)
                for source, kind, at, error in self._errors(way, seen, outputs, known):
                    if self.tallies.error(source, kind, error) and error.any():
                        self.tallies.effect(source, clean, model.outputs({at: error}))

    def _errors(
        self, way: Rounding, seen: Mapping[str, Array], outputs: Mapping[str, str], known: Collection[str]
    ) -> Iterator[tuple[Source, str, str, Array]]:
        """(source, type, value where it enters, error)."""
        for value, (kind, rounded) in way.values.items():
            if value not in known:
                yield ("value", value), kind, value, rounded(seen[value]) - seen[value]
        for unit, twin in outputs.items():
            end = self._ends[unit]
            yield ("unit", unit), way.name, end, seen[twin] - seen[end]


def _joint(work: Work, recipe: Recipe, calibration: Calibration, samples: Collection[Feeds]) -> float:
    """Measured noise with everything in one format."""
    quantized = apply_recipe(work.model, recipe, calibration, work.calibrators)
    names = float_outputs(work.model)
    with Runner(work.model, registry=work.registry) as real, Runner(quantized, registry=work.registry) as rounded:
        return fidelity(zip(real.stream(samples), rounded.stream(samples), strict=True), names).noise
