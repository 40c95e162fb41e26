"""Operands, as the disassembler writes them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

__all__ = ["EXEC", "M0", "NULL", "TRAP", "VCC", "Operand", "parse_operand"]

VCC, TRAP, M0, NULL, EXEC = 106, 108, 124, 125, 126
"""Places of named registers among the scalar ones; those of M0 and NULL are our own, as architectures differ."""

_NAMED = {
    "vcc": (VCC, 2),
    "vcc_lo": (VCC, 1),
    "vcc_hi": (VCC + 1, 1),
    "exec": (EXEC, 2),
    "exec_lo": (EXEC, 1),
    "exec_hi": (EXEC + 1, 1),
    "m0": (M0, 1),
    "null": (NULL, 1),
    "flat_scratch": (102, 2),
    "flat_scratch_lo": (102, 1),
    "flat_scratch_hi": (103, 1),
    "xnack_mask": (104, 2),
}
_REGISTER = re.compile(r"(v|a|s|ttmp)(?:(\d+)|\[(\d+):(\d+)\])(?:\.([lh]))?$")
_WRAPPED = re.compile(r"(sext|abs|neg|lit)\((.*)\)$")
_INVERSE_TWO_PI = 0x3E22F983


@dataclass(frozen=True, slots=True)
class Operand:
    """A register, a constant, or a word.

    Attributes:
        kind: `v`, `a` or `s` (registers), `constant`, or `word`.
        index: first register.
        count: registers.
        value: of a constant: an int (bits) or a float (of the width that the instruction has).
        text: as written.
        negate, absolute: modifiers of floats.
        extend: whether a part of a register is extended with its sign.
        half: which half of the register is meant, when one is.
    """

    kind: str
    text: str
    index: int = 0
    count: int = 1
    value: int | float = 0
    negate: bool = False
    absolute: bool = False
    extend: bool = False
    half: int | None = None

    @property
    def is_register(self) -> bool:
        return self.kind in ("v", "a", "s")

    def float_bits(self, width: int) -> int:
        """Bits of a constant for an instruction on floats of that many bits."""
        if isinstance(self.value, int):
            return self.value
        if width == 32 and self.text == "0.15915494":
            return _INVERSE_TWO_PI
        form, code = {16: ("<e", "<H"), 32: ("<f", "<I"), 64: ("<d", "<Q")}[width]
        return int(struct.unpack(code, struct.pack(form, self.value))[0])


def parse_operand(text: str) -> Operand:
    """Read one operand."""
    negate = absolute = extend = False
    plain = text
    while True:
        wrapped = _WRAPPED.match(plain)
        if wrapped:
            extend, absolute, negate = (
                was or wrapped[1] == word for was, word in ((extend, "sext"), (absolute, "abs"), (negate, "neg"))
            )
            plain = wrapped[2]
        elif len(plain) > 2 and plain[0] == "|" and plain[-1] == "|":
            absolute, plain = True, plain[1:-1]
        elif len(plain) > 1 and plain[0] == "-" and not plain[1].isdigit():
            negate, plain = True, plain[1:]
        else:
            break
    register = _REGISTER.match(plain)
    if register:
        kind, single, first, last, half = register.groups()
        start = int(single if single is not None else first)
        count = 1 if single is not None else int(last) - start + 1
        kind, start = ("s", start + TRAP) if kind == "ttmp" else (kind, start)
        part = None if half is None else int(half == "h")
        return Operand(kind, text, start, count, 0, negate, absolute, extend, part)
    if plain in _NAMED:
        return Operand("s", text, *_NAMED[plain], 0, negate, absolute, extend)
    value = _constant(plain)
    if value is None:
        return Operand("word", text)
    return Operand("constant", plain, 0, 0, value, negate, absolute, extend)


def _constant(text: str) -> int | float | None:
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None
