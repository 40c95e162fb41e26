"""The artifact of a part, in a frame.

Sections: packs, words and constants, as `runtime/loader.h` has them; objects of other compilers.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from deepseek_backend_arm.plan.abi import MOST_POINTERS
from deepseek_backend_arm.plan.linked import Function, Linked
from deepseek_backend_arm.plan.program import TYPES, Port, Program
from deepseek_core import Frame, TensorInfo

__all__ = ["FORMAT", "Container", "Place", "encode_steps"]

FORMAT = "arm-program"
_FRAME = Frame(b"DSAR", 2, "ARM artifact")


@dataclass(frozen=True, slots=True)
class Place:
    """An input or output: its description, and where its bytes lie in the arena."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    place: int

    @property
    def bytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))

    @property
    def info(self) -> TensorInfo:
        return TensorInfo(self.name, self.dtype, self.shape)


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that running a part needs.

    Attributes:
        device: of the target that it was compiled for.
        level: lowest instruction set that its CPU must have; a position in `targets.LEVELS`.
        threads: how many share the work.
        inputs, outputs: in the model's order.
        arena, scratch, packs, steps, words: sizes, as `ds_sizes` in the runtime.
        functions: what steps call of other compilers: symbols, with their numbers of pointers.
        objects: bytes of each object that has them.
        body: packs, words and constants.
        linked: the objects.
    """

    device: str
    level: int
    threads: int
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    arena: int
    scratch: int
    packs: int
    steps: int
    words: int
    functions: tuple[tuple[str, int], ...]
    objects: tuple[int, ...]
    body: bytes = field(repr=False)
    linked: bytes = field(repr=False, default=b"")

    @classmethod
    def of(cls, program: Program, device: str, level: int, threads: int) -> Container:
        """From a planned program."""
        packs = b"".join(struct.pack("<ii", *pack) for pack in program.packs)
        words = encode_steps(program)
        return cls(
            device,
            level,
            threads,
            tuple(map(_place, program.inputs)),
            tuple(map(_place, program.outputs)),
            program.arena,
            program.scratch,
            len(program.packs),
            len(program.steps),
            len(words) // 4,
            tuple((function.symbol, function.pointers) for function in program.linked.functions),
            tuple(map(len, program.linked.objects)),
            packs + words + program.constants,
            b"".join(program.linked.objects),
        )

    @property
    def table(self) -> Linked:
        """What is linked with the runtime before it runs the program."""
        ends = list(itertools.accumulate(self.objects))
        pieces = [self.linked[end - size : end] for end, size in zip(ends, self.objects, strict=True)]
        return Linked(pieces, [Function(*function) for function in self.functions])

    @property
    def sizes(self) -> bytes:
        """`ds_sizes` of the runtime."""
        constants = len(self.body) - 8 * self.packs - 4 * self.words
        sizes = (self.threads, self.level, self.arena, self.scratch, constants, self.packs, self.steps, self.words)
        return struct.pack("<8i", *sizes)

    def encode(self) -> bytes:
        """The bytes that `decode` reads; equal contents have equal bytes."""
        listing = {name: value for name, value in asdict(self).items() if name not in ("body", "linked")}
        return _FRAME.pack(listing, (self.body, self.linked))

    @classmethod
    def decode(cls, data: bytes) -> Container:
        """Read an artifact.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        return _FRAME.unpack(data, _checked)


def encode_steps(program: Program) -> bytes:
    """Number and arguments of each kernel."""
    return b"".join(step.encode() for step in program.steps)


def _place(port: Port) -> Place:
    return Place(port.name, port.dtype, port.shape, port.buffer.place)


def _checked(listing: Mapping[str, Any], sections: list[bytes]) -> Container:
    body, linked = sections
    numbers = {name: int(listing[name]) for name in _NUMBERS}
    functions = tuple((_symbol(name), _pointers(count)) for name, count in listing["functions"])
    objects = tuple(map(int, listing["objects"]))
    inputs, outputs = (tuple(map(_to_place, listing[name])) for name in ("inputs", "outputs"))
    container = Container(
        device=str(listing["device"]),
        inputs=inputs,
        outputs=outputs,
        functions=functions,
        objects=objects,
        body=body,
        linked=linked,
        **numbers,
    )
    if min(*numbers.values(), *objects) < 0 or len(linked) != sum(objects):
        raise ValueError("its sizes contradict each other")
    if 8 * container.packs + 4 * container.words > len(body):
        raise ValueError("its sizes contradict each other")
    for place in (*container.inputs, *container.outputs):
        if place.place < 0 or place.place + place.bytes > container.arena:
            raise ValueError(f"'{place.name}' lies outside the arena")
    return container


def _symbol(name: str) -> str:
    """Names go into C, so they are no more than names."""
    if not (name.isascii() and name.isidentifier()):
        raise ValueError("a function has no name")
    return name


def _pointers(count: int) -> int:
    if not 0 <= count <= MOST_POINTERS:
        raise ValueError(f"a function of {count} tensors")
    return int(count)


_NUMBERS = ("level", "threads", "arena", "scratch", "packs", "steps", "words")


def _to_place(entry: Mapping[str, Any]) -> Place:
    if entry["dtype"] not in TYPES:
        raise ValueError(f"'{entry['name']}' of dtype {entry['dtype']}")
    return Place(str(entry["name"]), entry["dtype"], tuple(map(int, entry["shape"])), int(entry["place"]))
