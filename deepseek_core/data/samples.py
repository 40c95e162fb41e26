"""Calibration and evaluation samples: a file or a folder, read one sample at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from deepseek_core.data.arrays import ARRAY_SUFFIXES, fit_many, read_arrays, rows
from deepseek_core.data.images import IMAGE_SUFFIXES, ImageOptions, ImageReader
from deepseek_core.errors import CalibrationError, FeedError
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["Samples"]


class Samples:
    """Samples for a model's inputs; iterate as often as needed, one file is in memory at a time.

    Files, in the order of their paths: `.npy` (a model with one input), `.npz` (keys are input names) and images
    (a model with one image input). An array with several rows is split into batches of the model's size.

    Args:
        source: a file, or a folder that is searched with all its sub-folders; hidden and other files are ignored.
        inputs: what the model must be fed.
        images: how images become tensors.
        limit: at most this many files, evenly spread over the sorted list; None for all.

    Raises:
        CalibrationError: nothing usable is there.
    """

    def __init__(
        self,
        source: Path,
        inputs: Sequence[TensorInfo],
        images: ImageOptions | None = None,
        *,
        limit: int | None = None,
    ) -> None:
        self.files = _spread(_find(source), limit)
        self._inputs = tuple(inputs)
        self._images = images or ImageOptions()
        self._reader: ImageReader | None = None

    def __len__(self) -> int:
        """Number of samples, from the files' headers alone."""
        first = self._inputs[0] if self._inputs else None
        arrays = [path for path in self.files if path.suffix.lower() in ARRAY_SUFFIXES]
        return len(self.files) - len(arrays) + sum(rows(path, first) if first else 1 for path in arrays)

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Feeds by input name.

        Raises:
            CalibrationError: a file does not fit the model, cannot be read, or is not finite.
        """
        for path in self.files:
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield {self._only_input(path).name: self._image_reader(path).read(path)}
            else:
                yield from self._batches(path)

    def _batches(self, path: Path) -> Iterator[dict[str, NDArray[Any]]]:
        arrays = read_arrays(path)
        if "" in arrays:
            arrays = {self._only_input(path).name: arrays[""]}
        if set(arrays) != {info.name for info in self._inputs}:
            raise CalibrationError(
                f"{path} has {_names(arrays)}, the model's inputs are {signature(self._inputs)}",
                fix="name the arrays as the inputs",
            )
        try:
            columns = [fit_many(arrays[info.name], info, str(path)) for info in self._inputs]
        except FeedError as error:
            raise CalibrationError(error.message, fix=error.fix) from None
        if len({len(column) for column in columns}) != 1:
            raise CalibrationError(
                f"{path}: the inputs differ in the number of samples", fix="give each the same number"
            )
        for values in zip(*columns, strict=True):
            yield {info.name: value for info, value in zip(self._inputs, values, strict=True)}

    def _only_input(self, path: Path) -> TensorInfo:
        if len(self._inputs) != 1:
            raise CalibrationError(
                f"{path} is one array, the model's inputs are {signature(self._inputs)}",
                fix="give .npz files whose keys are the input names",
            )
        return self._inputs[0]

    def _image_reader(self, path: Path) -> ImageReader:
        if self._reader is None:
            self._reader = ImageReader(self._only_input(path), self._images)
        return self._reader


def _find(source: Path) -> list[Path]:
    if not source.exists():
        raise CalibrationError(f"{source} does not exist", fix="name a folder or file with samples")
    known = ARRAY_SUFFIXES | IMAGE_SUFFIXES
    if source.is_file():
        if source.suffix.lower() not in known:
            raise CalibrationError(f"{source} holds no samples", fix="give .npy, .npz or image files")
        return [source]
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in known and p.is_file() and not _hidden(p, source))
    if not found:
        raise CalibrationError(f"no samples in {source}", fix="put .npy, .npz or image files there")
    return found


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _spread(files: list[Path], limit: int | None) -> tuple[Path, ...]:
    if limit is None or limit >= len(files):
        return tuple(files)
    if limit < 1:
        raise CalibrationError(f"a limit of {limit} samples", fix="give a positive limit")
    return tuple(files[index * len(files) // limit] for index in range(limit))


def _names(arrays: dict[str, NDArray[Any]]) -> str:
    return ", ".join(sorted(arrays)) or "no arrays"
