"""Shows that a changed instruction is none: it does the same whenever it is executed, or nobody uses what it does.

A mutation that no run shows is either one that the emulator misses, or the same program: a sum in place of an or of
bits that never meet, a maximum of what is never negative. Which of the two is decided here, from what waves hold
whenever they come there, and not by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import KernelCode
from deepseek_backend_rocm.emulator.faults import KernelFault
from deepseek_backend_rocm.emulator.isa.registry import SGPR, Step
from deepseek_backend_rocm.emulator.operands import EXEC
from deepseek_backend_rocm.emulator.scoreboard import STORE
from deepseek_backend_rocm.emulator.waves import Waves
from deepseek_core.errors import DeepseekError

__all__ = ["Change", "idle", "same_effect", "shortcut"]

_NOISES = 3
_SCC, _MASK = -1, -2
_VECTOR = ("v_", "ds_", "global_", "buffer_", "s_waitcnt", "s_wait_", "s_nop")
Change = Callable[[int, KernelCode], KernelCode]
Run = Callable[[Change], dict[str, Array]]
"""Runs the original program with its kernels changed; gives its results."""


def same_effect(run: Run, code: int, place: int, mutant: Step, expected: dict[str, Array]) -> str | None:
    """Why an instruction that computes or loads may be the changed one; None where nothing here shows it.

    First both are run from the same state whenever waves come there. If they differ, noise takes the place of just
    those bits of just those lanes that do; results that stay show that nothing uses them.

    Args:
        run: runs the program.
        code, place: where the instruction is.
        mutant: what it would do, changed; it does not write memory, wait, or stand at a barrier.
        expected: results of the program.
    """
    differences: list[dict[int, Array] | None] = []

    def beside(original: Step) -> Step:
        def both(waves: Waves) -> object:
            written = original.writes | mutant.writes
            before, board = _state(waves, written), waves.board
            waves.board = deepcopy(board)
            way = mutant.run(waves)
            changed = _state(waves, written)
            _restore(waves, before)
            waves.board = board
            result = original.run(waves)
            now = _state(waves, written)
            decides = bool((changed[_MASK] != now[_MASK]).any())
            same_way = not original.control or np.array_equal(_ways(way, waves), _ways(result, waves))
            bits = {number: changed[number] ^ now[number] for number in (*written, _SCC)}
            differences.append(None if decides or not same_way else bits)
            return result

        return replace(original, run=both)

    if not _gives(run, _replacing(code, place, beside), expected) or any(found is None for found in differences):
        return None
    if not any(bits.any() for found in differences if found is not None for bits in found.values()):
        return "it does the same whenever it is executed"
    noisy = (_replacing(code, place, _noise(differences, seed)) for seed in range(_NOISES))
    return "nothing uses the bits that differ" if all(_gives(run, change, expected) for change in noisy) else None


def _noise(differences: Sequence[dict[int, Array] | None], seed: int) -> Callable[[Step], Step]:
    """The instruction with noise in the bits that differ, execution by execution."""

    def noisy(original: Step) -> Step:
        rng, found = np.random.default_rng(seed), iter(differences)

        def act(waves: Waves) -> object:
            result = original.run(waves)
            for number, bits in (next(found) or {}).items():
                if number == _SCC:
                    waves.scc ^= bits & rng.integers(0, 2, bits.shape).astype(np.bool_)
                    continue
                register = _register(waves, number)
                if register.shape != bits.shape:
                    raise KernelFault("takes another way with noise")
                values = register ^ (bits & rng.integers(0, 1 << 32, bits.shape, dtype=np.uint32))
                if number >= SGPR:
                    waves.write_s(number - SGPR, values)
                else:
                    register[:] = values
            return result

        return replace(original, run=act)

    return noisy


def idle(run: Run, code: int, place: int, expected: dict[str, Array]) -> bool:
    """Whether results stay without an instruction that stores: all its lanes are beyond the buffer, for example."""

    def without(original: Step) -> Step:
        def count(waves: Waves) -> None:
            waves.board.issue(STORE, (), waves.active, waves.every)

        return replace(original, run=count)

    return _gives(run, _replacing(code, place, without), expected)


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
