"""Where tensors lie: buffers that are never alive together may share memory.

Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5.2): the
largest buffer first, each at the lowest offset that no buffer alive at the same time occupies. The most bytes that are
alive at once are a bound that no plan goes below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek_backend_arm.plan.program import ALIGNMENT, Buffer, Port, Step

__all__ = ["Plan", "plan_memory"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a memory plan.

    Attributes:
        arena: bytes of the arena.
        bound: most bytes that are alive at once.
    """

    arena: int
    bound: int


def plan_memory(steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]) -> Plan:
    """Give each buffer its place."""
    lives = _lives(steps, inputs, outputs)
    placed: list[Buffer] = []
    for buffer in sorted(lives, key=lambda b: (-b.bytes, lives[b])):
        begin, end = lives[buffer]
        others = [b for b in placed if lives[b][0] <= end and begin <= lives[b][1]]
        buffer.place = _lowest_gap(sorted(others, key=lambda b: b.place), _room(buffer))
        placed.append(buffer)
    arena = max((b.place + _room(b) for b in placed), default=0)
    alive = [sum(_room(b) for b, (begin, end) in lives.items() if begin <= i <= end) for i in range(-1, len(steps) + 1)]
    return Plan(arena, max(alive, default=0))


def _lives(steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]) -> dict[Buffer, tuple[int, int]]:
    """First and last step that touches each buffer; inputs are there before, outputs are wanted behind."""
    lives: dict[Buffer, tuple[int, int]] = {port.buffer: (-1, -1) for port in inputs}
    for number, step in enumerate(steps):
        for buffer in step.buffers():
            lives[buffer] = (lives.get(buffer, (number, number))[0], number)
    wanted = {port.buffer for port in outputs}
    for first, last in _loops(steps):
        for buffer, (begin, end) in lives.items():
            if begin < first <= end <= last:
                lives[buffer] = (begin, last)
            elif first <= begin <= last and (last < end or buffer in wanted):
                lives[buffer] = (first, end)
    for port in outputs:
        lives[port.buffer] = (lives.get(port.buffer, (len(steps), 0))[0], len(steps))
    return lives


def _loops(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """First and last step of each loop, inner ones before those around them.

    What was there before is read in every trip, and what is wanted behind is added to by every trip.
    """
    jumps = [(number, step.values["count"]) for number, step in enumerate(steps) if step.kernel == "jump"]
    return [(number + 1 + int(str(count)), number) for number, count in jumps if int(str(count)) < 0]


def _lowest_gap(others: Sequence[Buffer], size: int) -> int:
    place = 0
    for other in others:
        if place + size <= other.place:
            return place
        place = max(place, other.place + _room(other))
    return place


def _room(buffer: Buffer) -> int:
    """Bytes with what kernels may read past the end, and up to the next multiple of `ALIGNMENT`."""
    return -(-(buffer.bytes + 16) // ALIGNMENT) * ALIGNMENT
