"""What is outstanding: results that loads have not delivered, and what a wait makes sure of.

Hardware counts memory operations; a program waits until at most n of a kind are outstanding. Results of one kind come
in order, but for scalar loads, of which nothing is known until none is outstanding (CDNA 3 ISA 4.4, RDNA 3 ISA 5.7,
"Manually Inserted Wait States").

While all waves have issued the same, counts are plain integers; after waves have parted, arrays [W].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.arrays import Array

__all__ = ["LOAD", "LOCAL", "SCALAR", "STORE", "Scoreboard"]

Count = Any
"""int, or int64 [W]."""
LOAD, STORE, LOCAL, SCALAR = "load", "store", "local", "scalar"
"""Kinds of memory operations. `STORE` counts as `LOAD` where the architecture has one counter for both."""


class Scoreboard:
    """Outstanding operations of each kind."""

    def __init__(self, architecture: Architecture, waves: int) -> None:
        self._waves = waves
        self._split = architecture.split_counters
        self._separate_stores = architecture.separate_stores
        self._issued: dict[str, Count] = {LOAD: 0, STORE: 0, LOCAL: 0, SCALAR: 0}
        self._done: dict[str, Count] = dict(self._issued)
        self.pending: dict[int, tuple[str, Count]] = {}
        """Register → kind and number of the operation that will write it."""
        self._local_accesses: Count = 0

    def issue(self, kind: str, registers: Iterable[int], active: Array, every: bool) -> None:
        """An operation starts that will write these registers."""
        if kind == STORE and not self._separate_stores:
            kind = LOAD
        before = self._issued[kind]
        number = before + 1 if every else before + active
        self._issued[kind] = number
        for register in registers:
            mine = number
            if not every:
                was = self.pending.get(register)
                mine = np.where(active, number, was[1] if was is not None and was[0] == kind else 0)
            self.pending[register] = kind, mine

    def local_access(self) -> None:
        """The last operation of LDS touched its memory."""
        self._local_accesses = self._issued[LOCAL]

    def local_is_done(self, active: Array) -> bool:
        """Whether every access of these waves to the memory of LDS has been waited for."""
        return bool(np.all(np.broadcast_to(self._local_accesses <= self._done[LOCAL], self._waves)[active]))

    def wait(self, kind: str, most: int, active: Array, every: bool) -> None:
        """Wait until at most so many operations of a kind are outstanding."""
        if kind == SCALAR and most:
            return  # they come in any order
        done, wanted = self._done[kind], self._issued[kind] - most
        if every and isinstance(done, int) and isinstance(wanted, int):
            done = max(done, wanted)
        else:
            done = np.where(active, np.maximum(done, wanted), done)
        self._done[kind] = done
        finished = [
            register for register, (its, number) in self.pending.items() if its == kind and _all(number <= done)
        ]
        for register in finished:
            del self.pending[register]
        if every and not most and not any(its == kind for its, _ in self.pending.values()):
            self._issued[kind] = self._done[kind] = 0
            if kind == LOCAL:
                self._local_accesses = 0

    def outstanding(self, register: int, active: Array) -> bool:
        """Whether an active wave has not waited for a register that is pending."""
        kind, number = self.pending[register]
        late = np.broadcast_to(number > self._done[kind], self._waves)
        return bool((late & active).any())


def _all(values: Any) -> bool:
    return values if isinstance(values, bool) else bool(values.all())
