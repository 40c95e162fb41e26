"""Order of memory accesses: transfers and operations overlap unless the program waits, blocks unless it says so.

The rules are those that Vela's own generator keeps (`ethos_u55_register_cs_generator.cpp`, Apache-2.0):

- DMA transfers run beside operations. DMA_WAIT n waits until at most n are outstanding, KERNEL_WAIT n likewise for
  operations. Only so many of either are ever outstanding; starting one more waits for the oldest.
- Operations run in order, in blocks. With BLOCKDEP n, block i of one may start while the last n - i blocks of the one
  before it are not finished.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deepseek_backend_npu.emulator.feature_map import Box, FeatureMap
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.stream import HazardError

__all__ = ["BUFFER_RAM", "Access", "BlockTrace", "Ordering"]

BUFFER_RAM = -1
"""Stands for a region in accesses to the lookup tables."""


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes that are read or written."""

    region: int
    start: int
    end: int
    writes: bool

    def conflicts(self, other: Access) -> bool:
        if self.region != other.region or not (self.writes or other.writes):
            return False
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        what = "writes to" if self.writes else "reads from"
        where = "the lookup tables" if self.region == BUFFER_RAM else f"region {self.region}"
        return f"{what} {where}, {self.start:#x} to {self.end:#x}"


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """What the blocks of an operation read and write.

    Attributes:
        inputs: feature maps.
        input_job, output_job: rows, columns and channels that one block reads and writes.
        output: feature map; None where the next operation of a chain takes it.
    """

    inputs: tuple[FeatureMap, ...]
    input_job: tuple[int, int, int]
    output: FeatureMap | None
    output_job: tuple[int, int, int]


class Ordering:
    """Outstanding transfers and operations."""

    def __init__(self, transfers: int, operations: int) -> None:
        self._transfers: deque[Sequence[Access]] = deque(maxlen=transfers)
        self._operations: deque[Sequence[Access]] = deque(maxlen=operations)
        self._last: BlockTrace | None = None
        self._chain: tuple[Access, ...] = ()

    def transfer(self, accesses: Sequence[Access]) -> None:
        """A DMA transfer starts."""
        _refuse(accesses, self._transfers, "a transfer", "DMA_WAIT")
        _refuse(accesses, self._operations, "an operation", "KERNEL_WAIT")
        self._transfers.append(accesses)

    def operation(self, accesses: Sequence[Access], trace: BlockTrace, blocks: int, memory: Memory) -> None:
        """An operation starts while at most `blocks` blocks of the one before it run; a chain counts as one."""
        _refuse(accesses, self._transfers, "a transfer", "DMA_WAIT")
        if blocks and self._last is not None:
            _check_blocks(self._last, trace, blocks, memory)
        self._chain = (*self._chain, *accesses)
        if trace.output is not None:
            self._operations.append(self._chain)
            self._last, self._chain = trace, ()

    def wait_transfers(self, left: int) -> None:
        _wait(self._transfers, left)

    def wait_operations(self, left: int) -> None:
        _wait(self._operations, left)


def _wait(outstanding: deque[Sequence[Access]], left: int) -> None:
    while len(outstanding) > left:
        outstanding.popleft()


def _refuse(accesses: Sequence[Access], outstanding: deque[Sequence[Access]], what: str, wait: str) -> None:
    for others in outstanding:
        for access in accesses:
            for other in others:
                if access.conflicts(other):
                    raise HazardError(f"{access} while {what} that {other} may not have ended ({wait} is missing)")


def _check_blocks(before: BlockTrace, after: BlockTrace, blocks: int, memory: Memory) -> None:
    written = before.output
    assert written is not None
    for source in after.inputs:
        if source.region != written.region or not _overlap(source.hull, written.hull):
            continue
        marks = memory.marks(source.region)
        last = list(_jobs(written, before.output_job))[-blocks:]
        for age, box in enumerate(reversed(last)):
            written.mark(marks, box, 1 << age)
        for position, box in enumerate(_first(source, after.input_job, blocks)):
            early = (1 << (blocks - position)) - 1
            if source.marked(marks, box) & early:
                raise HazardError(f"block {position} reads what may not have been written yet (BLOCKDEP is {blocks})")


def _jobs(feature_map: FeatureMap, job: tuple[int, int, int]) -> Iterator[Box]:
    """Boxes of one block each: channels innermost, then columns, then rows."""
    height, width, depth = feature_map.shape
    for y in range(0, height, job[0]):
        for x in range(0, width, job[1]):
            for z in range(0, depth, job[2]):
                yield Box((y, min(y + job[0], height)), (x, min(x + job[1], width)), (z, min(z + job[2], depth)))


def _first(feature_map: FeatureMap, job: tuple[int, int, int], count: int) -> Iterator[Box]:
    for _, box in zip(range(count), _jobs(feature_map, job), strict=False):
        yield box


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
