"""Compare latencies on a machine that does other things too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["measure"]

_Clock = Callable[[], float]
_FEWEST = 3


def measure(
    runners: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 11,
    budget: float = 0.3,
    sample: float = 1e-4,
    threads: int = 0,
    quantile: float = 0.5,
) -> dict[str, float]:
    """Latency of each runner in seconds: the median of samples taken in turn, so that drift hits all alike.

    Args:
        runners: name → what to time; each is called a few times beforehand.
        rounds: samples of each runner.
        budget: seconds after which no further round starts, once there are three.
        sample: seconds one sample lasts at least; a fast runner is called several times for it.
        threads: how many the runners use. With 1, the time this thread was on a CPU is taken, which is the latency
            on an idle machine even when this one is not; otherwise wall time.
        quantile: of the samples, when it shall not be the median. Other programs only ever add time, so a low one
            is nearer the truth on a busy machine.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    repeats = {name: _repeats(run, sample, clock) for name, run in runners.items()}
    taken: dict[str, list[float]] = {name: [] for name in runners}
    order = list(runners)
    deadline = time.perf_counter() + budget
    for number in range(max(rounds, _FEWEST)):
        if number >= _FEWEST and time.perf_counter() > deadline:
            break
        for name in order:
            taken[name].append(_time(runners[name], repeats[name], clock))
        order.reverse()
    return {name: float(np.quantile(samples, quantile)) for name, samples in taken.items()}


def _repeats(run: Callable[[], object], sample: float, clock: _Clock) -> int:
    run()
    return max(1, math.ceil(sample / max(_time(run, 1, clock), 1e-7)))


def _time(run: Callable[[], object], repeats: int, clock: _Clock) -> float:
    start = clock()
    for _ in range(repeats):
        run()
    return (clock() - start) / repeats
