"""The registers that a wave starts with (LLVM's AMDGPU guide, "Initial Kernel Execution State")."""

from __future__ import annotations

import struct

import numpy as np

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.descriptor import Descriptor
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.registry import SGPR
from deepseek_backend_rocm.emulator.operands import EXEC, M0, NULL, TRAP
from deepseek_backend_rocm.emulator.waves import Waves

__all__ = ["start"]

_UNUSED = ("private_segment_buffer", "flat_scratch_init", "private_segment_size", "dispatch_id")
"""Of kernels without scratch; what they hold is not looked at."""


def start(
    waves: Waves, descriptor: Descriptor, groups: Array, threads: int, arguments: tuple[int, bytes]
) -> frozenset[int]:
    """Set up waves; gives the registers that now hold something.

    Args:
        waves: of all workgroups, those of one together.
        descriptor: of their kernel.
        groups: ids of the workgroups, [G, 3].
        threads: of a workgroup.
        arguments: where they are, and what they are.
    """
    each = waves.count // len(groups)
    ids = np.repeat(groups.astype(np.uint32), each, axis=0)
    words = _user_words(descriptor, arguments)
    for index, word in enumerate(words):
        waves.s[index][:] = word
    known = {SGPR + index for index in (*range(len(words)), EXEC, EXEC + 1, M0, NULL)}
    if waves.architecture.generation >= 12:
        waves.s[TRAP + 9][:] = ids[:, 0]
        waves.s[TRAP + 7][:] = ids[:, 1] | ids[:, 2] << np.uint32(16)
        waves.s[TRAP + 8][:] = np.tile(np.arange(each, dtype=np.uint32) << np.uint32(25), len(groups))
        known |= {SGPR + TRAP + word for word in (7, 8, 9)}
    else:
        index = descriptor.user_count
        for axis in range(3):
            if descriptor.group_ids[axis]:
                waves.s[index][:] = ids[:, axis]
                known.add(SGPR + index)
                index += 1
    thread = np.arange(each * waves.lanes).reshape(each, waves.lanes)
    waves.v[0][:] = np.tile(thread, (len(groups), 1))
    if not waves.architecture.packed_ids:
        for axis in range(1, descriptor.ids + 1):
            waves.v[axis][:] = 0
        known |= set(range(descriptor.ids + 1))
    if threads % waves.lanes:
        _disable(waves, np.tile(thread < threads, (len(groups), 1)))
    return frozenset(known | {0})


def _disable(waves: Waves, executed: Array) -> None:
    """Threads that a workgroup lacks in its last wave do not execute."""
    waves.write_lanes(EXEC, executed)


def _user_words(descriptor: Descriptor, arguments: tuple[int, bytes]) -> list[int]:
    """Contents of the first scalar registers."""
    address, data = arguments
    words: list[int] = []
    for name, count in descriptor.user:
        if name == "kernarg_segment_ptr":
            words += [address & 0xFFFFFFFF, address >> 32]
        elif name in _UNUSED:
            words += [0] * count
        else:
            raise CodeError(f"the kernel asks for its {name}, which is not emulated", fix="report it, with the kernel")
    count, first = descriptor.preload
    preloaded = data.ljust(4 * (first + count), b"\0")
    return words + list(struct.unpack_from(f"<{count}I", preloaded, 4 * first))
