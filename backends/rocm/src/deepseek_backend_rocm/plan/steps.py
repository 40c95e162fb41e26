"""Steps: kernels in order with their tensors and numbers, before a GPU, its tiles and places in memory are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_rocm.program import ALIGNMENT

__all__ = ["Buffer", "Constant", "Constants", "Memory", "Place", "Plan", "Step"]


@dataclass(eq=False, slots=True)
class Buffer:
    """A piece of the arena.

    Attributes:
        bytes: its size.
        place: offset in the arena, once memory is planned.
    """

    bytes: int
    place: int = -1


@dataclass(frozen=True, slots=True)
class Constant:
    """A piece of the constants."""

    place: int
    bytes: int


Memory = Buffer | Constant
"""Where an argument lies."""


@dataclass(eq=False, slots=True)
class Step:
    """One kernel.

    Attributes:
        kernel: name in `signatures.SIGNATURES`.
        memory: what it reads and writes, by the argument's name.
        values: numbers by the argument's name.
        constants: what every variant that may run it has in common, by name.
        types: element types of pointers whose type is open.
        batch: programs along the third axis of the grid.
        unit: the unit it was lowered from, for people.
        macs: multiply-accumulates of products of two matrices.
    """

    kernel: str
    memory: dict[str, Memory]
    values: dict[str, int | float]
    constants: dict[str, int | bool | str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    batch: int = 1
    unit: str = ""
    macs: int = 0

    def buffers(self) -> list[Buffer]:
        """Pieces of the arena that it touches."""
        return [piece for piece in self.memory.values() if isinstance(piece, Buffer)]

    def integer(self, name: str) -> int:
        """An integer among the values."""
        return int(self.values[name])


@dataclass(frozen=True, slots=True)
class Place:
    """An input or output of a plan, in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: Buffer


class Constants:
    """Constants of a plan, equal ones once, each at a multiple of `ALIGNMENT`."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._known: dict[bytes, Constant] = {}

    def add(self, array: NDArray[Any]) -> Constant:
        """Keep an array."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self._known:
            self._data.extend(bytes(-len(self._data) % ALIGNMENT))
            self._known[data] = Constant(len(self._data), len(data))
            self._data.extend(data)
        return self._known[data]

    def data(self) -> bytes:
        """All of them."""
        return bytes(self._data)


@dataclass(slots=True)
class Plan:
    """A part before a GPU is chosen.

    Attributes:
        inputs, outputs: in the model's order.
        steps: in execution order; every buffer has its place.
        constants: all constants.
        arena: bytes.
        bound: most bytes that are alive at once: no memory plan goes below.
    """

    inputs: Sequence[Place]
    outputs: Sequence[Place]
    steps: Sequence[Step]
    constants: bytes
    arena: int
    bound: int

    @property
    def report(self) -> Mapping[str, Any]:
        """Sizes, for people."""
        return {
            "arena_bytes": self.arena,
            "arena_lower_bound": self.bound,
            "constant_bytes": len(self.constants),
            "launches": len(self.steps),
        }
