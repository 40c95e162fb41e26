"""The program format of the Echo device: a listing and the constants' bytes, in a frame that notices damage.

Plain data throughout: nothing in a program is ever executed by the loader or unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Frame, TensorInfo

__all__ = ["FORMAT", "Instruction", "Program"]

FORMAT = "echo"
_FRAME = Frame(b"ECHO", 1, "Echo program")
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
        return _FRAME.pack(listing, [array.tobytes() for array in self.constants.values()])

    @classmethod
    def decode(cls, data: bytes) -> Program:
        """Read a program.

        Raises:
            PackageError: it is no program, damaged, or of another format version.
        """
        return _FRAME.unpack(data, _from_listing)


def _from_listing(listing: Mapping[str, Any], sections: list[bytes]) -> Program:
    constants: dict[str, NDArray[Any]] = {}
    for (name, dtype, shape), data in zip(listing["constants"], sections, strict=True):
        if dtype not in _CONSTANT_TYPES:
            raise ValueError(f"constant '{name}' of dtype {dtype}")
        constants[name] = np.frombuffer(data, dtype).reshape(shape)
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
