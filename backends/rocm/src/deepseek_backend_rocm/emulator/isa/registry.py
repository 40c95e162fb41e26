"""Which function builds which instruction, and what a built instruction is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.operands import Operand
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["AGPR", "SGPR", "Action", "Builder", "Control", "Step", "register", "registers", "step", "table"]

Control = Literal["", "branch", "skip", "barrier", "signal", "end"]
"""`skip` is a branch of waves without lanes to execute."""
Action = Callable[[Waves], object]
SGPR, AGPR = 1024, 256
"""Numbers of the first scalar and accumulation register, where registers of all kinds are numbered together."""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, ready to be done.

    Attributes:
        run: does it.
        reads, writes: registers, numbered together.
        control: what it does to the flow; `branch` when `run` gives the waves that go to `target` ([W] or one bool).
        target: address that a branch goes to.
        delivers: kind of the memory operation whose result it writes, where such results come in order.
    """

    run: Action
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    control: Control = ""
    target: int = 0
    delivers: str = ""


Builder = Callable[[Instruction, Architecture], Step]
_BUILDERS: dict[str, Builder] = {}


def register(*names: str) -> Callable[[Builder], Builder]:
    """Make a function the builder of these mnemonics."""

    def add(builder: Builder) -> Builder:
        for name in names:
            assert name not in _BUILDERS, name
            _BUILDERS[name] = builder
        return builder

    return add


def table() -> dict[str, Builder]:
    """Mnemonic → builder."""
    return _BUILDERS


def registers(operand: Operand) -> range:
    """Numbers of an operand's registers."""
    if not operand.is_register:
        return range(0)
    start = operand.index + {"v": 0, "a": AGPR, "s": SGPR}[operand.kind]
    return range(start, start + operand.count)


def step(run: Action, writes: Iterable[Operand] = (), reads: Iterable[Operand] = (), *, delivers: str = "") -> Step:
    """A step that reads and writes what these operands name."""
    return Step(
        run,
        frozenset(number for operand in reads for number in registers(operand)),
        frozenset(number for operand in writes for number in registers(operand)),
        delivers=delivers,
    )
