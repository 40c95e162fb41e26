"""The zip container of a package: stored members, aligned for memory mapping, one canonical byte form.

Any zip tool reads it (zip64, PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5). This reader takes exactly what this
writer writes: it reads the central directory, encodes the headers anew from what it understood, and compares them
with the file. Nothing can hide between members, overlap, be named twice, or differ between the two headers of a
member; and since nothing is compressed, nothing can expand.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

from deepseek_core.errors import PackageError

__all__ = ["ALIGNMENT", "Buffer", "Member", "Writer", "damaged", "directory", "read"]

ALIGNMENT = 64
"""Data of every member starts at a multiple of this many bytes in the file."""

Buffer = bytes | memoryview

_NAME = re.compile(r"[a-z][a-z0-9_.]*(/[a-z0-9][a-z0-9_.]*)?")
_MAX_MEMBERS = 10_000
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_CENTRAL_SIZES = struct.Struct("<2H3Q")
_VERSION, _UNIX_FILE = 45, 0o100644 << 16
_EPOCH = (0, 0x21)  # 1980-01-01 00:00: equal content gives equal bytes
_ZIP64_ID, _ALIGN_ID = 0x0001, 0xD935
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive.

    Attributes:
        offset: of its header in the archive.
        crc: CRC-32 of the data.
    """

    name: str
    size: int
    crc: int
    offset: int

    @property
    def data(self) -> slice:
        """Where its bytes are in the archive."""
        start = self.offset + len(self.header())
        return slice(start, start + self.size)

    def header(self) -> bytes:
        """Local file header, padded so that the data behind it is aligned (field 0xD935, as zipalign writes it)."""
        name = self.name.encode("ascii")
        fixed = _LOCAL.size + len(name) + _LOCAL_SIZES.size + 6
        padding = -(self.offset + fixed) % ALIGNMENT
        sizes = _LOCAL_SIZES.pack(_ZIP64_ID, 16, self.size, self.size)
        align = struct.pack("<3H", _ALIGN_ID, 2 + padding, ALIGNMENT) + bytes(padding)
        start = _LOCAL.pack(
            b"PK\3\4", _VERSION, 0, 0, *_EPOCH, self.crc, _FULL32, _FULL32, len(name), len(sizes + align)
        )
        return start + name + sizes + align

    def entry(self) -> bytes:
        """Central directory entry."""
        name = self.name.encode("ascii")
        sizes = _CENTRAL_SIZES.pack(_ZIP64_ID, 24, self.size, self.size, self.offset)
        made_by = _VERSION | 3 << 8
        versions = (made_by, _VERSION, 0, 0, *_EPOCH)
        lengths = (len(name), len(sizes), 0, 0, 0)
        start = _CENTRAL.pack(b"PK\1\2", *versions, self.crc, _FULL32, _FULL32, *lengths, _UNIX_FILE, _FULL32)
        return start + name + sizes


class Writer:
    """Writes members one after the other; `close` adds the directory. The file must be seekable."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.members: list[Member] = []

    def add(self, name: str, chunks: Iterable[Buffer]) -> tuple[int, str]:
        """Add a member from its data in pieces.

        Returns:
            Size and SHA-256 (hex) of the data.
        """
        offset = self._file.tell()
        self._file.write(Member(name, 0, 0, offset).header())
        size, crc, digest = 0, 0, hashlib.sha256()
        for chunk in chunks:
            self._file.write(chunk)
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            digest.update(chunk)
        member = Member(name, size, crc, offset)
        end = self._file.tell()
        self._file.seek(offset)
        self._file.write(member.header())
        self._file.seek(end)
        self.members.append(member)
        return size, digest.hexdigest()

    def close(self) -> None:
        """Write the central directory."""
        self._file.write(_tail(self.members, self._file.tell()))


def directory(data: memoryview) -> dict[str, Member]:
    """Members of an archive by name, in file order; checks everything but the members' data.

    Raises:
        PackageError: the bytes are not exactly what `Writer` writes.
    """
    try:
        members = _entries(data)
    except struct.error:
        raise damaged("its directory is cut off") from None
    names = [member.name for member in members]
    if len(set(names)) != len(names):
        raise damaged("two members have one name")
    position = 0
    for member in members:
        header = member.header() if member.offset == position else b""
        if not header or data[position : position + len(header)] != header:
            raise damaged(f"the header of '{member.name}' is not where or what it must be")
        position = member.data.stop
    if data[position:] != _tail(members, position):
        raise damaged("its directory does not describe its members")
    return {member.name: member for member in members}


def read(data: memoryview, member: Member) -> bytes:
    """A member's data, for members that no hash vouches for.

    Raises:
        PackageError: the CRC does not match.
    """
    content = bytes(data[member.data])
    if zlib.crc32(content) != member.crc:
        raise damaged(f"the checksum of '{member.name}' does not match")
    return content


def damaged(what: str) -> PackageError:
    """The error of a file that cannot be trusted."""
    return PackageError(f"the package is damaged: {what}", fix="copy it again from its source, or compile it again")


def _entries(data: memoryview) -> list[Member]:
    """Central directory entries, as far as they have the only form there is; `directory` compares the bytes."""
    if bytes(data[:4]) != b"PK\3\4":
        raise PackageError(
            "the file is not a .ds package", fix="name a file that `deepseek quantize` or `compile` wrote"
        )
    tail = _ZIP64_END.size + _LOCATOR.size + _END.size
    if len(data) < tail:
        raise damaged("it is cut off")
    magic, *_, count, size, start = _ZIP64_END.unpack_from(data, len(data) - tail)
    if magic != b"PK\6\6":
        raise damaged("it is cut off, or has data behind its end")
    if count > _MAX_MEMBERS or start + size != len(data) - tail:
        raise damaged("its directory has an impossible size")
    members, position = [], start
    for _ in range(count):
        fields = _CENTRAL.unpack_from(data, position)
        begin = position + _CENTRAL.size
        name = bytes(data[begin : begin + fields[10]])
        if not _NAME.fullmatch(name.decode("latin-1")):
            raise damaged("a member has an unsafe name")
        _, _, length, _, offset = _CENTRAL_SIZES.unpack_from(data, begin + len(name))
        members.append(Member(name.decode("ascii"), length, fields[7], offset))
        position = begin + len(name) + _CENTRAL_SIZES.size
    return members


def _tail(members: list[Member], start: int) -> bytes:
    entries = b"".join(member.entry() for member in members)
    count, size = len(members), len(entries)
    end64 = _ZIP64_END.pack(b"PK\6\6", 44, _VERSION | 3 << 8, _VERSION, 0, 0, count, count, size, start)
    locator = _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    end = _END.pack(b"PK\5\6", 0, 0, _FULL16, _FULL16, _FULL32, _FULL32, 0)
    return entries + end64 + locator + end
