"""Moments of a stage's sites, summed up sample by sample."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.grams.moments import InputMoments, Moments, OutputMoments, moderated
from deepseek.quantization.grams.segment import Numbers
from deepseek.quantization.grams.sites import Site
from deepseek_core import QParams
from deepseek_core.errors import CalibrationError

__all__ = ["Collector", "Measured"]

_LEAST_ROWS = 4096
_FOLDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured at a site.

    Attributes:
        site: where.
        parts: sums over two halves of the samples.
        data: parameters of the activation that the unit reads; None where it is float.
        start: scales of the weight to start from, wide enough for every one of its values.
    """

    site: Site
    parts: tuple[tuple[InputMoments, OutputMoments], ...]
    data: QParams | None
    start: QParams

    def total(self) -> Moments:
        """Moments of all samples."""
        return Moments.of(*self.parts)

    def folds(self) -> tuple[Moments, ...]:
        """Moments of each half that saw anything."""
        return tuple(Moments.of(part) for part in self.parts if part[0].count)


class Collector:
    """Sums for the sites of a stage; what several sites read alike is summed once.

    Args:
        sites: of the stage.
        numbers: of activations and weights.
        samples: how many there will be.
        rows: places to look at for each number that a unit sums over.
        seed: of the choice of places.
    """

    def __init__(self, sites: Sequence[Site], numbers: Numbers, samples: int, rows: int, seed: int) -> None:
        self._sites, self._numbers, self._samples, self._seed = tuple(sites), numbers, samples, seed
        self._most = {site.key: self._share(site, rows) for site in sites}
        self._groups: dict[Hashable, list[Site]] = {}
        for site in sites:
            self._groups.setdefault(_alike(site), []).append(site)
        self._inputs: dict[tuple[Hashable, int], InputMoments] = {}
        self._outputs: dict[tuple[Hashable, int], OutputMoments] = {}

    def _share(self, site: Site, rows: int) -> int:
        """Places of one sample to look at."""
        return int(-(-max(_LEAST_ROWS, rows * site.weight.shape[2]) // max(self._samples, 1)))

    def update(self, number: int, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Add sample `number`.

        Args:
            inputs: what the sites read in the quantized model, by name.
            outputs: what they make in the float model, by name.

        Raises:
            CalibrationError: a value is not finite.
        """
        for key, sites in self._groups.items():
            x, y = inputs[sites[0].reads], outputs[sites[0].makes]
            codes = self._numbers.params.get(sites[0].reads)
            real = x if codes is None else codes.fake_quantize(x)
            for fold, picks in self._picks(number, sites[0], x.shape, y.shape):
                rows = _finite(sites[0].layout.rows(real, y.shape, picks), sites[0], number)
                made = {s.key: _finite(s.layout.outputs(outputs[s.makes], x.shape, picks), s, number) for s in sites}
                weights = np.minimum.reduce([moderated(rows), *map(moderated, made.values())])
                self._inputs.setdefault((key, fold), InputMoments()).update(rows, weights)
                for own, array in made.items():
                    self._outputs.setdefault((own, fold), OutputMoments()).update(array, rows, weights)

    def _picks(
        self, number: int, site: Site, x: tuple[int, ...], y: tuple[int, ...]
    ) -> list[tuple[int, NDArray[np.int64]]]:
        """Places of a sample for each half: whole samples take turns, a lone one is cut in two."""
        places, most = site.layout.places(x, y), self._most[site.key]
        picks = np.arange(places)
        if places > most:
            random = np.random.default_rng((self._seed, number, places))
            picks = np.sort(random.choice(places, most, replace=False))
        if self._samples > 1:
            return [(number % _FOLDS, picks)]
        return list(enumerate(np.array_split(picks, _FOLDS)))

    def measured(self) -> list[Measured]:
        """One entry for each site, in their order."""
        return [self._measured(site) for site in self._sites]

    def _measured(self, site: Site) -> Measured:
        key = _alike(site)
        parts = [
            (self._inputs[key, fold], self._outputs[site.key, fold])
            for fold in range(_FOLDS)
            if (key, fold) in self._inputs
        ]
        data, start = self._numbers.params.get(site.reads), self._numbers.weights[site.key]
        return Measured(site, tuple(parts), data, start)


def _alike(site: Site) -> Hashable:
    """Equal for sites that read the same rows."""
    return (site.reads, site.layout.signature())


def _finite(array: NDArray[np.float32], site: Site, number: int) -> NDArray[np.float32]:
    if not np.isfinite(array).all():
        raise CalibrationError(
            f"unit '{site.unit.name}' meets NaN or infinity in sample {number}",
            fix="check the model in float on this sample",
        )
    return array
