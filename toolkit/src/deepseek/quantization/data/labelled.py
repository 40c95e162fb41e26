"""Labelled samples in a folder, and the share of them that a network gets right."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.data.elements import Folder
from deepseek_core import TensorInfo
from deepseek_core.data import Samples
from deepseek_core.errors import CalibrationError, ConfigError

__all__ = ["Labelled", "refuse_overlap"]

_LIST = "labels.csv"
_FILE, _LABEL = ("file", "path", "name"), ("label", "class_index", "class")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A folder of samples, one a file, with the class of each.

    Classes are in `labels.csv`, with the columns `file` (relative to the folder) and `label`, a number from 0; without
    it, each sub-folder is a class, numbered in the order of their names.

    Attributes:
        folder: see `Folder`.
    """

    folder: Folder

    def accuracy(self, inputs: Sequence[TensorInfo]) -> Callable[[Callable[..., Any]], float]:
        """A measure for `evaluate=`: the share of samples in which the largest element of the first output is right.

        Raises:
            CalibrationError: the folder holds no samples, or a sample has no label.
        """
        samples = Samples(Path(self.folder.path), inputs, self.folder.images, limit=self.folder.limit)
        labels = self.labels(samples.files)
        if len(samples) != len(labels):
            raise CalibrationError(
                f"{self.folder.path} has files with several samples",
                fix="save one sample to a file, each with its label",
            )

        def measure(network: Callable[..., Any]) -> float:
            hits = [_first(network(sample)) == label for sample, label in zip(samples, labels, strict=True)]
            return float(np.mean(hits))

        return measure

    def labels(self, files: Sequence[Path]) -> list[int]:
        """The class of each file."""
        root = Path(self.folder.path)
        listed = _listed(root / _LIST) if (root / _LIST).is_file() else None
        if listed is None:
            names = sorted({path.relative_to(root).parts[0] for path in files if path.parent != root})
            listed = {path: names.index(path.relative_to(root).parts[0]) for path in files if path.parent != root}
        unlabelled = next((path for path in files if path not in listed), None)
        if unlabelled is not None:
            raise CalibrationError(
                f"{unlabelled} has no label",
                fix=f"list it in {_LIST} (file,label), or make a sub-folder for each class",
            )
        return [listed[path] for path in files]


def refuse_overlap(calibration: Path, evaluation: Path, inputs: Sequence[TensorInfo]) -> None:
    """Refuse to judge on what was calibrated on.

    Raises:
        ConfigError: a file is in both.
    """
    both = set(_resolved(calibration, inputs)) & set(_resolved(evaluation, inputs))
    if both:
        raise ConfigError(
            f"{min(both)} is for calibration and for evaluation", fix="keep the two apart: one cannot judge the other"
        )


def _resolved(source: Path, inputs: Sequence[TensorInfo]) -> Iterator[Path]:
    return (path.resolve() for path in Samples(source, inputs).files)


def _first(outputs: dict[str, NDArray[Any]]) -> int:
    return int(np.argmax(next(iter(outputs.values()))))


def _listed(path: Path) -> dict[Path, int]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        head = rows.fieldnames or ()
        columns = [next((name for name in names if name in head), None) for names in (_FILE, _LABEL)]
        if None in columns:
            raise CalibrationError(f"{path} has the columns {', '.join(head)}", fix="name them file and label")
        try:
            return {path.parent / row[columns[0]]: int(row[columns[1]]) for row in rows}
        except (ValueError, TypeError):
            raise CalibrationError(f"{path}: line {rows.line_num} has no number", fix="give classes from 0") from None
