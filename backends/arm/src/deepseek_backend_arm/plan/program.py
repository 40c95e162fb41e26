"""A program: kernels in order, tensors that lie in memory, constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.plan.abi import KERNELS, NOWHERE, RANK, Value, kernel_ids
from deepseek_backend_arm.plan.linked import Linked

__all__ = ["ALIGNMENT", "TYPES", "Buffer", "Constants", "Memory", "Port", "Program", "Step"]

ALIGNMENT = 64
TYPES = ("float32", "int8", "uint8", "int32", "int64", "bool", "float16")
"""Element types of inputs and outputs; the position is `ds_type` in the runtime."""


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
    """A piece of the constants, by its offset."""

    place: int


Memory = Buffer | Constant | None
"""Where an argument lies; None for one that is left out."""


@dataclass(eq=False, slots=True)
class Step:
    """One kernel.

    Attributes:
        kernel: name in `abi.KERNELS`.
        memory: what it reads and writes, by the argument's name.
        values: numbers by the argument's name.
        unit: the unit it was lowered from, for people.
        scratch: bytes of scratch that each thread needs.
    """

    kernel: str
    memory: dict[str, Memory]
    values: dict[str, Value]
    unit: str = ""
    scratch: int = 0

    def buffers(self) -> list[Buffer]:
        """Pieces of the arena that it touches."""
        return [piece for piece in self.memory.values() if isinstance(piece, Buffer)]

    def arguments(self) -> dict[str, Value]:
        """Every argument as the kernel gets it, once memory is planned."""
        return {**{name: _place(piece) for name, piece in self.memory.items()}, **self.values}

    def encode(self) -> bytes:
        """Number of the kernel and the words of its arguments."""
        return kernel_ids()[self.kernel].to_bytes(4, "little") + KERNELS[self.kernel].encode(self.arguments())


def _place(piece: Memory) -> int:
    if piece is None:
        return NOWHERE
    return piece.place | 1 if isinstance(piece, Constant) else piece.place


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a program, in C order.

    Attributes:
        name: as the model has it.
        dtype: in `TYPES`.
        shape: all sizes known, at most `RANK`.
        buffer: where it lies.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffer: Buffer

    def __post_init__(self) -> None:
        assert len(self.shape) <= RANK


class Constants:
    """Constants of a program, equal ones once, each at a multiple of `ALIGNMENT`."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._known: dict[tuple[bytes, bool, bool], Constant] = {}
        self.packs: list[tuple[int, int]] = []

    def add(self, array: NDArray[Any], *, packed: bool = False, by_dot: bool = False) -> Constant:
        """Keep an array; `packed` ones are weights that the runtime orders for its CPU, or at most for sdot."""
        data = np.ascontiguousarray(array).tobytes()
        key = (data, packed, by_dot)
        if key not in self._known:
            self._data.extend(bytes(-len(self._data) % ALIGNMENT))
            self._known[key] = Constant(len(self._data))
            if packed:
                self.packs.append((len(self._data) | int(by_dot), len(data)))
            self._data.extend(data)
        return self._known[key]

    def data(self) -> bytes:
        """All of them."""
        return bytes(self._data)


@dataclass(slots=True)
class Program:
    """What the runtime runs.

    Attributes:
        inputs, outputs: in the model's order.
        steps: in execution order.
        constants: all constants.
        packs: offset and size of the weights of matrix products in the constants, as `ds_pack` of the runtime.
        arena, scratch: bytes; scratch is that of one thread.
        report: memory plan and kernels, plain JSON for people.
        linked: what another compiler made.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    steps: Sequence[Step]
    constants: bytes
    packs: Sequence[tuple[int, int]]
    arena: int = 0
    scratch: int = 0
    report: Mapping[str, object] = field(default_factory=dict)
    linked: Linked = field(default_factory=Linked)
