"""Programs with one thing wrong, which the emulator must notice: by a hazard, or by other results.

A driver payload is plain words, so a mutation is a change of words or of constant bytes. What is dropped becomes a
command that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.emulator.isa import OPERATIONS, REGISTERS, Opcode
from deepseek_backend_npu.emulator.machine import AnyOperation, Machine, program
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.stream import Step
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.tosa.schema import NUMPY
from deepseek_backend_npu.verification.equivalence import equivalent
from deepseek_core.errors import DeepseekError

__all__ = ["KINDS", "Judge", "Judgement", "Mutation", "mutations"]

Arrays = Sequence[NDArray[Any]]
_FEW, _MANY = 2, 600
"""Runs beside the mutated program before and after the proof is tried."""

_WEIGHT_BYTES = 8
_WIDE = 0x4000
"""Bit of a command that has a payload behind it."""
_SCALE_BITS = {"ethos-u55": range(56, 71), "ethos-u65": range(56, 71), "ethos-u85": range(48, 63)}
"""Of a record of ten bytes, the upper half of the scale: lower bits change results by less than they are rounded."""
_MOST_BLOCKS = {"ethos-u55": 3, "ethos-u65": 3, "ethos-u85": 7}


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
    steps = program(DEVICES[container.device], parse(container.payload))[0]
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
        self._machine = _machine(container)
        self._seed = seed
        self._runs: list[Arrays] = []

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
            machine = _machine(mutation.container)
            for number in runs:
                actual = self._results(machine, number)
                while len(self._runs) <= number:
                    self._runs.append(self._results(self._machine, len(self._runs)))
                if any(not np.array_equal(one, other) for one, other in zip(actual, self._runs[number], strict=True)):
                    return "results"
        except DeepseekError as error:
            return error.message
        return None

    def _results(self, machine: Machine, number: int) -> Arrays:
        """What a run gives; from the third on, what every operation gives for random inputs of its own.

        Behind a ReLU, most of what changes is hidden.
        """
        rng = np.random.default_rng([self._seed, number])
        feeds = [_codes(rng, border.shape, NUMPY[border.dtype]) for border in self._container.feeds]
        between: list[NDArray[Any]] = []

        def exchange(operation: AnyOperation, memory: Memory) -> None:
            for feature_map in operation.inputs:
                between.append(feature_map.read(memory).copy())
                feature_map.write(memory, _codes(rng, feature_map.shape, feature_map.dtype))

        results = machine.run(feeds, exchange if number >= _FEW else None)
        return [*results, *between]


def _machine(container: Container) -> Machine:
    return Machine(DEVICES[container.device], parse(container.payload), container)


def _codes(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Random codes, in a range of each channel's own: wide or narrow, anywhere. Of int32 small ones, as sums are."""
    info = np.iinfo(dtype)
    low, high = max(int(info.min), -(1 << 20)), min(int(info.max), 1 << 20)
    start = rng.integers(low, high + 1, shape[-1])
    width = (2.0 ** rng.uniform(0, np.log2(high - low + 1), shape[-1])).astype(np.int64)
    return np.clip(rng.integers(start - width, start + width + 1, tuple(shape)), low, high).astype(dtype)


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
    """The largest BLOCKDEP wherever the compiler has less."""
    most = _MOST_BLOCKS[DEVICES[container.device].family]
    for place, word, name in _settings(container):
        if name == "BLOCKDEP" and word >> 16 < most:
            yield _replaced(container, place, word & 0xFFFF | most << 16, f"BLOCKDEP at word {place}")


def _settings(container: Container) -> Iterator[tuple[int, int, str]]:
    """Place, word and register of each command that sets 16 bits."""
    stream, place = parse(container.payload).stream, 0
    while place < len(stream):
        word = int(stream[place])
        if word & _WIDE:
            place += 2
            continue
        if word & 0xFFFF in REGISTERS:
            yield place, word, REGISTERS[word & 0xFFFF]
        place += 1


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
        bit = int(rng.choice(_SCALE_BITS[DEVICES[container.device].family]))
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
    for place, word, name in _settings(container):
        in_use = any(part in name for part in wanted) and "HEIGHT1" not in name and "IFM2" not in name
        if in_use and "BLK" not in name:
            yield _replaced(container, place, word ^ 1 << 16, f"{name} at word {place}")


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
