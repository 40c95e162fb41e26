"""Fixtures of the ROCm backend's tests."""

from __future__ import annotations

import struct

import pytest

from deepseek_backend_rocm.program import Image, Kernel, Launch, Pointer, Port, Program
from deepseek_backend_rocm.verification.assembly import assemble, code_object, find_assembler

_ADD = """
s_load_dwordx4 s[4:7], s[0:1], 0x0
s_load_dwordx2 s[8:9], s[0:1], 0x10
s_load_dword s10, s[0:1], 0x18
v_and_b32 v0, 0x3ff, v0
s_lshl_b32 s3, s2, 6
v_add_u32 v0, s3, v0
v_lshlrev_b32 v1, 2, v0
s_waitcnt lgkmcnt(0)
v_cmp_gt_u32 vcc, s10, v0
s_and_saveexec_b64 s[12:13], vcc
s_cbranch_execz end
global_load_dword v2, v1, s[4:5]
global_load_dword v3, v1, s[6:7]
s_waitcnt vmcnt(0)
v_add_u32 v2, v2, v3
global_store_dword v1, v2, s[8:9]
end:
s_endpgm
"""
_COUNT = 100


@pytest.fixture(scope="session")
def adder_code() -> bytes:
    """For gfx942: the kernel `add` of int32 arrays, with addresses of x, y and the sum, and their length."""
    if find_assembler() is None:
        pytest.skip("llvm-mc with AMD GPUs is not installed")
    return code_object(assemble(_ADD, "gfx942"), "gfx942", name="add", arguments=32)


@pytest.fixture(scope="session")
def adder(adder_code: bytes) -> Image:
    """A part that adds a constant to an input of 100 numbers, and that to the input again."""
    size = 4 * _COUNT
    kernel = Kernel("add", "add", 0, 64, 0, 32)
    numbers = bytes(24) + struct.pack("<I", _COUNT) + bytes(4)

    def launch(x: int, y: Pointer, total: int) -> Launch:
        pointers = (Pointer(0, "arena", x, size, False), y, Pointer(16, "arena", total, size, True))
        return Launch(0, (2, 1, 1), numbers, pointers, f"sum at {total}")

    first = launch(0, Pointer(8, "constants", 0, size, False), 512)
    second = launch(0, Pointer(8, "arena", 512, size, False), 1024)
    program = Program(1536, (kernel,), (first, second))
    ports = (Port("x", "int32", (4, 25), 0),), (Port("y", "int32", (4, 25), 1024),)
    constants = struct.pack(f"<{_COUNT}i", *range(_COUNT))
    return Image(*ports, {"gfx942": program}, constants, (adder_code,))
