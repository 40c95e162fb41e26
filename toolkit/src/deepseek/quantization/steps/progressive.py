"""Quantize from the last unit to the first, each stage making up for the error so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek.quantization.grams.biases import add_missing, change_bias
from deepseek.quantization.grams.sites import Site, sites_of
from deepseek.quantization.search.compensation import Direction, Equations, directions, flat
from deepseek.quantization.search.fidelity import float_outputs
from deepseek.quantization.search.sensitivity.noise import Disturbed
from deepseek.quantization.work import Work
from deepseek_core import Feeds, QuantizedModel, Unit
from deepseek_core.errors import ConfigError

__all__ = ["Progressive"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Progressive:
    """Quantize the network in stages, the last units first, and compensate each stage's error in its biases.

    A stage quantizes its units while all before them are in float and all behind them are as the stages so far left
    them. Two things are then measured: the mean error of every channel that the stage's units make, and what shifting
    the biases against it does to the outputs of the network, through the quantized units behind. The shifts that
    leave the least error at the outputs solve a small linear least-squares problem (one Gauss–Newton step); how far
    they are trusted is settled by leaving samples out one by one, so that a stage that cannot be helped is left alone.

    Attributes:
        stages: how many; 1 quantizes everything at once, and compensates then.
        directions: shifts of each unit's biases: its channels are divided by the size of their error.
        samples: calibration samples that the shifts are fitted on, spread evenly.
    """

    stages: int = 4
    directions: int = 2
    samples: int = 8

    def __post_init__(self) -> None:
        if min(self.stages, self.directions, self.samples) < 1:
            raise ConfigError("progressive with a count below 1", fix="give stages, directions and samples from 1 up")

    def __call__(self, work: Work) -> Work:
        work = work.calibrated()
        work = replace(work, model=_with_biases(work))
        stages = _stages(_shiftable(work), self.stages)
        chosen = list(islice(islice(work.samples, 0, None, max(1, len(work.samples) // self.samples)), self.samples))
        current = work
        for number, units in enumerate(reversed(stages)):
            work.progress(f"progressive, stage {number + 1} of {len(stages)}", number / len(stages))
            current = self._compensated(work, current, units, chosen)
        return current

    def _compensated(self, origin: Work, current: Work, units: Sequence[Unit], samples: Sequence[Feeds]) -> Work:
        """The work after one stage."""
        before = _before(current.model, units[0].name)
        model = replace(
            current, kept={**current.kept, **dict.fromkeys(before, "quantized by a later stage")}
        ).quantized()
        found = [
            direction
            for name, error in _mean_errors(origin, model, units, samples).items()
            for direction in directions(name, error, self.directions)
        ]
        if not found:
            return current
        shares = _fitted(origin, model, found, {unit.name: unit for unit in units}, samples)
        return _shifted(current, found, shares)


def _with_biases(work: Work) -> QuantizedModel:
    """A copy of the model in which every unit that can have a bias has one."""
    model = work.model.clone()
    keys = work.recipe().weights
    for unit in model.units():
        add_missing(model, sites_of([unit], keys))
    return model


def _site(unit: Unit, keys: Collection[tuple[str, int]]) -> Site | None:
    """The unit as a place of weights; None where it has no bias that could change."""
    return next((site for site in sites_of([unit], keys) if site.bias is not None), None)


def _shiftable(work: Work) -> list[Unit]:
    """Units whose biases can change, in topological order."""
    keys = work.recipe().weights
    return [unit for unit in work.model.units() if _site(unit, keys) is not None]


def _stages(units: Sequence[Unit], count: int) -> list[list[Unit]]:
    """Units in groups of about equal size; in the order of the network."""
    count = max(1, min(count, len(units)))
    cuts = [len(units) * number // count for number in range(count + 1)]
    return [list(units[low:high]) for low, high in pairwise(cuts) if low < high]


def _before(model: QuantizedModel, name: str) -> list[str]:
    """Compute nodes in front of a unit."""
    found: list[str] = []
    for unit in model.units():
        if unit.name == name:
            break
        found += [node.name or "" for node in (unit.node, unit.activation) if node is not None]
    return found


def _mean_errors(
    origin: Work, model: QuantizedModel, units: Sequence[Unit], samples: Sequence[Feeds]
) -> dict[str, NDArray[np.float64]]:
    """Unit → what the mean of each channel lacks, before an activation."""
    names = [unit.node.outputs[0].name or "" for unit in units]
    sums: dict[str, Any] = {unit.name: 0.0 for unit in units}
    with Runner(origin.model, names, origin.registry) as real, Runner(model, names, origin.registry) as rounded:
        for sample in samples:
            wanted, got = real(sample), rounded(sample)
            for unit, name in zip(units, names, strict=True):
                sums[unit.name] += _by_channel(unit, wanted[name].astype(np.float64) - got[name]) / len(samples)
    return sums


def _by_channel(unit: Unit, array: Array) -> NDArray[np.float64]:
    axis = _axis(unit, array.ndim)
    return np.asarray(array.mean(axis=tuple(i for i in range(array.ndim) if i != axis)))


def _axis(unit: Unit, rank: int) -> int:
    return 1 if unit.op in ("Conv", "ConvTranspose") else rank - 1


def _fitted(
    origin: Work,
    model: QuantizedModel,
    found: Sequence[Direction],
    units: Mapping[str, Unit],
    samples: Sequence[Feeds],
) -> NDArray[np.float64]:
    """Share of each direction."""
    outputs = float_outputs(origin.origin)
    equations = Equations(len(found))
    values = {name: unit.node.outputs[0] for name, unit in units.items()}
    places = [values[direction.unit].name or "" for direction in found]
    with Runner(origin.origin, registry=origin.registry) as real, Disturbed(model, places, origin.registry) as rounded:
        for sample in samples:
            wanted, now = flat(real(sample), outputs), flat(rounded.begin(sample), outputs)
            effects = []
            for direction, place in zip(found, places, strict=True):
                unit = units[direction.unit]
                rank = len(values[direction.unit].shape or (0, 0))
                shape = [-1 if i == _axis(unit, rank) else 1 for i in range(rank)]
                shift = direction.shift.reshape(shape).astype(np.float32)
                effects.append(flat(rounded.outputs({place: shift}), outputs) - now)
            equations.add(wanted - now, effects)
    return equations.shares()


def _shifted(work: Work, found: Sequence[Direction], shares: NDArray[np.float64]) -> Work:
    """The work with biases moved; statistics stay those of the network as it was, which the result is to be like."""
    shifts: dict[str, Any] = {}
    for direction, share in zip(found, shares, strict=True):
        if share:
            shifts[direction.unit] = shifts.get(direction.unit, 0.0) + share * direction.shift
    model, keys = work.model.clone(), work.recipe().weights
    for unit in model.units():
        site = _site(unit, keys) if unit.name in shifts else None
        if site is not None and site.bias is not None:
            change_bias(model, site, site.bias.values + shifts[unit.name].reshape(site.bias.values.shape))
    return replace(work, model=model)
