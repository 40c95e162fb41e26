"""A network of the user's own, with folders of samples."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from deepseek_core.data import Samples
from deepseek_core.pipeline import float_model
from quantization.cache import digest
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Metric,
    Network,
    load_arrays,
    save_samples,
)
from quantization.session import runner

__all__ = ["Custom"]

LABELS = "labels.csv"


class Custom(Network):
    """An ONNX file, judged on its first output: top-1 where there are labels, else cosine similarity with fp32.

    Args:
        model: float ONNX file.
        calibration: folder of `.npy`, `.npz` or images as `deepseek quantize --calib` takes them.
        evaluation: such a folder; its `labels.csv`, if any, has the columns `file` and `class_index`, one row a file.
    """

    def __init__(self, model: Path, calibration: Path, evaluation: Path) -> None:
        self.model, self.calibration, self.evaluation = model, calibration, evaluation
        self.labelled = (evaluation / LABELS).exists()
        self.name, self.title = f"custom_{model.stem}", model.name
        self.metrics = (Metric("top-1 %" if self.labelled else "cosine similarity %"),)

    def source(self) -> str:
        files = [path for folder in (self.calibration, self.evaluation) for path in sorted(folder.rglob("*"))]
        return digest([self.model, *(path for path in files if path.is_file())])

    def prepare(self, folder: Path) -> None:
        shutil.copy(self.model, folder / MODEL)
        inputs = float_model(self.model).inputs
        save_samples(folder / CALIBRATION, Samples(self.calibration, inputs))
        judged = Samples(self.evaluation, inputs)
        count = save_samples(folder / EVALUATION, judged)
        if self.labelled:
            truth = {"labels": np.array(self._labels(judged, count))}
        else:
            feeds = (load_arrays(file) for file in sorted((folder / EVALUATION).glob("*.npz")))
            truth = {f"{i:05}": answer for i, answer in enumerate(self.answers(runner(folder / MODEL), feeds))}
        np.savez(folder / TRUTH, **truth)  # type: ignore[arg-type]

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        if self.labelled:
            right = [a.reshape(-1).argmax() == label for a, label in zip(answers, truth["labels"], strict=True)]
            return (100 * float(np.mean(right)),)
        return (100 * float(np.mean(list(_cosines(answers, [truth[name] for name in sorted(truth)])))),)

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of equal largest entries, over the channels of an image or the last axis; NaN where that has one."""
        axis = 1 if exact[0].ndim == 4 else -1
        if exact[0].ndim == 0 or exact[0].shape[axis] < 2:
            return float("nan")
        same = [np.mean(a.argmax(axis) == b.argmax(axis)) for a, b in zip(exact, got, strict=True)]
        return float(np.mean(same))

    def _labels(self, judged: Samples, count: int) -> list[int]:
        with (self.evaluation / LABELS).open(newline="") as file:
            labels = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
        names = [path.relative_to(self.evaluation).as_posix() for path in judged.files]
        missing = [name for name in names if name not in labels]
        if missing or count != len(names):
            raise RuntimeError(f"{LABELS} needs one row for each sample; {missing[0] if missing else 'files'} differ")
        return [labels[name] for name in names]


def _cosines(got: Answers, exact: Answers) -> Iterator[float]:
    for a, b in zip(got, exact, strict=True):
        lengths = float(np.linalg.norm(a.astype(np.float64)) * np.linalg.norm(b.astype(np.float64)))
        yield float(np.vdot(a.astype(np.float64), b.astype(np.float64))) / lengths if lengths else 1.0
