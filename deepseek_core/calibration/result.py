"""What a calibration run leaves: statistics by tensor name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deepseek_core.calibration import storage
from deepseek_core.calibration.activations import Calibrators, activation_range
from deepseek_core.calibration.methods import CORE
from deepseek_core.calibration.stats import TensorStats
from deepseek_core.errors import CalibrationError
from deepseek_core.ir.qparams import QParams
from deepseek_core.recipe import TensorRecipe

__all__ = ["Calibration"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Statistics of named tensors. Compares by value; never changed after it was built.

    Attributes:
        stats: tensor name → what was seen of it.
    """

    stats: Mapping[str, TensorStats] = field(default_factory=dict)
    _ranges: dict[tuple[str, TensorRecipe], tuple[float, float]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def __getitem__(self, name: str) -> TensorStats:
        """Statistics of tensor `name`.

        Raises:
            CalibrationError: it was not calibrated.
        """
        try:
            return self.stats[name]
        except KeyError:
            raise CalibrationError(
                f"tensor '{name}' was not calibrated", fix="calibrate again with the model and recipe in use now"
            ) from None

    def range(self, name: str, entry: TensorRecipe, extra: Calibrators | None = None) -> tuple[float, float]:
        """(low, high) of tensor `name`; see `activation_range`. The core's calibrators are asked once."""
        question = (name, entry)
        if question in self._ranges:
            return self._ranges[question]
        found = activation_range(self[name], entry, extra, name=name)
        if entry.calibrator.method in CORE:
            self._ranges[question] = found
        return found

    def qparams(self, name: str, entry: TensorRecipe, extra: Calibrators | None = None) -> QParams:
        """Scale and zero point of tensor `name`; see `activation_qparams`."""
        return QParams.from_range(entry.scheme, *self.range(name, entry, extra))

    def __contains__(self, name: object) -> bool:
        return name in self.stats

    def __iter__(self) -> Iterator[str]:
        return iter(self.stats)

    def __len__(self) -> int:
        return len(self.stats)

    def merge(self, other: Calibration) -> Calibration:
        """Both runs as one: shards of the data add up, groups of tensors stand side by side.

        The result is bit for bit that of a single run over all data, in any order.
        """
        empty = TensorStats()
        names = dict.fromkeys([*self.stats, *other.stats])
        return Calibration({n: self.stats.get(n, empty).merge(other.stats.get(n, empty)) for n in names})

    def digest(self) -> str:
        """SHA-256 (hex) of all numbers and names; the order of the tensors does not matter."""
        digest = hashlib.sha256()
        for name in sorted(self.stats):
            s = self.stats[name]
            line = (name, s.count, s.zeros, s.nans, s.infs, float(s.min).hex(), float(s.max).hex(), s.exponent)
            digest.update(repr(line).encode())
            digest.update(s.counts.astype("<i8", copy=False).tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to `path`, atomically (format: `deepseek_core.calibration.storage`).

        Raises:
            StorageError: the file cannot be written.
        """
        storage.save(path, self.stats, self.digest())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            CalibrationError: the file is missing, damaged, or of another kind or a newer version.
        """
        stats, digest = storage.load(path)
        calibration = cls(stats)
        if calibration.digest() != digest:
            raise storage.damaged(path, "its digest does not fit its content")
        return calibration
