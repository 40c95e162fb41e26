"""The artifact of a part: an image as a listing and the sections that it names. Plain data throughout.

offset  size  field
0       4     magic "DSRO"
4       4     format version, little-endian like every number here
8       8     bytes of the listing
16      32    SHA-256 of all that follows
48      …     the listing: UTF-8 JSON, padded with spaces to a multiple of 16
…       …     constants, then the code objects, each padded to a multiple of 16

Nothing in it is an address, so it may lie anywhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deepseek_backend_rocm.program import SIZES, Image, Kernel, Launch, Pointer, Port, Program
from deepseek_core.errors import PackageError

__all__ = ["FORMAT", "decode", "encode"]

FORMAT = "rocm-image"
_VERSION = 1
_MAGIC = b"DSRO"
_HEADER = struct.Struct("<4sIQ32s")
_FIX = "compile the model again"


def encode(image: Image) -> bytes:
    """The bytes that `decode` reads; equal images have equal bytes."""
    sections = (image.constants, *image.codes)
    listing = {
        "inputs": [asdict(port) for port in image.inputs],
        "outputs": [asdict(port) for port in image.outputs],
        "programs": {name: _listed(program) for name, program in sorted(image.programs.items())},
        "sections": [len(section) for section in sections],
        "report": image.report,
    }
    text = json.dumps(listing, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 16)
    body = text + b"".join(section + bytes(-len(section) % 16) for section in sections)
    return _HEADER.pack(_MAGIC, _VERSION, len(text), hashlib.sha256(body).digest()) + body


def decode(data: bytes) -> Image:
    """Read an artifact.

    Raises:
        PackageError: it is none, damaged, or of another format version.
    """
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise PackageError("not an artifact of the rocm backend", fix=_FIX)
    _, version, size, digest = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise PackageError(f"ROCm artifact of format {version}, this backend reads {_VERSION}", fix=_FIX)
    body = memoryview(data)[_HEADER.size :]
    if hashlib.sha256(body).digest() != digest or size > len(body):
        raise PackageError("the ROCm artifact is damaged (checksum differs)", fix=_FIX)
    try:
        return _checked(json.loads(bytes(body[:size])), body[size:])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"the ROCm artifact is malformed ({error})", fix=_FIX) from None


def _listed(program: Program) -> dict[str, Any]:
    launches = [{**asdict(launch), "arguments": launch.arguments.hex()} for launch in program.launches]
    return {"arena": program.arena, "kernels": [asdict(kernel) for kernel in program.kernels], "launches": launches}


def _checked(listing: Mapping[str, Any], body: memoryview) -> Image:
    sections, place = [], 0
    for size in map(int, listing["sections"]):
        if size < 0 or place + size > len(body):
            raise ValueError("its sections are longer than the file")
        sections.append(bytes(body[place : place + size]))
        place += size + -size % 16
    constants, *codes = sections
    inputs, outputs = (tuple(map(_port, listing[name])) for name in ("inputs", "outputs"))
    programs = {str(name): _program(entry) for name, entry in listing["programs"].items()}
    for program in programs.values():
        _check(program, (*inputs, *outputs), len(constants), len(codes))
    return Image(inputs, outputs, programs, constants, tuple(codes), dict(listing["report"]))


def _port(entry: Mapping[str, Any]) -> Port:
    if entry["dtype"] not in SIZES:
        raise ValueError(f"'{entry['name']}' of dtype {entry['dtype']}")
    shape = tuple(map(int, entry["shape"]))
    return Port(str(entry["name"]), entry["dtype"], shape, int(entry["offset"]))


def _program(entry: Mapping[str, Any]) -> Program:
    kernels = (Kernel(**{**kernel, "symbol": str(kernel["symbol"])}) for kernel in entry["kernels"])
    return Program(int(entry["arena"]), tuple(kernels), tuple(map(_launch, entry["launches"])))


def _launch(entry: Mapping[str, Any]) -> Launch:
    x, y, z = map(int, entry["grid"])
    pointers = tuple(Pointer(**pointer) for pointer in entry["pointers"])
    return Launch(int(entry["kernel"]), (x, y, z), bytes.fromhex(entry["arguments"]), pointers, str(entry["unit"]))


def _check(program: Program, ports: tuple[Port, ...], constants: int, codes: int) -> None:
    """Nothing that a program names lies outside of what there is."""
    room = {"arena": program.arena, "constants": constants}
    for port in ports:
        if port.offset < 0 or min(port.shape, default=0) < 0 or port.offset + port.bytes > program.arena:
            raise ValueError(f"'{port.name}' lies outside the arena")
    for kernel in program.kernels:
        if not 0 <= kernel.code < codes or kernel.threads < 1 or kernel.shared < 0:
            raise ValueError(f"kernel '{kernel.name}' names code or sizes that do not exist")
    for launch in program.launches:
        if not 0 <= launch.kernel < len(program.kernels) or min(launch.grid) < 1:
            raise ValueError(f"'{launch.unit}' launches a kernel or a grid that does not exist")
        if len(launch.arguments) != program.kernels[launch.kernel].arguments:
            raise ValueError(f"'{launch.unit}' has arguments of another size than its kernel")
        for pointer in launch.pointers:
            inside = pointer.offset >= 0 and 0 <= pointer.bytes <= room[pointer.space] - pointer.offset
            if not inside or not 0 <= pointer.position <= len(launch.arguments) - 8:
                raise ValueError(f"'{launch.unit}' points outside of its {pointer.space}")
