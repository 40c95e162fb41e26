"""The parts of a 64-bit little-endian ELF file that a code object uses (ELF-64 Object File Format, version 1.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from deepseek_backend_rocm.emulator.faults import CodeError

__all__ = ["Elf"]

_AMDGPU = 0xE0
_LOAD, _NOTE = 1, 4
_DYNAMIC_SYMBOLS = 11
_FIX = "compile the model again"


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """A code object's file.

    Attributes:
        data: the file.
        flags: `e_flags`, of which the lowest byte names the processor.
        symbols: name → address and size.
    """

    data: bytes = field(repr=False)
    flags: int
    symbols: Mapping[str, tuple[int, int]]
    _segments: tuple[_Segment, ...]

    @classmethod
    def parse(cls, data: bytes) -> Elf:
        """Read the headers.

        Raises:
            CodeError: this is no ELF file for an AMD GPU, or it is damaged.
        """
        if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
            raise CodeError("the code object is no 64-bit ELF file", fix=_FIX)
        machine, _, _, programs, sections, flags = struct.unpack_from("<HIQQQI", data, 18)
        if machine != _AMDGPU:
            raise CodeError(f"the code object is for ELF machine {machine:#x}, not for an AMD GPU", fix=_FIX)
        _, program_size, program_count, section_size, section_count = struct.unpack_from("<HHHHH", data, 52)
        try:
            segments = tuple(_segment(data, programs + i * program_size) for i in range(program_count))
            headers = [
                struct.unpack_from("<IIQQQQIIQQ", data, sections + i * section_size) for i in range(section_count)
            ]
            return cls(data, flags, dict(_symbols(data, headers)), segments)
        except (struct.error, ValueError, IndexError, UnicodeDecodeError):
            raise CodeError("the code object's ELF headers are damaged", fix=_FIX) from None

    def read(self, address: int, size: int) -> bytes:
        """Bytes as they lie in memory once loaded.

        Raises:
            CodeError: no segment has them.
        """
        start = self.place(address, size)
        return self.data[start : start + size]

    def place(self, address: int, size: int) -> int:
        """Where in the file bytes of the memory are.

        Raises:
            CodeError: no segment has them.
        """
        for segment in self._segments:
            start = segment.offset + address - segment.address
            inside = segment.address <= address and address + size <= segment.address + segment.size
            if segment.kind == _LOAD and inside and start + size <= len(self.data):
                return start
        raise CodeError(f"the code object has nothing at {address:#x}", fix=_FIX)

    def notes(self) -> Iterator[tuple[str, int, bytes]]:
        """Name, type and description of each note."""
        for segment in self._segments:
            place, end = segment.offset, segment.offset + segment.size
            while segment.kind == _NOTE and place + 12 <= min(end, len(self.data)):
                name_size, size, kind = struct.unpack_from("<III", self.data, place)
                name = self.data[place + 12 : place + 12 + name_size].rstrip(b"\0").decode(errors="replace")
                start = place + 12 + (name_size + 3) // 4 * 4
                yield name, kind, self.data[start : start + size]
                place = start + (size + 3) // 4 * 4


def _segment(data: bytes, place: int) -> _Segment:
    kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, place)
    return _Segment(kind, offset, address, size)


def _symbols(data: bytes, headers: list[tuple[int, ...]]) -> Iterator[tuple[str, tuple[int, int]]]:
    for header in headers:
        if header[1] != _DYNAMIC_SYMBOLS:
            continue
        names = headers[header[6]][4]
        for place in range(header[4], header[4] + header[5], 24):
            name, _, _, _, address, size = struct.unpack_from("<IBBHQQ", data, place)
            end = data.index(b"\0", names + name)
            yield data[names + name : end].decode(), (address, size)
