"""Code objects: kernels with their instructions, ready to run. What was read once is kept."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepseek_backend_rocm.emulator.architecture import Architecture, architecture_of
from deepseek_backend_rocm.emulator.descriptor import SIZE, Descriptor
from deepseek_backend_rocm.emulator.disassembly import Instruction, disassemble
from deepseek_backend_rocm.emulator.elf import Elf
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.build import build
from deepseek_backend_rocm.emulator.isa.registry import AGPR, SGPR, Step
from deepseek_backend_rocm.emulator.msgpack import unpack
from deepseek_backend_rocm.emulator.waves import SCALARS

__all__ = ["CodeObject", "KernelCode", "read_code"]

_METADATA = 32
"""Type of the note that has the metadata (LLVM's AMDGPU guide, "NT_AMDGPU_METADATA")."""
_FIX = "compile the model again"


@dataclass(frozen=True, slots=True)
class KernelCode:
    """A kernel.

    Attributes:
        name: of its symbol.
        architecture: that it is for.
        descriptor: how it starts.
        metadata: what the compiler says about it.
        instructions: by place, in order of their addresses.
        steps: what each does.
        targets: place that each branch goes to.
        skipped: registers that each branch around instructions leaves unwritten.
        entry: place of the first.
    """

    name: str
    architecture: Architecture
    descriptor: Descriptor
    metadata: Mapping[str, Any] = field(repr=False)
    instructions: tuple[Instruction, ...] = field(repr=False)
    steps: tuple[Step, ...] = field(repr=False)
    targets: tuple[int, ...] = field(repr=False)
    skipped: Mapping[int, frozenset[int]] = field(repr=False)
    entry: int


@dataclass(frozen=True, slots=True)
class CodeObject:
    """What a module holds.

    Attributes:
        architecture: that it is for.
        kernels: by symbol.
    """

    architecture: Architecture
    kernels: Mapping[str, KernelCode]

    def kernel(self, name: str) -> KernelCode:
        """A kernel by its symbol.

        Raises:
            CodeError: there is none.
        """
        if name not in self.kernels:
            known = ", ".join(self.kernels) or "none"
            raise CodeError(f"the code object has no kernel '{name}'; it has {known}", fix=_FIX)
        return self.kernels[name]


@functools.lru_cache(maxsize=512)
def read_code(data: bytes) -> CodeObject:
    """Read a code object.

    Raises:
        CodeError: it is damaged, of an architecture or with an instruction that is not emulated, or there is no
            disassembler.
    """
    elf = Elf.parse(data)
    architecture = architecture_of(elf.flags)
    listing = disassemble(data, architecture.name)
    facts = _metadata(elf)
    kernels = {
        symbol.removesuffix(".kd"): _kernel(elf, architecture, symbol, listing, facts)
        for symbol in elf.symbols
        if symbol.endswith(".kd")
    }
    return CodeObject(architecture, kernels)


def _metadata(elf: Elf) -> dict[str, Mapping[str, Any]]:
    """Symbol of the descriptor → what the compiler says about a kernel."""
    for name, kind, description in elf.notes():
        if name == "AMDGPU" and kind == _METADATA:
            tree = unpack(description)
            if isinstance(tree, dict):
                return {kernel[".symbol"]: kernel for kernel in tree.get("amdhsa.kernels", ())}
    return {}


def _kernel(
    elf: Elf,
    architecture: Architecture,
    symbol: str,
    listing: list[Instruction],
    facts: Mapping[str, Mapping[str, Any]],
) -> KernelCode:
    address, _ = elf.symbols[symbol]
    descriptor = Descriptor.parse(elf.read(address, SIZE), architecture)
    name = symbol.removesuffix(".kd")
    if not all(descriptor.denormals):
        raise CodeError(f"kernel {name} flushes denormals, which is not emulated", fix="report it, with the kernel")
    start, size = elf.symbols[name]
    instructions = tuple(inst for inst in listing if start <= inst.address < start + size)
    steps = tuple(build(inst, architecture) for inst in instructions)
    places = {inst.address: place for place, inst in enumerate(instructions)}
    entry = address + descriptor.entry + (256 if descriptor.preload[0] else 0)
    if entry not in places:
        raise CodeError(f"kernel {name} starts at {entry:#x}, where there is no instruction", fix=_FIX)
    targets = tuple(_target(step, inst, places) for step, inst in zip(steps, instructions, strict=True))
    for step, inst in zip(steps, instructions, strict=True):
        _check_registers(step, inst, descriptor)
    skipped = {
        place: frozenset().union(*(step.writes for step in steps[place + 1 : targets[place]]))
        for place, step in enumerate(steps)
        if step.control == "skip"
    }
    return KernelCode(
        name, architecture, descriptor, facts.get(symbol, {}), instructions, steps, targets, skipped, places[entry]
    )


def _target(step: Step, inst: Instruction, places: Mapping[int, int]) -> int:
    if step.control not in ("branch", "skip"):
        return -1
    if step.target not in places:
        raise CodeError(
            f"'{inst.text}' at {inst.address:#x} goes to {step.target:#x}, where no instruction is", fix=_FIX
        )
    return places[step.target]


def _check_registers(step: Step, inst: Instruction, descriptor: Descriptor) -> None:
    for number in step.reads | step.writes:
        allocated = (
            number < descriptor.vgprs or AGPR <= number < AGPR + descriptor.agprs or SGPR <= number < SGPR + SCALARS
        )
        if not allocated:
            raise CodeError(f"'{inst.text}' at {inst.address:#x} uses registers that are not allocated", fix=_FIX)
