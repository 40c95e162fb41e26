"""Programs with one thing wrong, which the emulator must notice: by a hazard, or by other results.

A driver payload is plain words, so a mutation is a change of words or of constant bytes. What is dropped becomes a
command that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.emulator.isa import OPERATIONS, REGISTERS, Opcode
from deepseek_backend_npu.emulator.stream import Step, decode
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.equivalence import equivalent
from deepseek_core import TensorInfo
from deepseek_core.errors import DeepseekError

__all__ = ["KINDS", "Judge", "Judgement", "Mutation", "mutations"]

Feeds = Mapping[str, NDArray[Any]]
_FEW, _MANY = 2, 120
"""Runs beside the mutated program before and after the proof is tried."""

_WEIGHT_BYTES = 8
_SCALE_BITS = range(5 * 8 + 16, 5 * 8 + 31)
"""Of a record of ten bytes, the upper half of the scale: lower bits change results by less than they are rounded."""
_MOST_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Mutation:
    """A wrong program.

    Attributes:
        kind: what is wrong.
        place: where, in words.
        container: the program.
    """

    kind: str
    place: str
    container: Container


def mutations(container: Container, kind: str, rng: np.random.Generator) -> Iterator[Mutation]:
    """All mutations of one kind, in random order."""
    steps = decode(parse(container.payload).stream)
    found = list(KINDS[kind](container, steps, rng))
    for index in rng.permutation(len(found)):
        place, mutant = found[index]()
        yield Mutation(kind, place, mutant)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a mutation.

    Attributes:
        how: the hazard, or `results`; None where nothing tells.
        equivalent: the proof that it is the same program; None where there is none.
    """

    how: str | None
    equivalent: str | None = None

    @property
    def missed(self) -> bool:
        return self.how is None and self.equivalent is None


class Judge:
    """Runs mutations of one program beside it."""

    def __init__(self, container: Container, seed: int = 0) -> None:
        self._container = container
        self._executable = NpuExecutable(container)
        self._rng = np.random.default_rng(seed)
        self._runs: list[tuple[Feeds, Feeds]] = []

    def judge(self, mutation: Mutation) -> Judgement:
        """Two runs, then a proof that nothing has changed, then many runs."""
        how = self._detected(mutation, range(_FEW))
        if how is None:
            proof = equivalent(self._container, mutation.container)
            if proof is not None:
                return Judgement(None, proof)
            how = self._detected(mutation, range(_FEW, _MANY))
        return Judgement(how)

    def _detected(self, mutation: Mutation, runs: range) -> str | None:
        try:
            executable = NpuExecutable(mutation.container)
            for number in runs:
                feeds, expected = self._run(number)
                actual = executable.run(feeds)
                if any(not np.array_equal(actual[name], array) for name, array in expected.items()):
                    return "results"
        except DeepseekError as error:
            return error.message
        return None

    def _run(self, number: int) -> tuple[Feeds, Feeds]:
        while len(self._runs) <= number:
            feeds = {info.name: self._codes(info, len(self._runs) % 3) for info in self._container.inputs}
            self._runs.append((feeds, self._executable.run(feeds)))
        return self._runs[number]

    def _codes(self, info: TensorInfo, kind: int) -> NDArray[Any]:
        """Random codes, extreme ones, or an extreme one for each channel: some bits show only where sums are large."""
        dtype, shape = np.dtype(info.dtype), tuple(int(size or 0) for size in info.shape or ())
        ends = np.iinfo(dtype)
        if kind == 0:
            return self._rng.integers(ends.min, ends.max + 1, shape).astype(dtype)
        drawn = self._rng.choice([ends.min, ends.max], shape if kind == 1 else (*shape[:2], *(1 for _ in shape[2:])))
        return np.ascontiguousarray(np.broadcast_to(drawn, shape)).astype(dtype)


Mutant = Callable[[], tuple[str, Container]]


def _dropped_operations(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    wanted = (*OPERATIONS, Opcode.DMA_START)
    return (_without(container, step) for step in steps if step.opcode in wanted)


def _dropped_waits(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    wanted = (Opcode.DMA_WAIT, Opcode.KERNEL_WAIT)
    return (_without(container, step) for step in steps if step.opcode in wanted)


def _without(container: Container, step: Step) -> Mutant:
    def build() -> tuple[str, Container]:
        words = _words(container)
        words[step.position] = Opcode.PMU_MASK
        return f"{step.opcode.name} at word {step.position}", _with_words(container, words)

    return build


def _more_blocks(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    """BLOCKDEP 3 wherever the compiler has less, for that operation alone."""
    opcode = next(code for code, name in REGISTERS.items() if name == "BLOCKDEP")
    stream = parse(container.payload).stream
    for place, word in enumerate(stream):
        if int(word) & 0xFFFF == opcode and int(word) >> 16 < _MOST_BLOCKS and _is_command(steps, place):
            yield _replaced(container, place, opcode | _MOST_BLOCKS << 16, f"BLOCKDEP at word {place}")


def _is_command(steps: Sequence[Step], place: int) -> bool:
    """A BLOCKDEP command is followed by waits or its operation; a payload that looks like one is not."""
    following = next((step for step in steps if step.position > place), None)
    return following is not None and following.position - place <= 2


def _replaced(container: Container, place: int, word: int, text: str) -> Mutant:
    def build() -> tuple[str, Container]:
        words = _words(container)
        words[place] = word
        return text, _with_words(container, words)

    return build


def _weight_bits(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    """One bit of a compressed stream; which may be corrupt then, and kill the decoder."""
    for start, size in _constants(steps, "WEIGHT"):
        # The first bytes describe the palette; the last may be padding.
        for _ in range(2):
            offset = start + int(rng.integers(0, max(size - 2 * _WEIGHT_BYTES, 1)))
            yield _flipped(container, offset, int(rng.integers(0, 8)), "weights")


def _scale_bits(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    for start, size in _constants(steps, "SCALE"):
        record = int(rng.integers(0, max((size - 6) // 10, 1)))
        bit = int(rng.choice(_SCALE_BITS))
        yield _flipped(container, start + record * 10 + bit // 8, bit % 8, "scales")


def _constants(steps: Sequence[Step], name: str) -> Iterator[tuple[int, int]]:
    """Ranges of constants that operations read, directly or where DMA has put them."""
    fetched: list[tuple[int, int, int, int]] = []
    for step in steps:
        registers = step.registers
        if step.opcode is Opcode.DMA_START:
            source, target = registers.address("DMA0_SRC"), registers.address("DMA0_DST")
            fetched.append((registers["DMA0_DST_REGION"], target, registers.address("DMA0_LEN"), source - target))
        if step.opcode not in (Opcode.CONV, Opcode.DEPTHWISE):
            continue
        region, start = registers[f"{name}_REGION"], registers.address(f"{name}_BASE")
        for where, target, size, shift in reversed(fetched):
            if region == where and target <= start < target + size:
                start += shift
                break
        yield start, registers[f"{name}_LENGTH"]


def _flipped(container: Container, offset: int, bit: int, what: str) -> Mutant:
    def build() -> tuple[str, Container]:
        data = bytearray(container.constants)
        data[offset] ^= 1 << bit
        return f"bit {bit} of byte {offset} ({what})", replace(container, constants=bytes(data))

    return build


def _registers(container: Container, steps: Sequence[Step], rng: np.random.Generator) -> Iterator[Mutant]:
    """The lowest bit of a zero point, a pad, a size or a window."""
    wanted = ("ZERO_POINT", "PAD_", "_M1", "KERNEL_STRIDE")
    for place, word in enumerate(parse(container.payload).stream):
        name = REGISTERS.get(int(word) & 0xFFFF, "")
        in_use = any(part in name for part in wanted) and "HEIGHT1" not in name and "IFM2" not in name
        if in_use and "BLK" not in name:
            yield _replaced(container, place, int(word) ^ 1 << 16, f"{name} at word {place}")


def _words(container: Container) -> NDArray[np.uint32]:
    return parse(container.payload).stream.copy()


def _with_words(container: Container, words: NDArray[np.uint32]) -> Container:
    head = container.payload[: len(container.payload) - words.nbytes]
    return replace(container, payload=head + words.astype("<u4").tobytes())


KINDS: dict[str, Callable[[Container, Sequence[Step], np.random.Generator], Iterator[Mutant]]] = {
    "dropped operation": _dropped_operations,
    "dropped wait": _dropped_waits,
    "block dependency": _more_blocks,
    "weight bit": _weight_bits,
    "scale bit": _scale_bits,
    "register": _registers,
}
"""Kind → its mutations."""
