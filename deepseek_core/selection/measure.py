"""Compare latencies on a machine that does other things too."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["measure"]

_FEWEST = 3


def measure(
    runners: Mapping[str, Callable[[], object]], *, rounds: int = 11, budget: float = 0.3, sample: float = 1e-4
) -> dict[str, float]:
    """Latency of each runner in seconds: the median of samples taken in turn, so that drift hits all alike.

    Args:
        runners: name → what to time; each is called a few times beforehand.
        rounds: samples of each runner.
        budget: seconds after which no further round starts, once there are three.
        sample: seconds one sample lasts at least; a fast runner is called several times for it.
    """
    repeats = {name: _repeats(run, sample) for name, run in runners.items()}
    taken: dict[str, list[float]] = {name: [] for name in runners}
    order = list(runners)
    deadline = time.perf_counter() + budget
    for number in range(max(rounds, _FEWEST)):
        if number >= _FEWEST and time.perf_counter() > deadline:
            break
        for name in order:
            taken[name].append(_time(runners[name], repeats[name]))
        order.reverse()
    return {name: statistics.median(samples) for name, samples in taken.items()}


def _repeats(run: Callable[[], object], sample: float) -> int:
    run()
    return max(1, math.ceil(sample / max(_time(run, 1), 1e-7)))


def _time(run: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
