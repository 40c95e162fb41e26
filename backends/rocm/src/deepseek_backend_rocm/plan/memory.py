"""Where tensors lie: buffers that are never alive together may share memory.

Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5.2): the
largest buffer first, each at the lowest offset that no buffer alive at the same time occupies. The most bytes that are
alive at once are a bound that no plan goes below.
"""

from __future__ import annotations

from collections.abc import Sequence

from deepseek_backend_rocm.plan.steps import Buffer, Place, Step
from deepseek_backend_rocm.program import ALIGNMENT

__all__ = ["plan_memory"]


def plan_memory(steps: Sequence[Step], inputs: Sequence[Place], outputs: Sequence[Place]) -> tuple[int, int]:
    """Give each buffer its place; bytes of the arena, and the most bytes that are alive at once."""
    lives = _lives(steps, inputs, outputs)
    placed: list[Buffer] = []
    for buffer in sorted(lives, key=lambda b: (-b.bytes, lives[b])):
        begin, end = lives[buffer]
        others = [b for b in placed if lives[b][0] <= end and begin <= lives[b][1]]
        buffer.place = _lowest_gap(sorted(others, key=lambda b: b.place), _room(buffer))
        placed.append(buffer)
    arena = max((b.place + _room(b) for b in placed), default=0)
    alive = [sum(_room(b) for b, (begin, end) in lives.items() if begin <= i <= end) for i in range(-1, len(steps) + 1)]
    return arena, max(alive, default=0)


def _lives(steps: Sequence[Step], inputs: Sequence[Place], outputs: Sequence[Place]) -> dict[Buffer, tuple[int, int]]:
    """First and last step that touches each buffer; inputs are there before, outputs are wanted behind."""
    lives: dict[Buffer, tuple[int, int]] = {port.buffer: (-1, -1) for port in inputs}
    for number, step in enumerate(steps):
        for buffer in step.buffers():
            lives[buffer] = (lives.get(buffer, (number, number))[0], number)
    for port in outputs:
        lives[port.buffer] = (lives.get(port.buffer, (len(steps), 0))[0], len(steps))
    return lives


def _lowest_gap(others: Sequence[Buffer], size: int) -> int:
    place = 0
    for other in others:
        if place + size <= other.place:
            return place
        place = max(place, other.place + _room(other))
    return place


def _room(buffer: Buffer) -> int:
    """Bytes up to the next multiple of `ALIGNMENT`; empty buffers have a place too."""
    return max(-(-buffer.bytes // ALIGNMENT), 1) * ALIGNMENT
