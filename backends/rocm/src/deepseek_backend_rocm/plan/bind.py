"""A plan for one GPU: variants, grids, arguments, addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from deepseek_backend_rocm.building import Built
from deepseek_backend_rocm.kernels.signatures import SIGNATURES
from deepseek_backend_rocm.plan.steps import Buffer, Memory, Step
from deepseek_backend_rocm.program import ALIGNMENT, Kernel, Launch, Pointer, Program, Space
from deepseek_backend_rocm.selection.candidates import grid_of

__all__ = ["Codes", "bind"]


class Codes:
    """Code objects of an image, equal ones once."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def number(self, code: bytes) -> int:
        """Where a code object is among all."""
        return self._numbers.setdefault(code, len(self._numbers))

    def all(self) -> tuple[bytes, ...]:
        """In the order of their numbers."""
        return tuple(self._numbers)


def bind(launches: Sequence[tuple[Step, Built]], arena: int, codes: Codes) -> Program:
    """The launches of planned steps.

    Args:
        launches: each step with what runs it.
        arena: bytes of planned buffers. Those without a place, alive from one launch to the next, share the end.
        codes: takes the code objects.
    """
    between = {piece for step, _ in launches for piece in step.buffers() if piece.place < 0}
    for buffer in between:
        buffer.place = -(-arena // ALIGNMENT) * ALIGNMENT
    kernels: dict[str, Kernel] = {}
    for _, built in launches:
        kernels.setdefault(built.variant.name, _kernel(built, codes))
    numbers = {name: number for number, name in enumerate(kernels)}
    bound = tuple(_launch(step, built, numbers[built.variant.name]) for step, built in launches)
    return Program(max((arena, *(b.place + b.bytes for b in between))), tuple(kernels.values()), bound)


def _kernel(built: Built, codes: Codes) -> Kernel:
    variant, listing = built.variant, asdict(built.listing)
    size = SIGNATURES[variant.kernel].size
    return Kernel(variant.name, built.symbol, codes.number(built.code), built.threads, built.shared, size, listing)


def _launch(step: Step, built: Built, kernel: int) -> Launch:
    signature = SIGNATURES[step.kernel]
    pointers = tuple(
        _pointer(signature.position(name), step.memory[name], writes=name == signature.written)
        for name in signature.pointers
    )
    return Launch(kernel, grid_of(step, built.variant), signature.pack(step.values), pointers, step.unit)


def _pointer(position: int, piece: Memory, *, writes: bool) -> Pointer:
    space: Space = "arena" if isinstance(piece, Buffer) else "constants"
    return Pointer(position, space, piece.place, piece.bytes, writes)
