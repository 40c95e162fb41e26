"""Proves that a changed program is the same program: what was changed, nothing reads.

A mutation that no run shows is either one that the emulator misses, or none at all: a filler between weights, a block
dependency with nothing before it, the stride of a window with one position. Which of the two is decided here, from
what the operations read, and not by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.emulator import Machine
from deepseek_backend_npu.emulator.machine import AnyOperation, program
from deepseek_backend_npu.emulator.memory import Memory
from deepseek_backend_npu.emulator.operation import Operation
from deepseek_backend_npu.emulator.stream import Step
from deepseek_backend_npu.payload import parse
from deepseek_backend_npu.tosa.schema import NUMPY

__all__ = ["equivalent"]

_PLACES = ("HEIGHT0_M1", "HEIGHT1_M1", "WIDTH0_M1", "_BASE0", "_BASE1", "_BASE2", "_BASE3", "_STRIDE_")
_BY_EFFECT = ("BLOCKDEP", "KERNEL_STRIDE")


def equivalent(original: Container, mutant: Container) -> str | None:
    """Why two programs compute the same for every input; None where nothing here proves it."""
    if original.constants != mutant.constants:
        return _same_constants(original, mutant) if original.payload == mutant.payload else None
    one, other = (_operations(container) for container in (original, mutant))
    if len(one) != len(other):
        return None
    reasons = [_same(a, b, before) for a, b, before in zip(one, other, [None, *other], strict=False)]
    if any(reason is None for reason in reasons):
        return None
    return next((reason for reason in reasons if reason), "no operation sees the change")


def _operations(container: Container) -> list[AnyOperation]:
    return program(DEVICES[container.device], parse(container.payload))[1]


def _same(one: AnyOperation, other: AnyOperation, before: AnyOperation | None) -> str | None:
    """Why an operation does the same; empty where it is the same, None where it may differ."""
    if _registers(one.step) != _registers(other.step) or one.reach != other.reach or one.window != other.window:
        return None
    if one.blocks == other.blocks:
        changed = dict(one.step.registers.items()) != dict(other.step.registers.items())
        return "every element is where it was, and every window too" if changed else ""
    if before is None:
        return "no operation runs before it"
    return None if _shares(before, other) else "the operation before it writes nothing that it reads"


def _shares(before: AnyOperation, after: AnyOperation) -> bool:
    if isinstance(before, Operation) and isinstance(after, Operation):
        return before.writes_to(after)
    return isinstance(before, Operation) or isinstance(after, Operation) or before.writes_to(after)


def _registers(step: Step) -> dict[str, tuple[int, int]]:
    """Registers, less those whose whole effect is in what an operation reaches and how its window slides."""
    return {
        name: value
        for name, value in step.registers.items()
        if name not in _BY_EFFECT and not any(part in name for part in _PLACES)
    } | {"opcode": (step.opcode, step.parameter)}


def _same_constants(original: Container, mutant: Container) -> str | None:
    one, other = _decoded(original), _decoded(mutant)
    if len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
        return "every weight, bias and scale is the same: the bit is a filler"
    return None


def _decoded(container: Container) -> list[NDArray[Any]]:
    """All weights and scales, as the operations see them: they do not depend on the input."""
    found: list[NDArray[Any]] = []

    def observe(operation: AnyOperation, memory: Memory) -> None:
        found.extend(operation.constants(memory))

    machine = Machine(DEVICES[container.device], parse(container.payload), container)
    machine.run([np.zeros(border.shape, NUMPY[border.dtype]) for border in container.feeds], observe)
    return found
