"""Machine code with one thing wrong, which the emulator must notice: by a fault, or by other results.

Every mutation changes words of a code object and goes the whole way from there: disassembled, decoded, run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import CodeObject, KernelCode, read_code
from deepseek_backend_rocm.emulator.disassembly import Instruction
from deepseek_backend_rocm.emulator.elf import Elf
from deepseek_backend_rocm.emulator.isa.registry import Step
from deepseek_backend_rocm.emulator.machine import Machine
from deepseek_backend_rocm.emulator.waves import Waves
from deepseek_backend_rocm.program import Image
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_backend_rocm.verification.equivalence import Change, idle, same_effect, shortcut
from deepseek_core.errors import DeepseekError

__all__ = ["KINDS", "Judge", "Judgement", "Mutation", "mutations"]

_NOP = 0xBF800000
_FEW, _MANY = 2, 12
"""Runs before the proof is tried, and in all."""
_EFFECTS = ("s_waitcnt", "s_wait_", "s_barrier", "s_endpgm")
_CHECKED = {
    "dropped wait": "whatever it waits for is waited for again before it is used",
    "dropped barrier": "no two waves touch a byte, one of them changing it, without another barrier between",
}
"""What a run without a fault shows of these kinds: each use of a pending register and each byte of LDS is checked."""
_READS = ("ds_read", "ds_load", "buffer_load", "global_load")
Words = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One changed instruction.

    Attributes:
        kind: what is wrong.
        code: which code object of the image.
        place: of the instruction in the kernel.
        before, after: the instruction, as it was and as it is.
        data: the code object.
    """

    kind: str
    code: int
    place: int
    before: str
    after: str
    data: bytes


def mutations(
    image: Image, kind: str, executed: Mapping[int, set[int]], rng: np.random.Generator
) -> Iterator[Mutation]:
    """All mutations of one kind of instructions that are executed, in random order.

    Args:
        image: with one kernel in each code object.
        kind: a name in `KINDS`.
        executed: code object → places of its kernel's instructions that a run reaches.
        rng: the order.
    """
    places = [(code, place) for code, reached in executed.items() for place in sorted(reached)]
    for index in rng.permutation(len(places)):
        code, place = places[index]
        data = image.codes[code]
        kernel = _kernel(data)
        inst = kernel.instructions[place]
        for words in KINDS[kind](inst, _words(data, inst), rng):
            changed = _changed(data, inst, words)
            text = _valid(changed, inst, place)
            if text is not None:
                yield Mutation(kind, code, place, inst.text, text, changed)
                break


def _kernel(data: bytes) -> KernelCode:
    (kernel,) = read_code(data).kernels.values()
    return kernel


def _words(data: bytes, inst: Instruction) -> Words:
    raw = Elf.parse(data).read(inst.address, inst.size)
    return tuple(np.frombuffer(raw, "<u4").tolist())


def _changed(data: bytes, inst: Instruction, words: Words) -> bytes:
    new = np.array(words, "<u4").tobytes()
    start = Elf.parse(data).place(inst.address, len(new))
    return data[:start] + new + data[start + len(new) :]


def _valid(data: bytes, inst: Instruction, place: int) -> str | None:
    """The changed instruction, when it is one that is known, of the same size, and another than before."""
    try:
        kernel = _kernel(data)
    except DeepseekError:
        return None
    if place >= len(kernel.instructions):
        return None
    new = kernel.instructions[place]
    same = new.address == inst.address and new.size == inst.size
    return new.text if same and new.text != inst.text else None


def _wait(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    if inst.name.startswith(("s_waitcnt", "s_wait_")) and inst.name not in ("s_waitcnt_depctr", "s_wait_alu"):
        yield (_NOP,)


def _barrier(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    if inst.name == "s_barrier":
        yield (_NOP,)


def _opcode_bits(words: Words) -> range:
    """Where the opcode is in an instruction's first word (CDNA 3 ISA chapter 13, "Microcode formats")."""
    head = words[0]
    for width, pattern, bits in _FORMATS:
        if head >> (32 - width) == pattern:
            return bits
    return range(25, 31)


_FORMATS = (
    (9, 0b101111101, range(8, 16)),  # SOP1
    (9, 0b101111110, range(16, 23)),  # SOPC
    (9, 0b101111111, range(16, 23)),  # SOPP
    (4, 0b1011, range(23, 28)),  # SOPK
    (2, 0b10, range(23, 30)),  # SOP2
    (7, 0b0111111, range(9, 17)),  # VOP1
    (7, 0b0111110, range(17, 25)),  # VOPC
    (6, 0b110000, range(18, 26)),  # SMEM
    (9, 0b110100111, range(16, 23)),  # VOP3P
    (6, 0b110100, range(16, 26)),  # VOP3
    (6, 0b110110, range(17, 25)),  # DS
    (6, 0b110111, range(18, 25)),  # FLAT
    (6, 0b111000, range(18, 25)),  # MUBUF
)
"""Bits that tell a format, their value, and where its opcode is; VOP2 has what is left."""
_IDLE = ("s_nop", "s_setprio", "s_sleep", "s_waitcnt", "s_sethalt", "s_endpgm", "s_clause")


def _opcode(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    """One bit of the opcode."""
    if inst.name.startswith(_IDLE):
        return
    for bit in rng.permutation(np.array(_opcode_bits(words))):
        yield (words[0] ^ 1 << int(bit), *words[1:])


def _lanes(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    """A matrix product's operands change places, so that its tile is transposed; a permutation's pattern changes."""
    if inst.name.startswith(("v_mfma", "v_wmma")) and len(words) == 2:
        low, high = words[1] & 0x1FF, words[1] >> 9 & 0x1FF
        if low != high:
            yield words[0], words[1] & ~0x3FFFF | low << 9 | high
    elif "dpp" in inst.encoding:
        yield words[0], words[1] ^ 1 << int(rng.integers(8, 12))
    elif inst.name == "ds_swizzle_b32":
        yield words[0] ^ 1 << int(rng.integers(0, 5)), words[1]
    elif inst.name in ("v_perm_b32", "v_permlane32_swap_b32", "ds_bpermute_b32", "v_readlane_b32"):
        yield words[0], words[1] ^ 1 << int(rng.integers(0, 3)) + 9


def _offset(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    """An element more in the offset of a memory access."""
    size = 16 if "128" in inst.name or "x4" in inst.name else 8 if "64" in inst.name or "x2" in inst.name else 4
    if inst.name.startswith("ds_") and not inst.name.startswith(("ds_bpermute", "ds_permute", "ds_swizzle")):
        yield words[0] ^ (1 if "2" in inst.name.split("_")[1] else size), *words[1:]
    elif inst.name.startswith(("global_", "buffer_")) and len(words) == 2 and "inv" not in inst.name:
        yield words[0] ^ size, words[1]
    elif inst.name.startswith("s_load") and len(words) == 2:
        yield words[0], words[1] ^ 4


def _register(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    """Another register as first source."""
    if inst.name.startswith("v_") and inst.operands[1:] and not inst.name.startswith(("v_mfma", "v_wmma", "v_cmp")):
        word = len(words) - 1 if _opcode_bits(words) in (range(16, 26), range(16, 23)) else 0
        if inst.encoding in ("sdwa",) or "dpp" in inst.encoding:
            word = 1
        if any(operand.kind == "v" for operand in inst.operands[1:]):
            yield (*words[:word], words[word] ^ 1, *words[word + 1 :])


def _constant(inst: Instruction, words: Words, rng: np.random.Generator) -> Iterator[Words]:
    """One bit of an inline constant, or of a literal."""
    sources = [operand for operand in inst.operands[1:] if operand.kind == "constant"]
    if not sources or not inst.name.startswith(("v_", "s_")) or inst.name.startswith(("s_load", *_IDLE)):
        return
    if len(words) == 2 and any(operand.text.startswith("0x") for operand in sources):
        yield words[0], words[1] ^ 1 << int(rng.integers(0, 4))
    elif inst.name.startswith("v_") and _opcode_bits(words) == range(25, 31) and 128 <= words[0] & 0x1FF <= 192:
        yield (words[0] ^ 1, *words[1:])
    elif inst.name.startswith("s_") and _opcode_bits(words) in (range(23, 30), range(16, 23)) and words[0] >> 8 & 128:
        yield (words[0] ^ 1 << 8, *words[1:])


KINDS: dict[str, Callable[[Instruction, Words, np.random.Generator], Iterator[Words]]] = {
    "dropped wait": _wait,
    "dropped barrier": _barrier,
    "flipped opcode": _opcode,
    "lane layout": _lanes,
    "changed offset": _offset,
    "wrong register": _register,
    "changed constant": _constant,
}
"""Kind → the ways in which an instruction's words are changed; the first that gives an instruction counts."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a mutation.

    Attributes:
        how: the fault, or `results`; None where nothing tells.
        equivalent: why it is the same program; None where that is not shown.
    """

    how: str | None
    equivalent: str | None = None

    @property
    def missed(self) -> bool:
        return self.how is None and self.equivalent is None


class Judge:
    """Runs mutations of an image beside it.

    Args:
        image: of one architecture.
        feeds: gives the inputs of a run.
    """

    def __init__(self, image: Image, architecture: str, feeds: Callable[[int], dict[str, Array]]) -> None:
        self._image, self._architecture, self._feeds = image, architecture, feeds
        self._expected: dict[int, dict[str, Array]] = {}
        self._budget = 1 << 30

    def executed(self) -> dict[int, set[int]]:
        """Code object → places of its kernel's instructions that a run reaches.

        It sets how long a mutation may run: several times as long.
        """
        reached: dict[int, set[int]] = {code: set() for code in range(len(self._image.codes))}
        count = itertools.count(1)
        total = 0

        def watched(code: int, kernel: KernelCode) -> KernelCode:
            def watch(place: int, step: Step) -> Step:
                def run(waves: Waves) -> object:
                    nonlocal total
                    total = next(count)
                    reached[code].add(place)
                    return step.run(waves)

                return replace(step, run=run)

            return replace(kernel, steps=tuple(watch(place, step) for place, step in enumerate(kernel.steps)))

        self._run(self._image, 0, watched)
        self._budget = 3 * total
        return reached

    def judge(self, mutation: Mutation) -> Judgement:
        """A few runs, then a proof that nothing has changed, then more runs."""
        how = self._detected(mutation, range(_FEW))
        if how is None:
            proof = self._proof(mutation)
            if proof is not None:
                return Judgement(None, proof)
            how = self._detected(mutation, range(_FEW, _MANY))
        return Judgement(how, _CHECKED.get(mutation.kind) if how is None else None)

    def _detected(self, mutation: Mutation, runs: range) -> str | None:
        codes = list(self._image.codes)
        codes[mutation.code] = mutation.data
        image = replace(self._image, codes=tuple(codes))
        for number in runs:
            if number not in self._expected:
                self._expected[number] = self._run(self._image, number)
            try:
                actual = self._run(image, number)
            except DeepseekError as error:
                return error.message
            if any(not np.array_equal(actual[name], array) for name, array in self._expected[number].items()):
                return "results"
        return None

    def _proof(self, mutation: Mutation) -> str | None:
        """Why it is the same program, of instructions that compute or load."""
        step = _kernel(mutation.data).steps[mutation.place]
        kernel = _kernel(self._image.codes[mutation.code])
        original = kernel.steps[mutation.place]
        if shortcut(kernel, mutation.place, step):
            return "without lanes nothing behind it does anything"
        texts = (mutation.before, mutation.after)
        where = mutation.code, mutation.place

        def run(change: Change) -> dict[str, Array]:
            return self._run(self._image, 0, change)

        if all("_store" in text for text in texts) and idle(run, *where, self._expected[0]):
            return "it stores nothing"
        computes = all(text.startswith(("v_", "s_", *_READS)) and not text.startswith(_EFFECTS) for text in texts)
        if not computes or (original.control, original.target) != (step.control, step.target):
            return None
        return same_effect(run, *where, step, self._expected[0])

    def _run(self, image: Image, number: int, change: Change | None = None) -> dict[str, Array]:
        executable = RocmExecutable(image, _Device(self._architecture, image, change, self._budget))
        try:
            return executable.run(self._feeds(number))
        finally:
            executable.close()


class _Device(EmulatedDevice):
    """The emulator, with kernels changed after decoding."""

    def __init__(self, architecture: str, image: Image, change: Change | None, budget: int) -> None:
        super().__init__(architecture, Machine(budget=budget))
        self._codes, self._change = image.codes, change
        self._numbers: dict[int, int] = {}

    def load(self, code: bytes) -> CodeObject:
        module = super().load(code)
        self._numbers[id(module)] = self._codes.index(code)
        return module

    def function(self, module: CodeObject, symbol: str) -> KernelCode:
        kernel = super().function(module, symbol)
        return kernel if self._change is None else self._change(self._numbers[id(module)], kernel)
