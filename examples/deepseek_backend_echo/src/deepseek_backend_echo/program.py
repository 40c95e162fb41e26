"""The program format of the Echo device: a checked header, a listing, and the constants' bytes.

    offset  size  field
    0       4     magic "ECHO"
    4       4     format version, little-endian like every number here
    8       4     bytes of the listing
    12      4     CRC-32 of all that follows
    16      …     the listing: UTF-8 JSON
    …       …     the constants in the order of the listing, C order

Plain data throughout: nothing in a program is ever executed by the loader or unpickled.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError

__all__ = ["FORMAT", "Instruction", "Program"]

FORMAT = "echo"
VERSION = 1
_HEADER = struct.Struct("<4sIII")
_MAGIC = b"ECHO"
_CONSTANT_TYPES = ("int8", "int32", "float32")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One step.

    Attributes:
        opcode: what to do, a name in `engine.OPCODES`.
        inputs: names of constants, program inputs, or earlier outputs.
        output: name of the result.
        settings: numbers of the step, such as scales and zero points.
    """

    opcode: str
    inputs: tuple[str, ...]
    output: str
    settings: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Program:
    """Everything the device needs.

    Attributes:
        inputs: what must be fed.
        outputs: what comes back.
        instructions: in execution order.
        constants: int8 weights, int32 biases and float32 multipliers by name.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    instructions: tuple[Instruction, ...]
    constants: Mapping[str, NDArray[Any]]

    def encode(self) -> bytes:
        """The bytes that `decode` reads; equal programs have equal bytes."""
        listing = {
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "instructions": [asdict(step) for step in self.instructions],
            "constants": [[name, str(a.dtype), list(a.shape)] for name, a in self.constants.items()],
        }
        text = json.dumps(listing, separators=(",", ":")).encode()
        body = text + b"".join(array.tobytes() for array in self.constants.values())
        return _HEADER.pack(_MAGIC, VERSION, len(text), zlib.crc32(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> Program:
        """Read a program.

        Raises:
            PackageError: it is no program, damaged, or of another format version.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise PackageError("not an Echo program", fix="compile the model again")
        _, version, size, checksum = _HEADER.unpack_from(data)
        if version != VERSION:
            raise PackageError(
                f"Echo program of format {version}, this backend reads {VERSION}", fix="compile the model again"
            )
        body = memoryview(data)[_HEADER.size :]
        if zlib.crc32(body) != checksum or size > len(body):
            raise PackageError("the Echo program is damaged (checksum differs)", fix="compile the model again")
        try:
            return _from_listing(json.loads(bytes(body[:size])), body[size:])
        except (ValueError, KeyError, TypeError) as error:
            raise PackageError(f"the Echo program is malformed ({error})", fix="compile the model again") from None


def _from_listing(listing: dict[str, Any], data: memoryview) -> Program:
    constants: dict[str, NDArray[Any]] = {}
    offset = 0
    for name, dtype, shape in listing["constants"]:
        if dtype not in _CONSTANT_TYPES:
            raise ValueError(f"constant '{name}' of dtype {dtype}")
        count = int(np.prod(shape, dtype=np.int64))
        constants[name] = np.frombuffer(data, dtype, count, offset).reshape(shape)
        offset += constants[name].nbytes
    return Program(
        tuple(_info(entry) for entry in listing["inputs"]),
        tuple(_info(entry) for entry in listing["outputs"]),
        tuple(
            Instruction(e["opcode"], tuple(e["inputs"]), e["output"], e["settings"]) for e in listing["instructions"]
        ),
        constants,
    )


def _info(entry: dict[str, Any]) -> TensorInfo:
    return TensorInfo(entry["name"], entry["dtype"], tuple(entry["shape"]))
