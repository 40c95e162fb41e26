"""What a session takes: latency of repeated runs of the same feeds, throughput of a stream of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepseek_core.errors import ConfigError
from deepseek_core.executable import Feeds
from deepseek_core.options import Progress
from deepseek_core.runtime import Session

__all__ = ["Latency", "Throughput", "measure", "measure_stream"]


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


@dataclass(frozen=True, slots=True)
class Throughput:
    """A stream of equal inputs, from the first that goes in to the last that comes out.

    Attributes:
        depth: inputs under way.
        seconds: of the whole stream.
    """

    inputs: int
    depth: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.inputs / self.seconds


def measure_stream(
    session: Session, feeds: Feeds, inputs: int, depth: int | None = None, progress: Progress | None = None
) -> Throughput:
    """Time a stream; as many inputs as are under way go through beforehand.

    Raises:
        ConfigError: `inputs` or `depth` is not positive.
    """
    if inputs < 1:
        raise ConfigError(f"a stream of {inputs} inputs", fix="send at least one")
    depth = depth if depth is not None else 2 * max(1, len(set(session.devices)))
    for _ in session.stream(itertools.repeat(feeds, depth), depth):
        pass
    start = time.perf_counter()
    for number, _ in enumerate(session.stream(itertools.repeat(feeds, inputs), depth)):
        if progress is not None:
            progress("streaming", (number + 1) / inputs)
    return Throughput(inputs, depth, time.perf_counter() - start)


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
