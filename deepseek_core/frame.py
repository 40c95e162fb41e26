"""The frame of an artifact: a listing and sections of bytes, of which no byte changes without being noticed.

    offset  size  field
    0       4     magic
    4       4     format version, little-endian like every number here
    8       8     bytes of the listing
    16      32    SHA-256 of all the rest
    48      …     the listing: UTF-8 JSON
    …       …     the sections, each behind zeros up to a multiple of 16

Plain data throughout: nothing is executed or unpickled, and nothing in it is an address.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from deepseek_core.errors import PackageError

__all__ = ["Frame"]

_HEAD = struct.Struct("<4sIQ")
_BODY = _HEAD.size + hashlib.sha256().digest_size
_ALIGNMENT = 16

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Frame:
    """A backend's own kind of artifact.

    Attributes:
        magic: four bytes that it begins with.
        version: of what is inside; only this one is read.
        name: what users call it, for example `ARM artifact`.
        fix: what they do with one that cannot be read.
    """

    magic: bytes
    version: int
    name: str
    fix: str = "compile the model again"

    def pack(self, listing: Mapping[str, object], sections: Sequence[bytes] = ()) -> bytes:
        """The bytes that `unpack` reads; equal contents have equal bytes.

        Args:
            listing: plain JSON; the key `sections` is the frame's own.
        """
        sizes = [len(section) for section in sections]
        text = json.dumps({**listing, "sections": sizes}, separators=(",", ":"), sort_keys=True).encode()
        body = b"".join(piece + bytes(-len(piece) % _ALIGNMENT) for piece in (text, *sections))
        head = _HEAD.pack(self.magic, self.version, len(text))
        return head + _digest(head, body) + body

    def unpack(self, data: bytes, read: Callable[[Mapping[str, Any], list[bytes]], Content]) -> Content:
        """What `read` makes of listing and sections.

        Args:
            read: may find a listing malformed by any error that reading one raises: `ValueError`, `LookupError`,
                `TypeError`, `AttributeError`, `OverflowError`.

        Raises:
            PackageError: the bytes are none of ours, of another version, damaged or malformed.
        """
        if len(data) < _BODY or data[:4] != self.magic:
            raise PackageError(f"this is no {self.name}", fix=self.fix)
        _, version, size = _HEAD.unpack_from(data)
        if version != self.version:
            raise PackageError(f"{self.name} of format {version}, this backend reads {self.version}", fix=self.fix)
        body = memoryview(data)[_BODY:]
        if _digest(data[: _HEAD.size], body) != data[_HEAD.size : _BODY]:
            raise PackageError(f"the {self.name} is damaged (checksum differs)", fix=self.fix)
        try:
            listing = json.loads(bytes(body[:size]))
            return read(listing, _sections(body, size, listing["sections"]))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else error
            raise PackageError(f"the {self.name} is malformed ({what})", fix=self.fix) from None


def _digest(head: bytes, body: bytes | memoryview) -> bytes:
    found = hashlib.sha256(head)
    found.update(body)
    return found.digest()


def _sections(body: memoryview, place: int, sizes: Sequence[int]) -> list[bytes]:
    found = []
    for size in sizes:
        place += -place % _ALIGNMENT
        if not 0 <= size <= len(body) - place:
            raise ValueError("its sections are longer than the file")
        found.append(bytes(body[place : place + size]))
        place += size
    return found
