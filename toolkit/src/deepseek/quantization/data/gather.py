"""Calibration data read once, checked against the network, and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.quantization.data.batches import fixed_batch, rebatched, rows_of
from deepseek.quantization.data.elements import Folder
from deepseek.quantization.data.store import SampleStore
from deepseek.quantization.frontends import Calls, Tensors
from deepseek_core import Feeds, QuantizedModel, TensorInfo
from deepseek_core.calibration.feeds import check_sample
from deepseek_core.data import Samples
from deepseek_core.errors import CalibrationError
from deepseek_core.options import Progress

__all__ = ["Gathered", "fitted", "from_folder", "gather"]

_MORE = "max_samples= takes more"
_LEAST, _MOST = 16, 8
"""As many samples as searches like to divide, and rows of one that is cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """Samples as they came.

    Attributes:
        samples: all that were read.
        rows: how many rows they have.
        note: that there are, or may be, more than the limit let in; empty where all were read.
    """

    samples: SampleStore
    rows: int
    note: str = ""

    def largest(self) -> Tensors:
        """The sample with the most elements."""
        largest: Feeds = max(self.samples, key=_elements)
        return dict(largest)

    def varying(self) -> dict[str, set[int]]:
        """Input name → axes in which the samples differ.

        Raises:
            CalibrationError: an input differs in the number of its axes.
        """
        first: dict[str, tuple[int, ...]] = {}
        found: dict[str, set[int]] = {}
        for number, sample in enumerate(self.samples):
            for name, array in sample.items():
                shape = first.setdefault(name, array.shape)
                if len(shape) != array.ndim:
                    raise CalibrationError(
                        f"calibration sample {number}: input '{name}' has shape {list(array.shape)}, sample 0 has "
                        f"{list(shape)}",
                        fix="give samples with the same axes",
                    )
                axes = {axis for axis, (a, b) in enumerate(zip(shape, array.shape, strict=True)) if a != b}
                found[name] = found.get(name, set()) | axes
        return found


def gather(elements: Iterable[Any], calls: Calls, limit: int | None, progress: Progress) -> Gathered:
    """Read elements until there are `limit` rows.

    Raises:
        CalibrationError: there is no element, or one is no sample of the network.
    """
    store, rows, cut = SampleStore(), 0, False
    for number, element in enumerate(elements):
        if limit is not None and rows >= limit:
            cut = True
            break
        sample = calls.element(element, number)
        count = rows_of(sample) or 1
        if limit is not None and rows + count > limit:
            sample, count, cut = _first(sample, limit - rows), limit - rows, True
        store.add(sample)
        rows += count
        progress(f"reading calibration data, {rows} samples", min(rows / limit, 1.0) if limit else 0.0)
    if not len(store):
        raise CalibrationError("the calibration data holds no sample", fix="give at least one; 100 to 500 are usual")
    return Gathered(store, rows, f"calibrated on the first {rows} samples; {_MORE}" if cut else "")


def from_folder(folder: Folder, inputs: tuple[TensorInfo, ...], limit: int | None, progress: Progress) -> Gathered:
    """Read a folder: its own limit of files, or `limit` where it has none, spread evenly.

    Raises:
        CalibrationError: nothing usable is there, or a file does not fit the inputs.
    """
    path, wanted = Path(folder.path), limit if folder.limit is None else folder.limit
    source = Samples(path, inputs, folder.images, limit=wanted)
    store, total = SampleStore(), len(source)
    for number, sample in enumerate(source, start=1):
        store.add(sample)
        progress(f"reading calibration data, sample {number} of {total}", number / total)
    rows, files = sum(rows_of(sample) or 1 for sample in store), len(Samples(path, inputs).files)
    left_out = folder.limit is None and len(source.files) < files
    told = f"calibrated on {len(source.files)} of {files} files, spread evenly; {_MORE}"
    return Gathered(store, rows, told if left_out else "")


def fitted(gathered: Gathered, model: QuantizedModel) -> SampleStore:
    """The samples in batches that the model takes, each checked.

    Raises:
        CalibrationError: a sample has the wrong inputs, shape or dtype, is empty, or is not finite.
    """
    size = fixed_batch(model.inputs)
    loose = tuple(map(_any_batch, model.inputs)) if size is not None else model.inputs
    for number, sample in enumerate(gathered.samples):
        check_sample(sample, loose, number)
    result = SampleStore()
    enough = len(gathered.samples) >= _LEAST
    most = gathered.rows if enough else max(1, min(gathered.rows // _LEAST, _MOST))
    for sample in rebatched(gathered.samples, size, most):
        result.add(sample)
    return result


def _elements(sample: Feeds) -> int:
    return sum(array.size for array in sample.values())


def _any_batch(info: TensorInfo) -> TensorInfo:
    return info if not info.shape else replace(info, shape=("batch", *info.shape[1:]))


def _first(sample: Mapping[str, Any], rows: int) -> Tensors:
    return {name: array[:rows] for name, array in sample.items()}
