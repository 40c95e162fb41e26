"""What a comparison of two models gives."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_THRESHOLD", "Diff", "TensorDiff"]

DEFAULT_THRESHOLD = 20.0
"""dB below which a tensor has diverged: noise of a tenth of the signal's amplitude."""


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """How far one tensor is apart.

    Attributes:
        name: of the real value.
        unit: name of the unit that computes it in the first model.
        op: op key of that unit.
        shape: of the tensor, for the last sample.
        sqnr: 10·log10(Σ reference² / Σ (reference − other)²) in dB over all samples; infinite when equal.
        max_error: largest absolute difference of the real values.
        lsb: largest difference of the codes, where both are quantized with the same numbers; else None.
    """

    name: str
    unit: str
    op: str
    shape: tuple[int, ...]
    sqnr: float
    max_error: float
    lsb: int | None = None

    def diverges(self, threshold: float | None) -> bool:
        """SQNR below `threshold`; None means any different code, or less than 20 dB where codes do not compare."""
        if threshold is None and self.lsb is not None:
            return self.lsb > 0
        return self.sqnr < (DEFAULT_THRESHOLD if threshold is None else threshold)


@dataclass(frozen=True, slots=True)
class Diff:
    """The comparison of two models.

    Attributes:
        tensors: in the topological order of the first model.
        unmatched: names that only one of them has.
        samples: how many feeds went in.
        threshold: see `TensorDiff.diverges`.
    """

    tensors: tuple[TensorDiff, ...]
    unmatched: tuple[str, ...]
    samples: int
    threshold: float | None = None

    @property
    def first(self) -> TensorDiff | None:
        """The first tensor that diverges."""
        return next((t for t in self.tensors if t.diverges(self.threshold)), None)
