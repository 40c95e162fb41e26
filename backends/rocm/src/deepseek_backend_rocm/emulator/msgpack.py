"""The MessagePack subset of code object metadata (https://github.com/msgpack/msgpack/blob/master/spec.md)."""

from __future__ import annotations

import struct
from typing import Any

from deepseek_backend_rocm.emulator.faults import CodeError

__all__ = ["unpack"]

_SCALARS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_TEXTS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}
_DEEPEST = 16


def unpack(data: bytes) -> Any:
    """The one value that the bytes hold.

    Raises:
        CodeError: they are damaged, or of a type that metadata does not use.
    """
    try:
        return _Reader(data).value(0)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise CodeError("the code object's metadata is damaged", fix="compile the model again") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def _take(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._data, self._place)
        self._place += struct.calcsize(form)
        return value

    def _text(self, size: int) -> str:
        return bytes(self._take(f">{size}s")).decode()

    def value(self, depth: int) -> Any:
        tag = self._take(">B")
        if depth > _DEEPEST:
            raise IndexError
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 256
        if tag < 0x90 or tag in _MAPS:
            size = tag & 15 if tag < 0x90 else self._take(_MAPS[tag])
            return {self.value(depth + 1): self.value(depth + 1) for _ in range(size)}
        if tag < 0xA0 or tag in _ARRAYS:
            size = tag & 15 if tag < 0xA0 else self._take(_ARRAYS[tag])
            return [self.value(depth + 1) for _ in range(size)]
        if tag < 0xC0 or tag in _TEXTS:
            return self._text(tag & 31 if tag < 0xC0 else self._take(_TEXTS[tag]))
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _SCALARS:
            return self._take(_SCALARS[tag])
        raise IndexError
