"""Calibration data where the user has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from deepseek.quantization.data.batches import fixed_batch, rebatched, rows_of
from deepseek.quantization.data.distil import BATCH, batch_norms, distilled
from deepseek.quantization.data.noise import made_up
from deepseek.quantization.data.store import SampleStore
from deepseek.quantization.frontends import Network, Tensors
from deepseek_core import Feeds
from deepseek_core.options import Progress

__all__ = ["synthesised"]

ROWS = 16

_BETTER = "calibrate on real data where you can: calibration= takes an iterable of samples or a folder"


def synthesised(
    network: Network, sizes: Mapping[str, Sequence[int]], seed: int, progress: Progress
) -> tuple[SampleStore, str]:
    """Samples, and the sentence that says what they are.

    Args:
        sizes: input name → shape of the example, where there is one.

    Raises:
        CalibrationError: an input leaves open what to make up.
    """
    rows = list(made_up(network.model, sizes, ROWS, seed))
    store = SampleStore()
    layers = [] if network.module is None else batch_norms(network.module)
    for sample in _distilled(network, rows, seed, progress) if layers else rows:
        store.add(sample)
    if layers:
        return (
            store,
            f"no calibration data: {ROWS} samples were distilled from {len(layers)} BatchNorm layers; {_BETTER}",
        )
    return store, f"no calibration data, and no BatchNorm to distil it from: {ROWS} samples are noise; {_BETTER}"


def _distilled(network: Network, rows: list[Tensors], seed: int, progress: Progress) -> Iterator[Feeds]:
    """Samples in the shape of `rows`, changed some at a time: as many as the network takes in one batch."""
    from deepseek.quantization.frontends.torch.state import evaluating

    joins = fixed_batch(network.model.inputs) is None and rows_of(rows[0]) == 1
    size = BATCH if joins else 1
    starts = range(0, len(rows), size)
    assert network.forward is not None
    with evaluating(network.module):
        for start in starts:
            batch = _joined(rows[start : start + size])
            told = _part(progress, start / len(rows), size / len(rows))
            found = distilled(network.module, network.forward, batch, seed + start, told)
            yield from rebatched([found], None, 1) if joins else [found]


def _joined(rows: list[Tensors]) -> Tensors:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if len(rows) > 1 else rows[0]


def _part(progress: Progress, begin: float, share: float) -> Progress:
    return lambda what, fraction: progress(what, begin + fraction * share)
