"""Data-parallel primitives: a source operand taken from other lanes (CDNA 3 ISA 13.5.6; RDNA 3 ISA 7.7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.disassembly import Instruction, Modifiers
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["Permutation", "permutation"]

_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Permutation:
    """Where each lane's source comes from.

    Attributes:
        lanes: source lane, or -1 for none, as a function of a wave's lanes.
        rows, banks: masks of the rows of 16 and the groups of 4 lanes of each row that are written.
        zero: whether a lane without a source reads 0, and is written.
        inactive: whether lanes that do not execute are sources.
    """

    lanes: Callable[[Array], Array]
    rows: int
    banks: int
    zero: bool
    inactive: bool

    @property
    def keeps(self) -> bool:
        """Whether a lane that executes may keep what the target held."""
        return not self.zero or self.rows != 15 or self.banks != 15

    def read(self, waves: Waves, bits: Array) -> Array:
        """Values of each lane's source."""
        lane = np.arange(waves.lanes)
        source = self.lanes(lane)
        bits = np.broadcast_to(bits, waves.mask.shape)
        return np.where(self._valid(waves, source), bits[:, np.maximum(source, 0)], np.uint32(0))

    def writes(self, waves: Waves) -> Array:
        """Lanes that are written, [W, L] or [1, L]."""
        lane = np.arange(waves.lanes)
        chosen = (self.rows >> (lane // 16) & 1) & (self.banks >> (lane // 4 % 4) & 1) == 1
        written: Array = chosen[None] if self.zero else chosen & self._valid(waves, self.lanes(lane))
        return written

    def _valid(self, waves: Waves, source: Array) -> Array:
        inside: Array = (source != _OUTSIDE)[None]
        if self.inactive or waves.full:
            return inside
        executed: Array = waves.mask[:, np.maximum(source, 0)]
        return inside & executed


def permutation(inst: Instruction) -> Permutation:
    """The permutation that an instruction's modifiers name."""
    modifiers = inst.modifiers
    rows, banks = modifiers.number("row_mask", 15), modifiers.number("bank_mask", 15)
    zero, inactive = modifiers.flag("bound_ctrl"), modifiers.number("fi") == 1
    return Permutation(_lanes(modifiers, inst), rows, banks, zero, inactive)


def _lanes(modifiers: Modifiers, inst: Instruction) -> Callable[[Array], Array]:
    if modifiers.flag("dpp8"):
        order = np.array(modifiers.numbers("dpp8"))
        return lambda lane: lane & ~7 | order[lane & 7]
    if modifiers.flag("quad_perm"):
        order = np.array(modifiers.numbers("quad_perm"))
        return lambda lane: lane & ~3 | order[lane & 3]
    for name, function in _SHIFTS.items():
        if modifiers.flag(name):
            distance = modifiers.number(name)
            return lambda lane: function(lane, distance)
    raise CodeError(f"'{inst.text}' moves lanes in a way that is not emulated", fix="report it, with the kernel")


def _inside(source: Array, valid: Array) -> Array:
    return np.where(valid, source, _OUTSIDE)


_SHIFTS: dict[str, Callable[[Array, int], Array]] = {
    "row_shl": lambda lane, n: _inside(lane + n, (lane & 15) + n < 16),
    "row_shr": lambda lane, n: _inside(lane - n, (lane & 15) >= n),
    "row_ror": lambda lane, n: lane & ~15 | (lane - n & 15),
    "row_mirror": lambda lane, _: lane ^ 15,
    "row_half_mirror": lambda lane, _: lane ^ 7,
    "row_share": lambda lane, n: lane & ~15 | n,
    "row_newbcast": lambda lane, n: lane & ~15 | n,
    "row_xmask": lambda lane, n: lane ^ n,
    "row_bcast": lambda lane, n: (
        _inside((lane & ~n) - 1, lane > n) if n == 31 else _inside((lane & ~15) - 1, lane > 15)
    ),
    "wave_shr": lambda lane, _: lane - 1,
    "wave_shl": lambda lane, _: _inside(lane + 1, lane + 1 < len(lane)),
    "wave_ror": lambda lane, _: (lane - 1) % len(lane),
    "wave_rol": lambda lane, _: (lane + 1) % len(lane),
}
