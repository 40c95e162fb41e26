"""Latency of a session: what repeated runs of the same feeds take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepseek_core.errors import ConfigError
from deepseek_core.options import Progress

__all__ = ["Latency", "measure"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of each timed run, in the order they ran."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return self.percentile(50)

    @property
    def minimum(self) -> float:
        return min(self.seconds)

    @property
    def mean(self) -> float:
        return float(np.mean(self.seconds))

    def percentile(self, q: float) -> float:
        """Seconds within which `q` per cent of the runs ended (linear between runs)."""
        return float(np.percentile(self.seconds, q))


def measure(
    run: Callable[[], object], *, repeat: int = 100, warmup: int = 10, progress: Progress | None = None
) -> Latency:
    """Time `run`, one call after another.

    Args:
        repeat: timed runs.
        warmup: runs before them that are not timed: caches fill and clocks rise.

    Raises:
        ConfigError: `repeat` is not positive, or `warmup` negative.
    """
    if repeat < 1 or warmup < 0:
        raise ConfigError(f"{repeat} timed runs after {warmup} to warm up", fix="time at least one run")
    for _ in range(warmup):
        run()
    seconds = []
    for number in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress("timing", (number + 1) / repeat)
    return Latency(tuple(seconds))
