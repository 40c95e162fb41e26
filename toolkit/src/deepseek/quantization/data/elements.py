"""Calibration data in the forms that people have it, one element at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.quantization.frontends.arrays import is_tensor_like
from deepseek_core.data import ImageOptions
from deepseek_core.errors import CalibrationError

__all__ = ["Folder", "elements_of", "folder_of"]

ROWS = 8
"""Rows of one element, where one array holds all samples."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Samples in a folder or file: `.npy`, `.npz` (keys are input names), and images.

    Attributes:
        path: the folder, searched with its sub-folders, or the file.
        images: how images become tensors.
        limit: at most this many files, evenly spread; None for all.
    """

    path: str | Path
    images: ImageOptions | None = None
    limit: int | None = None


def folder_of(calibration: Any) -> Folder | None:
    """The folder that `calibration` names, if it names one."""
    return Folder(calibration) if isinstance(calibration, str | Path) else _as_folder(calibration)


def elements_of(calibration: Any) -> Iterator[Any]:
    """Elements of arrays, iterables and data sets.

    One array, or a mapping of arrays, holds all samples along its first axis. A torch data set gives samples without
    a batch axis, which they get here.

    Raises:
        CalibrationError: it is nothing of the kind.
    """
    if is_tensor_like(calibration):
        return _rows(calibration)
    if isinstance(calibration, Mapping):
        return _rows_by_name(calibration)
    if _is_dataset(calibration):
        return (_with_batch_axis(calibration[index]) for index in range(len(calibration)))
    if isinstance(calibration, Iterable):
        return iter(calibration)
    raise CalibrationError(
        f"calibration is a {type(calibration).__name__}", fix="give an array, an iterable of samples, or a folder"
    )


def _as_folder(calibration: Any) -> Folder | None:
    return calibration if isinstance(calibration, Folder) else None


def _rows(array: Any) -> Iterator[Any]:
    if array.ndim == 0:
        raise CalibrationError("calibration is a single number", fix="give samples along the first axis of an array")
    return (array[start : start + ROWS] for start in range(0, array.shape[0], ROWS))


def _rows_by_name(arrays: Mapping[Any, Any]) -> Iterator[Any]:
    wrong = next((str(k) for k, v in arrays.items() if not is_tensor_like(v) or v.ndim == 0), None)
    if wrong is not None or not arrays:
        what = f"'{wrong}' is no array of samples" if arrays else "it is empty"
        raise CalibrationError(f"calibration is a mapping, but {what}", fix="give an array of samples for each input")
    counts = {str(name): array.shape[0] for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} for '{name}'" for name, count in counts.items())
        raise CalibrationError(f"calibration has different numbers of samples ({told})", fix="give each the same")
    starts = range(0, next(iter(counts.values())), ROWS)
    return ({name: array[start : start + ROWS] for name, array in arrays.items()} for start in starts)


def _is_dataset(value: Any) -> bool:
    """Whether `value` is a torch data set that is read by index."""
    data = sys.modules.get("torch.utils.data")
    kind = () if data is None else (data.Dataset,)
    return isinstance(value, kind) and hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _with_batch_axis(element: Any) -> Any:
    if is_tensor_like(element):
        return element[None]
    if isinstance(element, Mapping):
        return {name: _with_batch_axis(value) for name, value in element.items()}
    if isinstance(element, tuple | list):
        return tuple(map(_with_batch_axis, element))
    return element
