"""Work with a part of the calibration samples, so that another part can judge."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepseek.quantization.work import Work
from deepseek_core import Feeds
from deepseek_core.errors import ConfigError

__all__ = ["HoldOut", "Selection", "divide"]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Leave out the samples that a search judged its candidates on, drawn with the recipe's seed.

    Attributes:
        share: of the samples that is left out.
        at_most: that many samples are left out at most.
    """

    share: float = 0.2
    at_most: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or self.at_most < 1:
            raise ConfigError(
                f"hold_out of share {self.share} and at most {self.at_most} samples",
                fix="give a share between 0 and 1, and at least 1 sample",
            )

    def __call__(self, work: Work) -> Work:
        kept, _ = divide(work.samples, self.share, self.at_most, work.seed)
        return replace(work, samples=kept, calibration=None)


class Selection(Collection[Feeds]):
    """Some of the samples, in their order.

    Args:
        samples: iterated anew each time.
        positions: of the samples that are in.
    """

    def __init__(self, samples: Collection[Feeds], positions: Collection[int]) -> None:
        self._samples, self._positions = samples, frozenset(positions)

    def __iter__(self) -> Iterator[Feeds]:
        if isinstance(self._samples, Sequence):
            return (self._samples[position] for position in sorted(self._positions))
        return (sample for position, sample in enumerate(self._samples) if position in self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, sample: object) -> bool:
        return any(sample is own for own in self)


def divide(
    samples: Collection[Feeds], share: float, at_most: int, seed: int
) -> tuple[Collection[Feeds], Collection[Feeds]]:
    """(to work with, to judge on), drawn with a seed; a single sample serves as both.

    Args:
        share: of the samples to hold out; at least one of two or more.
        at_most: upper bound on the held-out samples.
    """
    count = len(samples)
    if count < 2:
        return samples, samples
    held = min(max(1, round(share * count)), at_most, count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return Selection(samples, order[held:].tolist()), Selection(samples, order[:held].tolist())
