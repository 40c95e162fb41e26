"""How artifacts of this backend are framed: a listing, and the sections it names.

    offset  size  field
    0       4     magic
    4       4     format version, little-endian like every number here
    8       4     bytes of the listing
    12      4     CRC-32 of all that follows
    16      …     the listing: UTF-8 JSON
    …       …     the sections, each at a multiple of 16

Plain data throughout: nothing is executed or unpickled.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError

__all__ = ["RECOMPILE", "pack", "to_info", "unpack"]

RECOMPILE = "compile the model again"
_HEADER = struct.Struct("<4sIII")
_ALIGNMENT = 16


def pack(magic: bytes, version: int, listing: Mapping[str, object], sections: Mapping[str, bytes]) -> bytes:
    """The bytes that `unpack` reads; equal contents have equal bytes.

    Args:
        magic: four bytes.
        listing: plain JSON; the sizes of the sections are added.
    """
    sizes = {name: len(data) for name, data in sections.items()}
    text = json.dumps({**listing, "sections": sizes}, separators=(",", ":")).encode()
    body = _padded(text) + b"".join(_padded(data) for data in sections.values())
    return _HEADER.pack(magic, version, len(text), zlib.crc32(body)) + body


def unpack(data: bytes, magic: bytes, version: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Listing and sections.

    Raises:
        PackageError: it is none, damaged, or of another format version.
        ValueError, KeyError, TypeError: it is malformed.
    """
    if len(data) < _HEADER.size or data[:4] != magic:
        raise PackageError("not an artifact of the npu backend", fix=RECOMPILE)
    _, found, size, checksum = _HEADER.unpack_from(data)
    if found != version:
        raise PackageError(f"NPU artifact of format {found}, this backend reads {version}", fix=RECOMPILE)
    body = data[_HEADER.size :]
    if zlib.crc32(body) != checksum or size > len(body):
        raise PackageError("the NPU artifact is damaged (checksum differs)", fix=RECOMPILE)
    listing = json.loads(body[:size])
    return listing, dict(_sections(listing["sections"], body, size))


def _sections(sizes: Mapping[str, int], body: bytes, offset: int) -> list[tuple[str, bytes]]:
    found = []
    for name, size in sizes.items():
        offset += -offset % _ALIGNMENT
        section = body[offset : offset + int(size)]
        if len(section) != size:
            raise ValueError(f"section '{name}' is cut off")
        found.append((name, section))
        offset += size
    return found


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def to_info(entry: Mapping[str, Any]) -> TensorInfo:
    """A tensor's description, from its listing."""
    return TensorInfo(entry["name"], entry["dtype"], None if entry["shape"] is None else tuple(entry["shape"]))
