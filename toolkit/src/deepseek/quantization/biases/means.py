"""Mean of what every layer of the float network sums over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek.quantization.grams import Site
from deepseek.quantization.work import Work

__all__ = ["mean_inputs"]

_PLACES = 4096
"""Places of one sample that are looked at."""


def mean_inputs(work: Work, sites: Sequence[Site]) -> list[NDArray[np.float64]]:
    """E[x] over places and samples for each site, float64 [G, K]; zeros where nothing was ever seen."""
    sums = [np.zeros((site.weight.shape[0], site.weight.shape[2])) for site in sites]
    counts = np.zeros(len(sites))
    taps = [name for site in sites for name in (site.reads, site.makes)]
    with Runner(work.model, taps, work.registry) as runner:
        for number, found in enumerate(runner.stream(work.samples)):
            work.progress("measuring means of inputs", number / max(len(work.samples), 1))
            random = np.random.default_rng((work.seed, number))
            for index, site in enumerate(sites):
                x, y = found[site.reads], found[site.makes]
                places = site.layout.places(x.shape, y.shape)
                picks = np.arange(places) if places <= _PLACES else random.choice(places, _PLACES, replace=False)
                rows = site.layout.rows(x, y.shape, np.asarray(picks, np.int64))
                sums[index] += rows.sum(axis=1, dtype=np.float64)
                counts[index] += rows.shape[1]
    return [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]
