"""How far a quantized model's outputs are from the float model's: noise, signal, agreement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import QuantizedModel
from deepseek_core.errors import ConfigError

__all__ = ["Fidelity", "decibels", "fidelity", "float_outputs"]

Tensors = Mapping[str, NDArray[Any]]

_KINDS = frozenset(("float32", "float16", "bfloat16", "float64"))


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Outputs compared with those of the float model.

    Attributes:
        noise: energy of the error over energy of the signal, each summed over all samples; the mean over the outputs.
        samples: the same for each sample by itself.
        agreement: share of positions whose largest element along the last axis is the same one; 1.0 where no output
            has such an axis.
    """

    noise: float
    samples: tuple[float, ...]
    agreement: float

    @property
    def sqnr(self) -> float:
        """Signal to noise in dB."""
        return decibels(self.noise)


def decibels(noise: float) -> float:
    """Signal to noise in dB for noise relative to the signal: infinite for none."""
    return -10 * math.log10(noise) if noise > 0 else math.inf


def float_outputs(model: QuantizedModel) -> tuple[str, ...]:
    """Names of the outputs that hold real numbers.

    Raises:
        ConfigError: there is none, so that noise has no meaning.
    """
    found = tuple(info.name for info in model.outputs if info.dtype in _KINDS)
    if not found:
        raise ConfigError(
            "the model has no float output to compare", fix="search on the network as far as its last float tensor"
        )
    return found


def fidelity(pairs: Iterable[tuple[Tensors, Tensors]], names: Sequence[str]) -> Fidelity:
    """Compare outputs sample by sample.

    Args:
        pairs: outputs of the float model and of the other, for each sample.
        names: the outputs that count.
    """
    energies, hits, positions = [], 0, 0
    for wanted, got in pairs:
        energies.append([_energies(wanted[name], got[name]) for name in names])
        for name in names:
            same = _same_winner(wanted[name], got[name])
            hits, positions = hits + int(same.sum()), positions + same.size
    table = np.asarray(energies, np.float64).reshape(-1, len(names), 2)
    each = tuple(float(_ratios(sample).mean()) for sample in table)
    whole = float(_ratios(table.sum(axis=0)).mean()) if each else math.inf
    return Fidelity(whole, each, hits / positions if positions else 1.0)


def _energies(wanted: NDArray[Any], got: NDArray[Any]) -> tuple[float, float]:
    """(signal, noise); another shape, or a value that stopped being finite, is infinite noise."""
    if wanted.shape != got.shape:
        return 1.0, math.inf
    real, other = wanted.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(real)
    with np.errstate(invalid="ignore"):
        noise = float(np.square(other[finite] - real[finite]).sum())
    return float(np.square(real[finite]).sum()), noise if math.isfinite(noise) else math.inf


def _ratios(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise over signal of rows (signal, noise); noise without a signal counts as it is, up to 1."""
    signal, noise = energies[:, 0], energies[:, 1]
    return np.where(signal > 0, noise / np.where(signal > 0, signal, 1.0), np.minimum(noise, 1.0))


def _same_winner(wanted: NDArray[Any], got: NDArray[Any]) -> NDArray[np.bool_]:
    if wanted.ndim == 0 or wanted.shape[-1] < 2 or wanted.size == 0:
        return np.ones(0, bool)
    if wanted.shape != got.shape:
        return np.zeros(wanted.shape[:-1], bool)
    return np.asarray(wanted.argmax(axis=-1) == got.argmax(axis=-1))
