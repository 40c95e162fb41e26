"""The flow of waves through a kernel: which run next, where they part and meet, and what they may not touch yet.

Waves with the lowest address go first, so that those which parted meet where their paths join.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import KernelCode
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.faults import KernelFault
from deepseek_backend_rocm.emulator.isa.registry import AGPR, SGPR, Step
from deepseek_backend_rocm.emulator.waves import SCALARS, Waves

__all__ = ["Flow"]

_FAR = 1 << 30
_PARTED = -1


class Flow:
    """Waves on their way through a kernel.

    Args:
        kernel: what they execute.
        waves: their state.
        each: waves of a workgroup.
        known: registers that hold something at the start.
        budget: instructions after which they count as endless.

    Attributes:
        executed: instructions so far, counted for each wave.
    """

    def __init__(self, kernel: KernelCode, waves: Waves, each: int, known: frozenset[int], budget: int) -> None:
        self.kernel, self.waves, self.executed = kernel, waves, 0
        self._each, self._budget = each, budget
        self._place = kernel.entry
        self._places = np.full(waves.count, kernel.entry)
        self._done = np.zeros(waves.count, np.bool_)
        self._parked = np.zeros(waves.count, np.bool_)
        self._signalled = np.zeros(waves.count, np.bool_)
        vectors, accumulators = kernel.descriptor.vgprs, kernel.descriptor.agprs
        everything = (*range(vectors), *range(AGPR, AGPR + accumulators), *range(SGPR, SGPR + SCALARS))
        self._unknown: dict[int, Array | None] = {number: None for number in everything if number not in known}

    @property
    def instruction(self) -> Instruction:
        """The one that is executed."""
        return self.kernel.instructions[self._place]

    def run(self) -> None:
        """Until all waves have ended.

        Raises:
            KernelFault: they do what hardware forbids or leaves undefined, wait for each other, or do not end.
        """
        waves = self.waves
        while True:
            ready = ~(self._done | self._parked)
            if not ready.any():
                if self._done.all():
                    return
                raise KernelFault("waits at a barrier that not all waves of a workgroup reach")
            place = int(self._places[ready].min())
            active = ready & (self._places == place)
            others = self._places[ready & ~active]
            waves.activate(active, bool(active.all()))
            self._line(place, int(others.min()) if others.size else _FAR)

    def _line(self, place: int, stop: int) -> None:
        """Run the active waves until they part, wait, end, or reach others."""
        waves, steps, unknown, pending = self.waves, self.kernel.steps, self._unknown, self.waves.board.pending
        count = int(np.count_nonzero(waves.active))
        first = self.executed
        while True:
            if place >= len(steps):
                raise KernelFault("runs beyond its end")
            self._place, step = place, steps[place]
            if not unknown.keys().isdisjoint(step.reads):
                self._check_known(step)
            if pending and not (pending.keys().isdisjoint(step.reads) and pending.keys().isdisjoint(step.writes)):
                self._check_delivered(step)
            if step.control:
                place = self._control(step, place)
            else:
                step.run(waves)
                place += 1
            if not unknown.keys().isdisjoint(step.writes):
                self._learn(step.writes, waves.active, waves.every)
            self.executed += count
            if self.executed - first > self._budget * count:
                raise KernelFault(f"has not ended after {self._budget:,} instructions")
            if place == _PARTED:
                return
            if place >= stop:
                self._places[waves.active] = place
                return

    def _control(self, step: Step, place: int) -> int:
        """Where the active waves go on; or that they part."""
        waves = self.waves
        if step.control in ("branch", "skip"):
            return self._branch(step, place)
        step.run(waves)
        if step.control == "signal":
            self._signalled |= waves.active
            return place + 1
        self._places[waves.active] = place + 1
        if step.control == "end":
            self._done |= waves.active
        else:
            self._park(step)
        return self._release(place + 1)

    def _park(self, step: Step) -> None:
        active = self.waves.active
        if self.kernel.architecture.split_counters:
            if not self._signalled[active].all():
                raise KernelFault("waits at a barrier that it has not signalled")
            self._signalled[active] = False
        self._parked |= active

    def _release(self, place: int) -> int:
        """Let the workgroups go on whose waves have all come to a barrier, or ended."""
        waiting = (self._parked | self._done).reshape(-1, self._each)
        groups: Array = np.logical_and(waiting.all(1), self._parked.reshape(-1, self._each).any(1))
        if groups.any():
            self.waves.local.barrier(groups)
            self._parked &= ~np.repeat(groups, self._each)
            if self.waves.every and groups.all():
                return place
        return _PARTED

    def _branch(self, step: Step, place: int) -> int:
        waves, target = self.waves, self.kernel.targets[place]
        taken: Any = step.run(waves)
        if taken is True:
            return target
        if not waves.every:
            taken = taken & waves.active
        count = int(np.count_nonzero(taken))
        if count and step.control == "skip":
            # What is skipped would have written no lane.
            self._learn(self.kernel.skipped[place], taken, count == waves.count)
        if count == 0:
            return place + 1
        if count == (waves.count if waves.every else int(np.count_nonzero(waves.active))):
            return target
        self._places[waves.active] = place + 1
        self._places[taken] = target
        return _PARTED

    def _learn(self, written: frozenset[int], by: Array, every: bool) -> None:
        """Registers hold something now, for these waves."""
        for number in written & self._unknown.keys():
            unknown = self._unknown[number]
            left = None if every else (~by if unknown is None else unknown & ~by)
            if left is None or not left.any():
                del self._unknown[number]
            else:
                self._unknown[number] = left

    def _check_known(self, step: Step) -> None:
        """A register that not one wave has written is a fault; of others the poison shows."""
        for number in sorted(step.reads & self._unknown.keys()):
            unknown = self._unknown[number]
            if unknown is None or unknown[self.waves.active].all():
                raise KernelFault(f"reads {_name(number)}, which was never written")

    def _check_delivered(self, step: Step) -> None:
        board = self.waves.board
        for number in sorted((step.reads | step.writes) & board.pending.keys()):
            if number not in step.reads and board.pending[number][0] == step.delivers:
                continue  # results of one kind come in order: the later one stays
            if board.outstanding(number, self.waves.active):
                verb = "reads" if number in step.reads else "overwrites"
                raise KernelFault(f"{verb} {_name(number)} without a wait for the load that writes it")


def _name(number: int) -> str:
    if number >= SGPR:
        return f"s{number - SGPR}"
    return f"a{number - AGPR}" if number >= AGPR else f"v{number}"
