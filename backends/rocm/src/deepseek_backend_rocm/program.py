"""What a compiled part is: kernels launched in order over one arena. The boundary between compiler and runtime.

An `Image` holds a `Program` for each architecture that it was built for; constants and the places of inputs and outputs
are common to all. To run one: copy the inputs into the arena, launch every `Launch` in order, copy the outputs out.
Everything is plain data with a JSON form; bytes (code objects, constants) travel beside it, see `container`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from deepseek_core import TensorInfo

__all__ = ["ALIGNMENT", "SIZES", "Image", "Kernel", "Launch", "Pointer", "Port", "Program", "Space"]

ALIGNMENT = 256
"""Places of buffers and constants are multiples of this many bytes; what is allocated must be aligned to it."""

SIZES = {"float32": 4, "float16": 2, "int8": 1, "uint8": 1, "int32": 4, "int64": 8, "bool": 1}
"""Element types of inputs and outputs, with their bytes."""

Space = Literal["arena", "constants"]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output, in C order in the arena.

    Attributes:
        name: as the model has it.
        dtype: a name in `SIZES`.
        shape: all sizes known.
        offset: of its first byte in the arena.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return SIZES[self.dtype] * prod(self.shape)

    @property
    def info(self) -> TensorInfo:
        return TensorInfo(self.name, self.dtype, self.shape)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel in a code object.

    Attributes:
        name: of the source and its constants, for people and reports; unique in a program.
        symbol: of the entry point in the code object; its descriptor is `symbol` + ".kd".
        code: index into `Image.codes`.
        threads: in one workgroup.
        shared: bytes of dynamic LDS (`sharedMemBytes` of a launch).
        arguments: bytes of its kernel arguments, hidden ones included.
        facts: what was read from the assembly (registers, spills, LDS, counts of instructions); for reports alone.
    """

    name: str
    symbol: str
    code: int
    threads: int
    shared: int
    arguments: int
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address among a launch's arguments.

    Attributes:
        position: of its 8 bytes in `Launch.arguments`.
        space: what the offset counts in.
        offset: bytes from the start of the space, a multiple of 16.
        bytes: that the kernel may touch behind it; anything else is out of bounds.
        writes: whether it may write there. What it reads is always initialized before.
    """

    position: int
    space: Space
    offset: int
    bytes: int
    writes: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel launch.

    Attributes:
        kernel: index into `Program.kernels`.
        grid: workgroups along x, y, z; each at least 1.
        arguments: bytes of the kernel arguments as HIP's ABI lays them out, with zeros where addresses go; hidden
            arguments (the two scratch addresses of Triton) are among them and stay zero.
        pointers: addresses to write into them.
        unit: what it computes, for people.
    """

    kernel: int
    grid: tuple[int, int, int]
    arguments: bytes
    pointers: tuple[Pointer, ...]
    unit: str = ""

    def bound(self, bases: Mapping[Space, int]) -> bytes:
        """The arguments with addresses, given that of each space."""
        data = bytearray(self.arguments)
        for pointer in self.pointers:
            struct.pack_into("<Q", data, pointer.position, bases[pointer.space] + pointer.offset)
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Program:
    """The launches of a part on one architecture.

    Attributes:
        arena: bytes; nothing in it is initialized but the inputs.
        kernels: every kernel that is launched, once.
        launches: in execution order; each may read what those before it wrote.
    """

    arena: int
    kernels: tuple[Kernel, ...]
    launches: tuple[Launch, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled part for one or more architectures.

    Attributes:
        inputs, outputs: in the model's order; the same places in each program's arena.
        programs: by architecture, for example `gfx942` (`sm_90` where the same kernels are checked on another GPU).
        constants: weights and tables; addresses in the space `constants` count from their start.
        codes: code objects (ELF), equal ones once.
        report: memory plan and kernels, plain JSON for people.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    programs: Mapping[str, Program]
    constants: bytes = field(repr=False)
    codes: tuple[bytes, ...] = field(repr=False)
    report: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
