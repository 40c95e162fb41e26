"""Launches: the grid in batches of workgroups, whose waves run in step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import KernelCode
from deepseek_backend_rocm.emulator.faults import CodeError, KernelFault
from deepseek_backend_rocm.emulator.flow import Flow
from deepseek_backend_rocm.emulator.local import LocalMemory
from deepseek_backend_rocm.emulator.memory import Memory, Window
from deepseek_backend_rocm.emulator.setup import start
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["Machine"]

_WAVES = 256
"""Waves in step: enough to spread the price of an instruction, few enough for their registers to stay in a cache."""
_BUDGET = 20_000_000
"""Instructions, each for all waves in step, after which a batch counts as endless."""
_POISON = 0x7FC5A5A5
"""In registers that were never written: no likely result, and no number as a float."""
_ARGUMENTS = 4096
_LARGEST_GROUP = 1024


class Machine:
    """An emulated GPU's memory, and what runs on it.

    Args:
        poison: what is in registers that were never written; two runs with different poison that give the same show
            that nothing depends on them.
        budget: instructions of a batch of workgroups, after which it counts as endless.
    """

    def __init__(self, *, poison: int = _POISON, budget: int = _BUDGET) -> None:
        self.memory = Memory(poison & 0xFF)
        self.executed = 0
        """Instructions that waves have executed."""
        self._poison, self._budget = poison, budget
        self._arguments = self.memory.allocate(_ARGUMENTS)

    def launch(
        self,
        kernel: KernelCode,
        grid: tuple[int, int, int],
        threads: int,
        arguments: bytes,
        *,
        shared: int = 0,
        windows: Sequence[Window] | None = None,
    ) -> None:
        """Run a kernel to its end.

        Args:
            kernel: the kernel.
            grid: workgroups along x, y and z.
            threads: of a workgroup, along x.
            arguments: as the kernel reads them.
            shared: bytes of LDS beyond those that the kernel itself has.
            windows: ranges of memory that it may touch; without, all allocations.

        Raises:
            KernelFault: it did what hardware forbids or leaves undefined, or does not end.
            CodeError: the launch does not fit the kernel.
        """
        self._check(kernel, grid, threads, arguments)
        size = kernel.descriptor.arguments
        self.memory.store(self._arguments, np.frombuffer(arguments[:size].ljust(_ARGUMENTS, b"\0"), np.uint8))
        own = Window(self._arguments, -(-size // 64) * 64, False, "the arguments")
        self.memory.limit(None if windows is None else [*windows, own])
        waves = -(-threads // kernel.architecture.wave)
        groups = list(itertools.product(*(range(size) for size in reversed(grid))))
        each = max(_WAVES // waves, 1)
        with np.errstate(all="ignore"):
            for first in range(0, len(groups), each):
                self._batch(kernel, np.array(groups[first : first + each])[:, ::-1], threads, arguments, shared)

    def _check(self, kernel: KernelCode, grid: tuple[int, int, int], threads: int, arguments: bytes) -> None:
        descriptor, limit = kernel.descriptor, kernel.metadata.get(".max_flat_workgroup_size", _LARGEST_GROUP)
        if len(arguments) < descriptor.arguments:
            text = f"kernel {kernel.name} takes {descriptor.arguments} bytes of arguments, not {len(arguments)}"
            raise CodeError(text, fix="pass the arguments that it was compiled for")
        if not 1 <= threads <= limit:
            raise CodeError(
                f"kernel {kernel.name} has up to {limit} threads, not {threads}", fix="launch it with fewer"
            )
        if min(grid) < 1:
            raise CodeError(f"a grid of {grid} has no workgroups", fix="launch at least one")
        if descriptor.scratch:
            text = f"kernel {kernel.name} spills {descriptor.scratch} bytes a lane to memory, which is not emulated"
            raise CodeError(text, fix="choose a kernel without spills")

    def _batch(self, kernel: KernelCode, groups: Array, threads: int, arguments: bytes, shared: int) -> None:
        """Run these workgroups, [G, 3]."""
        descriptor, architecture = kernel.descriptor, kernel.architecture
        each = -(-threads // architecture.wave)
        local = LocalMemory(len(groups), each, descriptor.lds + shared)
        registers = descriptor.vgprs, descriptor.agprs
        waves = Waves(architecture, len(groups) * each, registers, (self.memory, local), poison=self._poison)
        known = start(waves, descriptor, groups, threads, (self._arguments, arguments))
        flow = Flow(kernel, waves, each, known, self._budget)
        try:
            flow.run()
        except KernelFault as fault:
            raise self._explained(fault, flow, groups, each) from None
        self.executed += flow.executed

    @staticmethod
    def _explained(fault: KernelFault, flow: Flow, groups: Array, each: int) -> KernelFault:
        """The fault, with its instruction and its place in the grid."""
        inst, kernel, waves = flow.instruction, flow.kernel, flow.waves
        places = np.flatnonzero(waves.active)
        where = ""
        if fault.access >= 0:
            if not inst.text.startswith("s_"):
                lanes = np.flatnonzero(waves.mask)
                lane = int(lanes[min(fault.access, len(lanes) - 1)])
                where, places = f", lane {lane % waves.lanes}", np.array([lane // waves.lanes])
            else:
                places = places[fault.access :][:1]
        wave = int(places[0]) if places.size else 0
        group = "×".join(map(str, groups[wave // each]))
        place = f"workgroup {group}, wave {wave % each}{where}"
        text = f"{kernel.architecture.name} kernel {kernel.name}, '{inst.text}' at {inst.address:#x}: {fault.message}"
        return KernelFault(f"{text} ({place})", fix=fault.fix, access=fault.access)
