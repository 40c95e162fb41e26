"""Shift biases so that quantized layers have the mean output of the float ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.biases import drop_idle_adds, give_adds, mean_inputs, measured_shift
from deepseek.quantization.grams import Decision, Measured, Site, sites_of, walk
from deepseek.quantization.grams.biases import add_missing, change_bias
from deepseek.quantization.notes import Note
from deepseek.quantization.search.judge import Judge
from deepseek.quantization.search.trial import spread
from deepseek.quantization.work import Work
from deepseek_core import Feeds
from deepseek_core.calibration import Calibration
from deepseek_core.errors import ConfigError
from deepseek_core.quantize import QuantizedWeight, weight_params

__all__ = ["CorrectBias"]

Key = tuple[str, int]
_METHODS = ("best", "analytic", "empirical")


@dataclass(frozen=True, slots=True)
class CorrectBias:
    """Bias correction (Nagel et al., "Data-Free Quantization…", ICCV 2019, sections 4.2 and 4.3, appendix D).

    `empirical` goes through the network once: each layer is measured with what the corrected quantized layers before it
    make, and its bias takes the mean difference from the float network away. `analytic` corrects what rounding the
    weights alone does to the mean, (Ŵ − W) E[x], with means measured in the float network; it needs no quantized run.

    Neither is always better: what is measured also makes up for clipping, which a few large values may dominate.

    Conv and Gemm without a bias get one; for a MatMul it is the Add behind it, or a new one. Biases are fitted on one
    half of the samples and stay only where the outputs of the network come nearer to the float ones on the other half.

    Attributes:
        method: `analytic`, `empirical`, or `best` for the one whose outputs are nearer.
        insert: put an Add behind a MatMul that has none, where that takes away `insert_gain` of the layer's error.
        insert_gain: a share.
        samples: calibration samples that are used, spread evenly.
    """

    method: str = "best"
    insert: bool = True
    insert_gain: float = 0.1
    samples: int = 32

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ConfigError(f"correct_bias has no method '{self.method}'", fix=f"use {' or '.join(_METHODS)}")
        if self.samples < 1 or not 0 <= self.insert_gain < 1:
            raise ConfigError(
                f"correct_bias with {self.samples} samples and insert_gain {self.insert_gain}",
                fix="give at least 1 sample, and a share below 1",
            )

    def __call__(self, work: Work) -> Work:
        work = work.calibrated()
        few = spread(work.samples, self.samples)
        fitted, unseen = few[::2], few[1::2] or few
        judge = Judge(work.origin, unseen, None, work.registry)
        old = judge.fidelity(work.quantized())
        kept, best, method = work, old, ""
        for name in _METHODS[1:] if self.method == "best" else (self.method,):
            done = self._corrected(work, fitted, name)
            found = judge.fidelity(done.quantized())
            if found.noise < best.noise:
                kept, best, method = done, found, name
        figures = {"snr_before_db": old.sqnr, "snr_after_db": best.sqnr}
        text = f"outputs, {method}" if method else "left out: outputs get worse"
        return replace(kept, log=(*kept.log, Note("correct_bias", "", text, figures)))

    def _corrected(self, work: Work, samples: list[Feeds], method: str) -> Work:
        start, added = self._with_places(replace(work, samples=samples))
        done, notes = (self._empirical if method == "empirical" else self._analytic)(start, added)
        model = done.model.clone()
        drop_idle_adds(model, added)
        return replace(done, model=model, samples=work.samples, weights=work.weights, log=(*work.log, *notes))

    def _with_places(self, work: Work) -> tuple[Work, list[str]]:
        """The work with a place for a bias wherever there can be one, statistics complete."""
        model = work.model.clone()
        sites = sites_of(model.units(), work.recipe().weights)
        add_missing(model, sites)
        added = give_adds(model, sites) if self.insert else []
        assert work.calibration is not None
        ready = replace(work, model=model).calibrated()
        assert ready.calibration is not None
        stats = {**ready.calibration.stats, **work.calibration.stats}
        return replace(ready, calibration=Calibration(stats)), added

    def _empirical(self, work: Work, added: list[str]) -> tuple[Work, list[Note]]:
        weights, notes = _codes(work), list[Note]()

        def decide(measured: Measured) -> Decision:
            site = measured.site
            weight = weights[site.key]
            found = measured_shift(measured, _matrix(site, weight))
            enough = found.gain > (self.insert_gain if site.bias is not None and site.bias.node in added else 0.0)
            if site.bias is None or not enough:
                return Decision(weight)
            figures = {"relative_error_before": found.before, "relative_error_after": found.after}
            notes.append(Note("correct_bias", site.unit.name, f"{found.gain:.1%} of its output error", figures))
            return Decision(weight, site.bias.values + found.shift)

        return walk(work, decide, name="correcting biases"), notes

    def _analytic(self, work: Work, added: list[str]) -> tuple[Work, list[Note]]:
        weights, notes = _codes(work), list[Note]()
        model = work.model.clone()
        sites = sites_of(model.units(), work.recipe().weights)
        for site, mean in zip(sites, mean_inputs(work, sites), strict=True):
            shift = np.einsum("gmk,gk->gm", site.weight - _matrix(site, weights[site.key]), mean)
            if site.bias is None or site.bias.node in added:
                continue
            change_bias(model, site, site.bias.values + shift)
            largest = float(np.abs(shift).max(initial=0.0))
            notes.append(Note("correct_bias", site.unit.name, "", {"largest_shift": largest}))
        return replace(work, model=model), notes


def _codes(work: Work) -> dict[Key, QuantizedWeight]:
    """Every weight as it will be: chosen before, or rounded to nearest."""
    assert work.calibration is not None
    recipe = work.recipe()
    scales = weight_params(work.model, recipe, work.calibration, work.calibrators)
    sites = sites_of(work.model.units(), recipe.weights)
    nearest = {}
    for site in sites:
        array = site.layout.array(site.weight).astype(np.float32)
        nearest[site.key] = QuantizedWeight(scales[site.key].quantize(array), scales[site.key])
    return {**nearest, **{key: own for key, own in work.weights.items() if key in nearest}}


def _matrix(site: Site, weight: QuantizedWeight) -> NDArray[np.float64]:
    return np.asarray(site.layout.matrix(weight.params.dequantize(weight.codes).astype(np.float64)))
