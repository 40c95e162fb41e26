"""Placement as pure optimisation: arrays of costs over a graph of units, no model and no backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import ConfigError, PlacementError

__all__ = ["Group", "Objective", "PartitionProblem", "Tensors"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Objective(StrEnum):
    """What a placement minimises, given its parts in execution order.

    Members:
        LATENCY: makespan of one inference. Each device runs its parts one after the other in execution order; a
            part starts when its device is free and all it reads has arrived, and gives its results when it ends.
            Transfers start when their source ends, and do not hinder each other: the machine model of HEFT
            (Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002).
        ADDITIVE: sum of all unit costs, launches and transfers: latency where nothing overlaps. The objective of
            Stone's assignment problem (IEEE TSE 3(1), 1977), with launches added.
        THROUGHPUT: seconds per inference of a pipelined stream: the busiest device (its units and launches) or
            link (its transfers, one ordered pair of devices), whichever takes longer.
        ENERGY: sum of the joules of units and transfers.
    """

    LATENCY = "latency"
    ADDITIVE = "additive"
    THROUGHPUT = "throughput"
    ENERGY = "energy"


@dataclass(frozen=True, eq=False)
class Tensors:
    """What units give each other.

    Attributes:
        producer: int64 [tensors], the unit that makes each.
        bytes: float64 [tensors].
        reader: int64 [pins], units that read, tensor after tensor; each unit once a tensor, never the producer.
        start: int64 [tensors + 1], where each tensor's readers begin in `reader`; none is without readers.
    """

    producer: Integers
    bytes: Floats
    reader: Integers
    start: Integers

    @classmethod
    def of(cls, entries: Sequence[tuple[int, Sequence[int], float]]) -> Tensors:
        """From `(producer, readers, bytes)`; what nobody else reads is left out."""
        kept = [(p, sorted({*readers} - {p}), size) for p, readers, size in entries]
        kept = [entry for entry in kept if entry[1]]
        return cls(
            np.array([p for p, _, _ in kept], np.int64),
            np.array([size for _, _, size in kept], np.float64),
            np.array([r for _, readers, _ in kept for r in readers], np.int64),
            np.concatenate(([0], np.cumsum([len(readers) for _, readers, _ in kept]))).astype(np.int64),
        )

    @cached_property
    def tensor(self) -> Integers:
        """int64 [pins]: the tensor that each entry of `reader` is about."""
        return np.repeat(np.arange(len(self.producer)), np.diff(self.start))

    @cached_property
    def source(self) -> Integers:
        """int64 [pins]: the unit that makes what each entry of `reader` reads."""
        return self.producer[self.tensor]

    def __len__(self) -> int:
        return len(self.producer)


@dataclass(frozen=True, slots=True)
class Group:
    """Units that run in one part, or, with a device, that run in one part of that device or not there at all."""

    units: tuple[int, ...]
    device: int | None = None


@dataclass(frozen=True, eq=False)
class PartitionProblem:
    """Units in topological order, devices, and what everything costs.

    Attributes:
        cost: float64 [units, devices], seconds; inf where a device refuses a unit.
        launch: float64 [devices], seconds that a part takes beside its units.
        tensors: the edges; a tensor read by several units of another device is moved there once.
        latency: float64 [devices, devices], seconds a transfer takes beside its bytes; the diagonal is not used.
        second_per_byte: float64 [devices, devices]; inf would forbid a link and is refused.
        groups: units that must stay together.
        pins: unit → the only device it may have.
        max_parts: most parts, None for any number.
        footprint: float64 [units], bytes of constants and code that a unit brings to its device; default zero.
        memory: float64 [devices], most bytes of footprint; default inf.
        joules: float64 [units, devices], None where energy is not known.
        joule_per_byte: float64 [devices, devices], default zero.
        names: of the units, for messages.
        devices: names of the devices, for messages.

    Raises:
        ConfigError: arrays do not fit each other, or units are not in topological order.
        PlacementError: a cost is negative or NaN, a pin meets a refusal, or a unit is refused by all.
    """

    cost: Floats
    launch: Floats
    tensors: Tensors
    latency: Floats
    second_per_byte: Floats
    groups: tuple[Group, ...] = ()
    pins: dict[int, int] = field(default_factory=dict)
    max_parts: int | None = None
    footprint: Floats | None = None
    memory: Floats | None = None
    joules: Floats | None = None
    joule_per_byte: Floats | None = None
    names: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        units, devices = self.cost.shape
        object.__setattr__(self, "names", self.names or tuple(f"unit {i}" for i in range(units)))
        object.__setattr__(self, "devices", self.devices or tuple(f"device {i}" for i in range(devices)))
        _check_shapes(self)
        _check_numbers(self)
        _check_pins(self)

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.cost)

    @cached_property
    def allowed(self) -> Floats:
        """`cost` with inf where a pin forbids a device as well."""
        cost = self.cost.copy()
        for unit, device in self.pins.items():
            kept = cost[unit, device]
            cost[unit] = np.inf
            cost[unit, device] = kept
        return cost

    @cached_property
    def transfer(self) -> Floats:
        """float64 [tensors, devices, devices]: seconds from row to column; zero on the diagonal."""
        seconds = self.latency + self.tensors.bytes[:, None, None] * self.second_per_byte
        seconds[:, np.arange(len(self.launch)), np.arange(len(self.launch))] = 0.0
        return np.asarray(seconds)

    @cached_property
    def successors(self) -> list[list[int]]:
        """Per unit, the units that read from it, each once, ascending."""
        return _neighbours(self.tensors.source, self.tensors.reader, self.size)

    @cached_property
    def predecessors(self) -> list[list[int]]:
        """Per unit, the units that it reads from, each once, ascending."""
        return _neighbours(self.tensors.reader, self.tensors.source, self.size)

    def as_energy(self) -> PartitionProblem:
        """The problem whose additive objective is this one's energy.

        Raises:
            PlacementError: energy is not known.
        """
        if self.joules is None:
            raise PlacementError(
                "no target tells the energy of its units", fix="choose another objective, for example latency"
            )
        none = np.zeros_like(self.latency)
        per_byte = none if self.joule_per_byte is None else self.joule_per_byte
        energy = np.where(np.isfinite(self.cost), self.joules, np.inf)
        return replace(self, cost=energy, launch=np.zeros_like(self.launch), latency=none, second_per_byte=per_byte)


def _neighbours(key: Integers, other: Integers, size: int) -> list[list[int]]:
    pairs = np.unique(key * size + other) if size else key
    bounds = np.searchsorted(pairs, np.arange(size + 1) * size)
    flat = (pairs % max(size, 1)).tolist()
    edges = bounds.tolist()
    return [flat[edges[i] : edges[i + 1]] for i in range(size)]


def _check_shapes(problem: PartitionProblem) -> None:
    units, devices = problem.cost.shape
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "launch": (problem.launch, (devices,)),
        "latency": (problem.latency, (devices, devices)),
        "second_per_byte": (problem.second_per_byte, (devices, devices)),
        "footprint": (problem.footprint, (units,)),
        "memory": (problem.memory, (devices,)),
        "joules": (problem.joules, (units, devices)),
        "joule_per_byte": (problem.joule_per_byte, (devices, devices)),
    }
    for name, (array, shape) in wanted.items():
        if array is not None and array.shape != shape:
            raise ConfigError(f"{name} has shape {array.shape}, not {shape}", fix="give one entry a unit and device")
    if (len(problem.names), len(problem.devices)) != (units, devices) or devices == 0:
        raise ConfigError("there must be a device, and a name for each unit and device", fix="give them, or no names")
    if problem.max_parts is not None and problem.max_parts < 1:
        raise ConfigError(f"at most {problem.max_parts} parts hold no model", fix="allow one part or more")
    ends = np.concatenate((problem.tensors.source, problem.tensors.reader))
    if ends.size and (
        ends.min() < 0 or ends.max() >= units or (problem.tensors.source >= problem.tensors.reader).any()
    ):
        raise ConfigError("units are not in topological order", fix="sort them so that producers come first")


def _check_numbers(problem: PartitionProblem) -> None:
    bad = ~(problem.cost >= 0)
    if bad.any():
        unit, device = np.argwhere(bad)[0]
        raise PlacementError(
            f"'{problem.names[unit]}' costs {problem.cost[unit, device]:g} s on {problem.devices[device]}",
            fix="give a cost that is not negative, or inf to refuse the unit",
        )
    others = (problem.launch, problem.latency, problem.second_per_byte, problem.tensors.bytes)
    if not all(np.isfinite(array).all() and (array >= 0).all() for array in others):
        raise PlacementError(
            "a launch, transfer or tensor size is negative or not finite", fix="give finite, non-negative figures"
        )
    if problem.joules is not None and not (problem.joules[np.isfinite(problem.cost)] >= 0).all():
        raise PlacementError("an energy is negative or NaN", fix="give joules that are not negative, or none at all")


def _check_pins(problem: PartitionProblem) -> None:
    for unit, device in problem.pins.items():
        if not np.isfinite(problem.cost[unit, device]):
            raise PlacementError(
                f"'{problem.names[unit]}' is pinned to {problem.devices[device]}, which refuses it", fix="move the pin"
            )
    nowhere = np.flatnonzero(~np.isfinite(problem.allowed).any(axis=1))
    if nowhere.size:
        raise PlacementError(f"'{problem.names[nowhere[0]]}' runs on no chosen target", fix="add a target that runs it")
