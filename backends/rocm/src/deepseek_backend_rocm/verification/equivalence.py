"""Shows that a changed instruction is none: it does the same whenever it is executed, or nobody uses what it does.

A mutation that no run shows is either one that the emulator misses, or the same program: a sum in place of an or of
bits that never meet, a maximum of what is never negative. Which of the two is decided here, from what waves hold
whenever they come there, and not by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import KernelCode
from deepseek_backend_rocm.emulator.isa.registry import SGPR, Step
from deepseek_backend_rocm.emulator.operands import EXEC
from deepseek_backend_rocm.emulator.waves import Waves
from deepseek_core.errors import DeepseekError

__all__ = ["Change", "never_differs", "shortcut", "unused"]

_NOISE = 0x9E3779B9
_SCC, _MASK = -1, -2
_VECTOR = ("v_", "ds_", "global_", "buffer_", "s_waitcnt", "s_wait_", "s_nop")
Change = Callable[[int, KernelCode], KernelCode]
Run = Callable[[Change], dict[str, Array]]
"""Runs the original program with its kernels changed; gives its results."""


def never_differs(run: Run, code: int, place: int, mutant: Step, expected: dict[str, Array]) -> bool:
    """Whether an instruction and its mutant write the same and go the same way, whenever waves come there.

    Neither may write memory, wait, or be a barrier. What the mutant writes besides gets noise, which must not matter.

    Args:
        run: runs the program.
        code, place: where the instruction is.
        mutant: what it would do, changed.
        expected: results of the program.
    """
    differs: list[bool] = []

    def beside(original: Step) -> Step:
        written = original.writes | mutant.writes

        def both(waves: Waves) -> object:
            before, board = _state(waves, written), waves.board
            waves.board = deepcopy(board)
            way = mutant.run(waves)
            changed = _state(waves, written)
            _restore(waves, before)
            waves.board = board
            result = original.run(waves)
            now = _state(waves, original.writes)
            alike = all(np.array_equal(changed[number], now[number]) for number in now)
            same_way = not original.control or np.array_equal(_ways(way, waves), _ways(result, waves))
            differs.append(not alike or not same_way)
            _add_noise(waves, mutant.writes - original.writes)
            return result

        return replace(original, run=both)

    return _gives(run, _replacing(code, place, beside), expected) and bool(differs) and not any(differs)


def unused(run: Run, code: int, place: int, expected: dict[str, Array]) -> bool:
    """Whether results stay when noise takes the place of what a vector instruction writes.

    Args:
        run: runs the program.
        code, place: where the instruction is.
        expected: results of the program.
    """

    def noisy(original: Step) -> Step:
        def act(waves: Waves) -> object:
            result = original.run(waves)
            _add_noise(waves, original.writes)
            return result

        return replace(original, run=act)

    return _gives(run, _replacing(code, place, noisy), expected)


def shortcut(kernel: KernelCode, place: int, mutant: Step) -> bool:
    """Whether a branch around instructions became one that does nothing, and those do nothing without lanes.

    Args:
        kernel: the program.
        place: of the branch.
        mutant: what is there instead.
    """
    step = kernel.steps[place]
    if step.control != "skip" or mutant.control or mutant.writes:
        return False
    skipped = range(place + 1, kernel.targets[place])
    vector = all(kernel.instructions[i].text.startswith(_VECTOR) for i in skipped)
    return vector and all(number < SGPR for i in skipped for number in kernel.steps[i].writes)


def _gives(run: Run, change: Change, expected: dict[str, Array]) -> bool:
    try:
        actual = run(change)
    except DeepseekError:
        return False
    return all(np.array_equal(actual[name], array) for name, array in expected.items())


def _add_noise(waves: Waves, numbers: frozenset[int]) -> None:
    for number in numbers:
        if number < SGPR:
            waves.write_v(number, waves.v[number] ^ np.uint32(_NOISE))
        else:
            waves.write_s(number - SGPR, waves.s[number - SGPR] ^ np.uint32(_NOISE))


def _replacing(code: int, place: int, action: Callable[[Step], Step]) -> Change:
    def change(number: int, kernel: KernelCode) -> KernelCode:
        if number != code:
            return kernel
        steps = list(kernel.steps)
        steps[place] = action(steps[place])
        return replace(kernel, steps=tuple(steps))

    return change


def _ways(answer: object, waves: Waves) -> Array:
    """Which of the active waves a branch takes."""
    return np.broadcast_to(np.asarray(answer, np.bool_), waves.count)[waves.active]


def _state(waves: Waves, numbers: frozenset[int]) -> dict[int, Array]:
    """What these registers, the condition and the mask hold."""
    state = {number: _register(waves, number).copy() for number in numbers}
    state[_SCC], state[_MASK] = waves.scc.copy(), waves.s64[EXEC // 2].copy()
    return state


def _register(waves: Waves, number: int) -> Array:
    return waves.s[number - SGPR] if number >= SGPR else waves.v[number]


def _restore(waves: Waves, state: dict[int, Array]) -> None:
    for number, values in state.items():
        if number >= SGPR:
            waves.write_s(number - SGPR, values)
        elif number >= 0:
            waves.v[number][:] = values
    waves.scc[:] = state[_SCC]
    waves.write_s64(EXEC, state[_MASK])
