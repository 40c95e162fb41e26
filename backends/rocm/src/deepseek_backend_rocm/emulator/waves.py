"""The state of the waves that run in step: registers, masks and counters, vectorised over waves and lanes."""

from __future__ import annotations

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.local import LocalMemory
from deepseek_backend_rocm.emulator.memory import Memory
from deepseek_backend_rocm.emulator.operands import EXEC
from deepseek_backend_rocm.emulator.scoreboard import Scoreboard

__all__ = ["SCALARS", "Waves"]

SCALARS = 128
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class Waves:
    """Some workgroups' waves, W of them with L lanes each.

    Every instruction is done for all waves whose program counter is there, the active ones; what it writes is masked
    by those, and for vector registers by each wave's EXEC.

    Attributes:
        v, vi, vf: vector registers as uint32, int32 and float32, each [W, L]. AGPRs follow at `accumulator`.
        s, si, sf: scalar registers, each [W].
        s64: pairs of scalar registers as uint64, each [W].
        scc: [W], bool.
        mask: lanes that an instruction writes, [W, L]; `full` tells that they are all.
        active: waves that an instruction is done for, [W]; `every` tells that they are all.
    """

    def __init__(
        self,
        architecture: Architecture,
        waves: int,
        registers: tuple[int, int],
        memories: tuple[Memory, LocalMemory],
        *,
        poison: int,
    ) -> None:
        lanes, (vectors, accumulators) = architecture.wave, registers
        self.architecture, (self.memory, self.local) = architecture, memories
        self.count, self.lanes = waves, lanes
        self.accumulator = 256
        file = np.full((vectors + accumulators, waves, lanes), poison, np.uint32)
        gap: list[Array] = [file[:0, 0]] * (self.accumulator - vectors)
        self.v = [*file[:vectors], *gap, *file[vectors:]]
        self.vi = [register.view(np.int32) for register in self.v]
        self.vf = [register.view(np.float32) for register in self.v]
        self.s64 = np.full((SCALARS // 2, waves), poison | poison << 32, np.uint64)
        halves = self.s64.view(np.uint32).reshape(SCALARS // 2, waves, 2)
        self.s = [halves[i // 2, :, i % 2] for i in range(SCALARS)]
        self.si = [register.view(np.int32) for register in self.s]
        self.sf = [register.view(np.float32) for register in self.s]
        self.scc = np.zeros(waves, np.bool_)
        self.active, self.every = np.ones(waves, np.bool_), True
        self.board = Scoreboard(architecture, waves)
        self._masks: dict[int, Array] = {}
        self.s64[EXEC // 2] = _ALL if lanes == 64 else _ALL >> np.uint64(32)
        self.mask, self.full = np.ones((waves, lanes), np.bool_), True

    def activate(self, active: Array, every: bool) -> None:
        """Do what follows for these waves."""
        self.active, self.every = active, every
        self._refresh()

    def _refresh(self) -> None:
        executed = self.lanes_of(EXEC)
        self.mask = executed if self.every else executed & self.active[:, None]
        self.full = bool(self.mask.all())

    def lanes_of(self, index: int) -> Array:
        """A mask in scalar registers, [W, L]; not to be changed."""
        found = self._masks.get(index)
        if found is None:
            packed = self.s64[index // 2].view(np.uint8) if self.lanes == 64 else self.s[index].copy().view(np.uint8)
            bits = np.unpackbits(packed.reshape(self.count, self.lanes // 8), axis=1, bitorder="little")
            found = self._masks[index] = bits.view(np.bool_)
        return found

    def write_lanes(self, index: int, lanes: Array) -> None:
        """Put a mask into scalar registers, 0 for what is not executed, [W, L]."""
        lanes = lanes if self.full else lanes & self.mask
        packed = np.packbits(lanes, axis=1, bitorder="little")
        if self.lanes == 64:
            self.write_s64(index, packed.view(np.uint64)[:, 0])
        else:
            self.write_s(index, packed.view(np.uint32)[:, 0])
        if self.every:
            self._masks[index] = np.broadcast_to(lanes, self.mask.shape)

    def write_s(self, index: int, bits: Array) -> None:
        """Write a scalar register of the active waves, uint32 [W]."""
        if self.every:
            self.s[index][:] = bits
        else:
            np.copyto(self.s[index], bits, where=self.active)
        self._changed(index & ~1 if self.lanes == 64 else index)

    def write_s64(self, index: int, bits: Array) -> None:
        """Write a pair of scalar registers of the active waves, uint64 [W]."""
        if self.every:
            self.s64[index // 2] = bits
        else:
            np.copyto(self.s64[index // 2], bits, where=self.active)
        self._changed(index)
        if self.lanes == 32:
            self._changed(index + 1)

    def _changed(self, index: int) -> None:
        self._masks.pop(index, None)
        if index == EXEC:
            self._refresh()

    def write_scc(self, bits: Array) -> None:
        """Write the scalar condition of the active waves, bool [W]."""
        if self.every:
            self.scc[:] = bits
        else:
            np.copyto(self.scc, bits, where=self.active)

    def write_v(self, index: int, bits: Array) -> None:
        """Write a vector register where it is executed, uint32 [W, L]."""
        if self.full:
            self.v[index][:] = bits
        else:
            np.copyto(self.v[index], bits, where=self.mask)

    def write_vf(self, index: int, values: Array) -> None:
        """Write a vector register where it is executed, float32 [W, L]."""
        if self.full:
            self.vf[index][:] = values
        else:
            np.copyto(self.vf[index], values, where=self.mask)

    def write_vi(self, index: int, values: Array) -> None:
        """Write a vector register where it is executed, int32 [W, L]."""
        if self.full:
            self.vi[index][:] = values
        else:
            np.copyto(self.vi[index], values, where=self.mask)
