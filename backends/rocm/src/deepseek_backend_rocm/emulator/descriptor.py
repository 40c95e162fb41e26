"""Kernel descriptors: how hardware sets a kernel up (LLVM's AMDGPU guide, "Kernel Descriptor")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from deepseek_backend_rocm.emulator.architecture import Architecture
from deepseek_backend_rocm.emulator.faults import CodeError

__all__ = ["Descriptor"]

SIZE = 64
_USER_REGISTERS = (
    ("private_segment_buffer", 0, 4),
    ("dispatch_ptr", 1, 2),
    ("queue_ptr", 2, 2),
    ("kernarg_segment_ptr", 3, 2),
    ("dispatch_id", 4, 2),
    ("flat_scratch_init", 5, 2),
    ("private_segment_size", 6, 1),
)
"""Name, bit in the kernel code properties, and registers, in the order in which they are set up."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """How a kernel starts.

    Attributes:
        lds: bytes of local memory that the kernel itself has.
        scratch: bytes of private memory of a work-item.
        arguments: bytes of kernel arguments.
        entry: of the code, relative to the descriptor.
        vgprs: vector registers that are allocated.
        agprs: accumulation registers that are allocated.
        user: what the first scalar registers hold, with the number of registers.
        user_count: scalar registers before those of the workgroup ids; some of them may hold nothing.
        preload: kernel arguments held in scalar registers: count and first, in 32-bit words.
        group_ids: which workgroup ids are in scalar registers.
        denormals: whether float32 and float16/64 keep denormals, in and out.
        ids: how many work-item ids are set up: 0 for x, 1 for x and y, 2 for all.
    """

    lds: int
    scratch: int
    arguments: int
    entry: int
    vgprs: int
    agprs: int
    user: tuple[tuple[str, int], ...]
    user_count: int
    preload: tuple[int, int]
    group_ids: tuple[bool, bool, bool]
    denormals: tuple[bool, bool]
    ids: int

    @classmethod
    def parse(cls, data: bytes, architecture: Architecture) -> Descriptor:
        """Read a descriptor.

        Raises:
            CodeError: it asks for another wavefront size than the architecture's kernels have here.
        """
        lds, scratch, arguments, _, entry = struct.unpack_from("<IIIIq", data, 0)
        rsrc3, rsrc1, rsrc2, properties, preload = struct.unpack_from("<IIIHH", data, 44)
        wave = 32 if architecture.generation >= 10 and properties >> 10 & 1 else 64
        if wave != architecture.wave:
            raise CodeError(
                f"the kernel has waves of {wave} lanes; {architecture.name} is emulated with {architecture.wave}",
                fix="compile the model again",
            )
        vgprs, agprs = _registers(rsrc1, rsrc3, architecture)
        return cls(
            lds=lds,
            scratch=scratch,
            arguments=arguments,
            entry=entry,
            vgprs=vgprs,
            agprs=agprs,
            user=tuple((name, count) for name, bit, count in _USER_REGISTERS if properties >> bit & 1),
            user_count=rsrc2 >> 1 & 31,
            preload=(preload & 127, preload >> 7) if architecture.accumulators else (0, 0),
            group_ids=(bool(rsrc2 >> 7 & 1), bool(rsrc2 >> 8 & 1), bool(rsrc2 >> 9 & 1)),
            denormals=((rsrc1 >> 16 & 3) == 3, (rsrc1 >> 18 & 3) == 3),
            ids=rsrc2 >> 11 & 3,
        )


def _registers(rsrc1: int, rsrc3: int, architecture: Architecture) -> tuple[int, int]:
    """VGPRs and AGPRs: one file, of which the second kind starts at an offset."""
    total = ((rsrc1 & 63) + 1) * architecture.vgpr_granule
    if not architecture.accumulators:
        return min(total, 256), 0
    offset = ((rsrc3 & 63) + 1) * 4
    return min(offset, total, 256), max(total - offset, 0)
