"""The report of a quantization: figures first, then layer by layer."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek.quantization.notes import Note
from deepseek.quantization.report.layers import Layer
from deepseek.quantization.report.spread import Spread
from deepseek_core.atomic import atomic_write

__all__ = ["Attempt", "QuantizationReport"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that the search for a recipe tried.

    Attributes:
        step: what.
        options: how, in words.
        seconds: it took.
        sqnr: of the outputs on held-out calibration samples, before and after, in dB; None where unknown.
        value: what `evaluate` said, before and after; None where it was not asked.
        verdict: `kept`, `dropped`, or why it could not be tried.
    """

    step: str
    options: str
    seconds: float
    sqnr: tuple[float | None, float | None]
    value: tuple[float | None, float | None]
    verdict: str


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What a quantization did, measured on calibration samples.

    Attributes:
        name: of the network.
        targets: whose capability tables decided.
        precision: asked for.
        method: that found the ranges.
        samples: number of calibration samples.
        layers: in the order of the network.
        outputs: output name → signal to noise against the float network, in dB.
        agreement: share of positions whose largest output is the same as in float.
        float_bytes, bytes: of all constants, before and after.
        steps: of the recipe, in words.
        log: what the steps said about their work.
        attempts: what the search tried, in order.
        reference, value: what `evaluate` says of the float and of the quantized network; None without one.
        shortfall: what of the accuracy budget was missed, in words; None where it was met, or there was none.
        notes: what the user should know, for example that the calibration data is made up.
        spreads: histograms of the outputs of the noisiest layers.
        seconds: the whole took.
    """

    name: str
    targets: tuple[str, ...]
    precision: str
    method: str
    samples: int
    layers: tuple[Layer, ...]
    outputs: Mapping[str, float]
    agreement: float
    float_bytes: int
    bytes: int
    steps: tuple[str, ...] = ()
    log: tuple[Note, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    reference: float | None = None
    value: float | None = None
    shortfall: str | None = None
    notes: tuple[str, ...] = ()
    spreads: tuple[Spread, ...] = ()
    seconds: float = 0.0

    @property
    def sqnr(self) -> float:
        """The lowest signal to noise of an output, in dB; infinite without float outputs."""
        return min(self.outputs.values(), default=math.inf)

    @property
    def precisions(self) -> Mapping[str, int]:
        """Precision → number of layers, most frequent first."""
        return dict(Counter(layer.precision for layer in self.layers).most_common())

    @property
    def quantized_layers(self) -> int:
        return sum(layer.is_quantized for layer in self.layers)

    def html(self) -> str:
        """The report as one page: no script, no network, light and dark."""
        from deepseek.quantization.report.page import page

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write the page, or the figures where the name ends in `.json`; atomically.

        Raises:
            StorageError: the file cannot be written.
        """
        as_json = Path(path).suffix.lower() == ".json"
        text = json.dumps(self.to_json(), indent=2, allow_nan=False) if as_json else self.html()
        with atomic_write(path) as file:
            file.write(text.encode())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; infinities are null."""
        data = asdict(self) | {"sqnr": self.sqnr, "outputs": dict(self.outputs)}
        plain: dict[str, Any] = _plain(data)
        return plain

    def __str__(self) -> str:
        from deepseek.quantization.report.text import text

        return text(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
