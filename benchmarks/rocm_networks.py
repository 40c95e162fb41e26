"""Networks for the ROCm benchmark, quantized for its targets: samples that calibrate, and others that judge."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import QuantizedModel, Recipe
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import float_model, quantize, recipe_for
from npu_networks import NETWORKS as FLOAT
from quantization.networks import prepared
from quantization.networks.base import load_arrays
from quantization.networks.minilm import MiniLM

__all__ = ["NETWORKS", "Case"]

Feeds = Mapping[str, NDArray[Any]]
TOKENS = 32
TARGETS = ("rocm:gfx942",)


@dataclass(frozen=True, slots=True)
class Case:
    """A quantized network.

    Attributes:
        name: as figures show it.
        model: quantized; every unit runs on the backend.
        judged: feeds that did not calibrate it.
        exact: whether every output must be the reference's bit for bit.
        note: about the comparison.
    """

    name: str
    model: QuantizedModel
    judged: tuple[Feeds, ...]
    exact: bool
    note: str = ""


def _efficientnet(key: str) -> Case:
    case = FLOAT[key]()
    model = quantize(case.model, case.calibration, targets=TARGETS)
    return Case(case.name, model, tuple(case.judged[:2]), exact=True)


def _minilm(name: str = "MiniLM", *, weights: bool = False) -> Case:
    """MiniLM on sentences of `TOKENS` tokens, shorter ones padded behind their mask.

    Args:
        weights: quantize its weights alone, and leave all else in float32.
    """
    files = prepared(MiniLM())
    shapes = dict.fromkeys(("input_ids", "attention_mask"), (1, TOKENS))
    source = float_model(with_input_shapes(load_model(files.model), shapes))
    known = [load_arrays(file) for file in sorted(files.calibration.glob("*.npz"))]
    recipe = Recipe(weights=recipe_for(source, TARGETS).weights) if weights else None
    model = quantize(source, list(_fitted(known)), targets=TARGETS, recipe=recipe)
    judged = tuple(_fitted(list(itertools.islice(files.feeds(), 2))))
    return Case(name, model, judged, exact=False, note="Its sums of real numbers have another order.")


def _fitted(feeds: Sequence[Feeds]) -> Iterator[Feeds]:
    for feed in feeds:
        rows = {name: array[:1, :TOKENS].astype(np.int64) for name, array in feed.items()}
        yield {name: np.pad(array, ((0, 0), (0, TOKENS - array.shape[1]))) for name, array in rows.items()}


NETWORKS: dict[str, Callable[[], Case]] = {
    "efficientnet96": lambda: _efficientnet("efficientnet96"),
    "efficientnet": lambda: _efficientnet("efficientnet224"),
    "minilm": _minilm,
    "minilm-weights": lambda: _minilm("MiniLM, weights alone", weights=True),
}
"""Name → the network; the first is the quickest."""
