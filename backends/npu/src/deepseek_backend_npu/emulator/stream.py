"""Takes a command stream apart: the operations in order, each with the registers as they stand when it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.emulator.isa import U55, InstructionSet, Opcode
from deepseek_core.errors import BackendError

__all__ = ["HazardError", "Registers", "Step", "decode", "known"]

_OPCODE, _KIND, _WIDE = 0x3FF, 0xC000, 0x4000
_SIGN = 1 << 39
Kind = TypeVar("Kind", bound=IntEnum)


class HazardError(BackendError):
    """A program does what the hardware gives no defined result for."""

    def __init__(self, message: str) -> None:
        super().__init__(f"hazard: {message}", fix="compile the model again")


def known(kind: type[Kind], value: int) -> Kind:
    """A number of the instruction set.

    Raises:
        HazardError: it has none like that.
    """
    try:
        return kind(value)
    except ValueError:
        raise HazardError(f"{kind.__name__} {value} does not exist") from None


class Registers:
    """Registers at one moment; reading one that was never set is a hazard."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, tuple[int, int]]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> int:
        """The 16 bits of a narrow register, the low 32 of a wide one."""
        return self._entry(name)[0]

    def upper(self, name: str) -> int:
        """The parameter above a wide register's payload, for example a shift."""
        return self._entry(name)[1]

    def address(self, name: str) -> int:
        """40 bits."""
        low, high = self._entry(name)
        return low | (high & 0xFF) << 32

    def stride(self, name: str) -> int:
        """40 bits with a sign."""
        value = self.address(name)
        return value - (1 << 40) if value & _SIGN else value

    def signed(self, name: str) -> int:
        """16 bits with a sign."""
        value = self._entry(name)[0]
        return value - 0x10000 if value & 0x8000 else value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def items(self) -> Iterable[tuple[str, tuple[int, int]]]:
        """Each register that is set, with its payload and the parameter above it."""
        return self._values.items()

    def _entry(self, name: str) -> tuple[int, int]:
        try:
            return self._values[name]
        except KeyError:
            raise HazardError(f"register {name} is used before it is set") from None


@dataclass(frozen=True, slots=True)
class Step:
    """One command that does something.

    Attributes:
        opcode: what.
        parameter: its 16 bits: the mode of a pooling or elementwise operation, the count of a wait.
        registers: as they stand.
        position: word in the stream.
    """

    opcode: Opcode
    parameter: int
    registers: Registers
    position: int


def decode(stream: NDArray[np.uint32], instructions: InstructionSet = U55) -> tuple[Step, ...]:
    """Operations up to and including STOP.

    Raises:
        HazardError: an unknown command, or a stream without an end.
    """
    words = [int(word) for word in stream]
    values: dict[str, tuple[int, int]] = {}
    steps: list[Step] = []
    snapshot: Registers | None = None
    position = 0
    while position < len(words):
        word = words[position]
        code, parameter = word & _OPCODE, word >> 16
        if word & _KIND == _WIDE:
            if code not in instructions.wide or position + 1 >= len(words):
                raise HazardError(f"unknown command {word:#010x} at word {position}")
            values[instructions.wide[code]] = words[position + 1], parameter
            snapshot, position = None, position + 2
            continue
        if word & (_KIND | 0x3C00):
            raise HazardError(f"unknown command {word:#010x} at word {position}")
        if code in instructions.registers:
            values[instructions.registers[code]] = parameter, 0
            snapshot = None
        elif code in Opcode._value2member_map_:
            snapshot = snapshot or Registers(dict(values))
            steps.append(Step(Opcode(code), parameter, snapshot, position))
            if code == Opcode.STOP:
                return tuple(steps)
        else:
            raise HazardError(f"unknown command {word:#010x} at word {position}")
        position += 1
    raise HazardError("the command stream does not stop")
