"""What a network brings to the benchmark, and the folder it is prepared in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from quantization.cache import digest
from quantization.session import Array, Feeds, Run

__all__ = ["Answers", "Array", "Feeds", "Metric", "Network", "Prepared", "Run", "load_arrays", "save_samples"]

Answers = list[Array]
"""One array a sample: what SQNR, agreement and scores are computed from."""

CALIBRATION, EVALUATION, MODEL, TRUTH = "calib", "eval", "model.onnx", "truth.npz"


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of a network's task.

    Attributes:
        name: as the table shows it, with its unit.
        higher: whether more is better.
    """

    name: str
    higher: bool = True

    def loss(self, exact: float, got: float) -> float:
        """What was lost, in percent of `exact`; negative where `got` is better."""
        return 100 * (exact - got if self.higher else got - exact) / abs(exact)


@dataclass(frozen=True)
class Prepared:
    """A network on disk: `model.onnx`, `calib/NNNN.npz`, `eval/NNNN.npz` and, where there are labels, `truth.npz`.

    A sample file holds one array for each input, by its name.
    """

    model: Path
    calibration: Path
    evaluation: Path
    truth: Path | None

    @classmethod
    def of(cls, folder: Path) -> Prepared:
        truth = folder / TRUTH
        return cls(folder / MODEL, folder / CALIBRATION, folder / EVALUATION, truth if truth.exists() else None)

    @cached_property
    def work(self) -> str:
        """Digest of what a quantizer is given."""
        return digest([self.model, *sorted(self.calibration.glob("*"))])

    @cached_property
    def task(self) -> str:
        """Digest of what it is judged on."""
        return digest([self.model, *sorted(self.evaluation.glob("*")), *([self.truth] if self.truth else [])])

    def feeds(self) -> Iterator[Feeds]:
        """The evaluation samples in order."""
        for file in sorted(self.evaluation.glob("*.npz")):
            yield load_arrays(file)

    def labels(self) -> Feeds:
        """What the evaluation samples are judged by."""
        return load_arrays(self.truth) if self.truth else {}


class Network(ABC):
    """A trained network with data that calibrates it and other data that judges it."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    """The first one is what quantizers are ranked by."""
    helpers: ClassVar[tuple[str, ...]] = ()
    """Modules beside this one whose change calls for preparing again."""

    def source(self) -> str:
        """What decides the preparation beside code: a digest of the user's files."""
        return ""

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Write model, samples and labels into the empty `folder`, in the form of `Prepared`."""

    def answers(self, run: Run, feeds: Iterable[Feeds]) -> Answers:
        """One array for each sample; by default the first output, sample by sample."""
        return [next(iter(run(sample).values())) for sample in feeds]

    def signal(self, answers: Answers) -> Answers:
        """The part of the answers that SQNR is computed from; by default all of it."""
        return answers

    @abstractmethod
    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        """A value for each of `metrics`."""

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of decisions that both networks take alike; by default the largest entry of the last axis."""
        same = [np.mean(a.argmax(-1) == b.argmax(-1)) for a, b in zip(exact, got, strict=True)]
        return float(np.mean(same))


def load_arrays(file: Path) -> Feeds:
    """Arrays of an `.npz` by name; nothing is unpickled."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def save_samples(folder: Path, samples: Iterable[Mapping[str, Array]]) -> int:
    """Write `0000.npz`, `0001.npz`, …; how many."""
    folder.mkdir()
    count = 0
    for count, sample in enumerate(samples, 1):
        np.savez(folder / f"{count - 1:04}.npz", **sample)  # type: ignore[arg-type]
    return count
