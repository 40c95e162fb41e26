"""What TVM made of a unit: an object with plain functions, and the calls that compute the unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Frame

__all__ = ["BUFFER", "CONSTANT", "INPUT", "Call", "Compiled", "Slot"]

INPUT, CONSTANT, BUFFER = "input", "constant", "buffer"
_FRAME = Frame(b"DSTV", 1, "unit compiled by TVM")


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor that calls read or write, in C order.

    Attributes:
        kind: `input`, `constant` or `buffer`.
        dtype: NumPy's name of the element type.
        shape: all sizes.
        index: number of the input, or offset of the constant.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    index: int = 0

    @property
    def bytes(self) -> int:
        return np.dtype(self.dtype).itemsize * prod(self.shape)


@dataclass(frozen=True, slots=True)
class Call:
    """One function with the slots that its pointers are, in order."""

    symbol: str
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A unit.

    Attributes:
        slots: every tensor.
        calls: in execution order.
        outputs: slot of each output of the node that has a name.
        constants: bytes that slots of that kind point into.
        object: a relocatable ELF file for AArch64.
    """

    slots: tuple[Slot, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]
    constants: bytes = field(repr=False)
    object: bytes = field(repr=False)

    def constant(self, slot: Slot) -> NDArray[Any]:
        """The array of a constant slot."""
        data = self.constants[slot.index : slot.index + slot.bytes]
        return np.frombuffer(data, slot.dtype).reshape(slot.shape)

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        listing = {"slots": [asdict(slot) for slot in self.slots], "calls": [asdict(call) for call in self.calls]}
        return _FRAME.pack({**listing, "outputs": self.outputs}, (self.constants, self.object))

    @classmethod
    def decode(cls, data: bytes) -> Compiled:
        """Read what `encode` wrote.

        Raises:
            PackageError: it is something else, or damaged.
        """
        return _FRAME.unpack(data, _read)


def _read(listing: Mapping[str, Any], sections: list[bytes]) -> Compiled:
    slots = tuple(Slot(s["kind"], s["dtype"], tuple(s["shape"]), s["index"]) for s in listing["slots"])
    calls = tuple(Call(c["symbol"], tuple(c["slots"])) for c in listing["calls"])
    constants, object_ = sections
    return Compiled(slots, calls, tuple(listing["outputs"]), constants, object_)
