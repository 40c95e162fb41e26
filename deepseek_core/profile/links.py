"""What a border between two targets costs, measured over tensors of the model that could cross it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek_core.partition.roofline import value_bytes
from deepseek_core.profile.bench import Bench, timed
from deepseek_core.registry import Backend
from deepseek_core.target import Target

__all__ = ["fit", "measure_link"]

_SAMPLES = 5
_LARGE = 1 << 16
"""Bytes; copying as many takes longer than timers err."""


def measure_link(bench: Bench, source: tuple[Backend, Target], to: tuple[Backend, Target]) -> list[tuple[int, float]]:
    """Bytes and seconds of tensors on their way from one target to another.

    A producer and a reader are run one after the other and each alone; what both take beyond the sum is the border's:
    conversions, copies and synchronization that neither shows alone. Units that are quick are taken, so that the
    difference is not lost in them.
    """
    found = []
    for size, first, second in _candidates(bench, source, to):
        one, other = bench.unit(*source, first), bench.unit(*to, second)
        feeds, stored = bench.feeds(one), bench.feeds(other)
        crossing = [info.name for info in one.outputs if info.name in stored]

        def both() -> None:
            results = one.run(feeds)  # noqa: B023
            other.run({**stored, **{name: results[name] for name in crossing}})  # noqa: B023

        runners = {"both": both, "one": lambda: one.run(feeds), "other": lambda: other.run(stored)}  # noqa: B023
        taken = timed(runners, budget=0.3, rounds=31)
        found.append((size, max(taken["both"] - taken["one"] - taken["other"], 0.0)))
    return found


def fit(samples: Sequence[tuple[int, float]], second_per_byte: float) -> tuple[float, float | None]:
    """Latency and seconds per byte with the least squared error, neither negative.

    Args:
        second_per_byte: of the analytic link. Where all tensors are small, noise would pass for a slope, so the latency
            is fitted beside this one, and None stands for a slope that was not measured.
    """
    sizes, seconds = (np.array(column, float) for column in zip(*samples, strict=True))
    if sizes.max() < _LARGE or np.unique(sizes).size < 2:
        return max(float(np.median(seconds - sizes * second_per_byte)), 0.0), None
    both = np.linalg.lstsq(np.stack((np.ones_like(sizes), sizes), axis=1), seconds, rcond=None)[0]
    if (both >= 0).all():
        return float(both[0]), float(both[1])
    options = ((float(seconds.mean()), 0.0), (0.0, float(sizes @ seconds / (sizes @ sizes))))
    return min(options, key=lambda line: float(((line[0] + line[1] * sizes - seconds) ** 2).sum()))


def _candidates(bench: Bench, source: tuple[Backend, Target], to: tuple[Backend, Target]) -> list[tuple[int, int, int]]:
    """Bytes, producer and reader of tensors that both targets were timed for: of each size the quickest pair."""
    graph, quickest = bench.problem.graph, dict[int, tuple[float, int, int]]()
    for reader, values in enumerate(graph.reads):
        for value in values:
            producer = value.producer()
            maker = None if producer is None else graph.owner.get(producer)
            ends = (source[1], -1 if maker is None else maker), (to[1], reader)
            if all(end in bench.taken for end in ends):
                pair = (sum(bench.taken[end] for end in ends), ends[0][1], reader)
                size = value_bytes(value)
                quickest[size] = min(quickest.get(size, pair), pair)
    sizes = sorted(quickest)
    if len(sizes) > _SAMPLES:
        sizes = [sizes[round(i * (len(sizes) - 1) / (_SAMPLES - 1))] for i in range(_SAMPLES)]
    return [(size, *quickest[size][1:]) for size in sizes]
