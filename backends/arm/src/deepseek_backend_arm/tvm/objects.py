"""What an object needs from outside, read from its symbol table (ELF-64, little-endian)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["strange_symbols", "undefined_symbols"]

_FUNCTIONS = (
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh", "erf", "exp", "exp2", "expm1"),
    *("floor", "fma", "fmax", "fmin", "fmod", "log", "log10", "log1p", "log2", "nearbyint", "pow", "rint", "round"),
    *("sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
_KNOWN = frozenset(("memcpy", "memmove", "memset", *(name + end for name in _FUNCTIONS for end in ("", "f"))))
"""What an image has: `runtime/bare.c`, and libm."""
_SYMBOLS = 2
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def strange_symbols(data: bytes) -> list[str]:
    """Undefined symbols that no image has."""
    return [name for name in undefined_symbols(data) if name not in _KNOWN]


def undefined_symbols(data: bytes) -> list[str]:
    """Names, sorted."""
    return sorted(set(_undefined(data)))


def _undefined(data: bytes) -> Iterator[str]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [_SECTION.unpack_from(data, table + size * number) for number in range(count)]
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind != _SYMBOLS:
            continue
        names = sections[link][4]
        for place in range(offset, offset + length, entry):
            name, _, _, section, _, _ = _SYMBOL.unpack_from(data, place)
            if section == 0 and name:
                start = names + name
                yield data[start : data.index(b"\0", start)].decode()
