"""Loads and stores of every size, in device memory, behind buffers, and in LDS."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.code import read_code
from deepseek_backend_rocm.emulator.faults import KernelFault
from deepseek_backend_rocm.emulator.machine import Machine
from deepseek_backend_rocm.emulator.memory import Memory, Window
from deepseek_backend_rocm.verification.assembly import assemble, code_object, find_assembler

needs_assembler = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
_SIZE = 1 << 12
_WAIT = "s_waitcnt vmcnt(0) lgkmcnt(0)"
_START = f"""s_load_dwordx4 s[4:7], s[0:1], 0x0
v_and_b32 v0, 0x3ff, v0
v_lshlrev_b32 v1, 2, v0
v_lshlrev_b32 v3, 4, v0
{_WAIT}
"""
SOURCE = np.random.default_rng(0).integers(0, 256, _SIZE, dtype=np.uint8)


def run(body: str, *, processor: str = "gfx942", lds: int = 8192) -> Array:
    """What a wave leaves where zeros were.

    It has the source at s[4:5], zeros at s[6:7], and 4 and 16 times the lane in v1 and v3.
    """
    code = code_object(assemble(f"{_START}{body}\n{_WAIT}\ns_endpgm", processor), processor, lds=lds)
    machine = Machine()
    places = [machine.memory.allocate(_SIZE) for _ in range(2)]
    for place, data in zip(places, (SOURCE, np.zeros(_SIZE, np.uint8)), strict=True):
        machine.memory.store(place, data)
    machine.launch(read_code(code).kernel("snippet"), (1, 1, 1), 64, struct.pack("<2Q", *places).ljust(64, b"\0"))
    return machine.memory.load(places[1], _SIZE)


LOADS = {
    "global_load_ubyte v4, v3, s[4:5] offset:3": lambda i: int(SOURCE[16 * i + 3]),
    "global_load_sbyte v4, v3, s[4:5] offset:3": lambda i: int(SOURCE[16 * i + 3 :].view(np.int8)[0]) & 0xFFFFFFFF,
    "global_load_ushort v4, v3, s[4:5] offset:2": lambda i: int(SOURCE.view(np.uint16)[8 * i + 1]),
    "global_load_sshort v4, v3, s[4:5] offset:2": lambda i: int(SOURCE.view(np.int16)[8 * i + 1]) & 0xFFFFFFFF,
    "global_load_dword v4, v3, s[4:5] offset:5": lambda i: int.from_bytes(SOURCE[16 * i + 5 : 16 * i + 9], "little"),
    "v_mov_b32 v4, -1\nglobal_load_short_d16 v4, v3, s[4:5]": lambda i: int(SOURCE.view(np.uint16)[8 * i]) | 0xFFFF0000,
    "v_mov_b32 v4, -1\nglobal_load_short_d16_hi v4, v3, s[4:5]": lambda i: (
        int(SOURCE.view(np.uint16)[8 * i]) << 16 | 0xFFFF
    ),
    "v_mov_b32 v4, -1\nglobal_load_ubyte_d16_hi v4, v3, s[4:5]": lambda i: int(SOURCE[16 * i]) << 16 | 0xFFFF,
}


@needs_assembler
@pytest.mark.parametrize("text", LOADS)
def test_loads(text: str) -> None:
    result = run(f"{text}\n{_WAIT}\nglobal_store_dword v1, v4, s[6:7]")[:256].view(np.uint32)
    assert result.tolist() == [LOADS[text](lane) for lane in range(64)]


@needs_assembler
@pytest.mark.parametrize(("name", "registers"), [("dwordx2", 2), ("dwordx3", 3), ("dwordx4", 4)])
def test_wide_elements(name: str, registers: int) -> None:
    last = f"v[4:{3 + registers}]"
    result = run(f"global_load_{name} {last}, v3, s[4:5]\n{_WAIT}\nglobal_store_{name} v3, {last}, s[6:7]")
    kept = np.zeros((64, 16), np.uint8)
    kept[:, : 4 * registers] = SOURCE[:1024].reshape(64, 16)[:, : 4 * registers]
    assert np.array_equal(result[:1024], kept.ravel())


@needs_assembler
def test_narrow_stores() -> None:
    body = "v_mov_b32 v4, 0x12345678\nglobal_store_byte v3, v4, s[6:7]\nglobal_store_short v3, v4, s[6:7] offset:2\n"
    body += "global_store_byte_d16_hi v3, v4, s[6:7] offset:4\nglobal_store_short_d16_hi v3, v4, s[6:7] offset:6"
    assert run(body)[:16].tobytes().hex() == "7800785634003412" + "00" * 8


@needs_assembler
def test_addresses_in_pairs() -> None:
    body = "v_mov_b32 v6, s4\nv_mov_b32 v7, s5\nv_lshl_add_u64 v[6:7], v[6:7], 0, 16\n"
    body += f"global_load_dword v4, v[6:7], off offset:-4\n{_WAIT}\nglobal_store_dword v1, v4, s[6:7]"
    assert set(run(body)[:256].view(np.uint32).tolist()) == {int(SOURCE.view(np.uint32)[3])}


@needs_assembler
def test_buffers() -> None:
    """What is beyond the buffer's size reads 0, and is not written."""
    setup = "s_mov_b32 s8, s4\ns_mov_b32 s9, s5\ns_mov_b32 s10, 40\ns_mov_b32 s11, 0\n"
    setup += "s_mov_b32 s12, s6\ns_mov_b32 s13, s7\ns_mov_b32 s14, 24\ns_mov_b32 s15, 0\ns_mov_b32 s20, 8\n"
    loads = f"{setup}buffer_load_dword v4, v1, s[8:11], s20 offen offset:4\n{_WAIT}\n"
    result = run(f"{loads}global_store_dword v1, v4, s[6:7]")[:256].view(np.uint32)
    assert result.tolist() == [*SOURCE.view(np.uint32)[3:10].tolist(), *[0] * 57]
    result = run(f"{setup}v_mov_b32 v4, 7\nbuffer_store_dword v4, v1, s[12:15], 0 offen")[:256].view(np.uint32)
    assert result.tolist() == [7] * 6 + [0] * 58


@needs_assembler
def test_atomics() -> None:
    """All lanes add to one word; each gets another value from before."""
    body = f"v_mov_b32 v4, 1\nv_mov_b32 v5, 0\nglobal_atomic_add v6, v5, v4, s[6:7] sc0\n{_WAIT}\n"
    body += "v_lshlrev_b32 v7, 2, v6\nglobal_store_dword v7, v6, s[6:7] offset:64"
    result = run(body).view(np.uint32)
    assert result[0] == 64
    assert result[16:80].tolist() == list(range(64))


@needs_assembler
@pytest.mark.parametrize(
    ("store", "load", "registers"),
    [
        ("ds_write_b128 v3, v[4:7]", "ds_read_b128 v[8:11], v3", 4),
        ("ds_write_b96 v3, v[4:6]", "ds_read_b96 v[8:10], v3", 3),
        ("ds_write_b64 v3, v[4:5] offset:8", "ds_read_b64 v[8:9], v3 offset:8", 2),
        ("ds_write2_b32 v3, v4, v5 offset0:1 offset1:3", "ds_read2_b32 v[8:9], v3 offset0:1 offset1:3", 2),
        ("ds_write2_b64 v3, v[4:5], v[6:7] offset1:1", "ds_read2_b64 v[8:11], v3 offset1:1", 4),
        ("ds_write2st64_b32 v1, v4, v5 offset1:5", "ds_read2st64_b32 v[8:9], v1 offset1:5", 2),
        ("ds_write_b128 v3, v[4:7]", "v_mov_b32 v8, v3\n" + "ds_read2_b64 v[8:11], v8 offset1:1", 4),
    ],
)
def test_local_memory(store: str, load: str, registers: int) -> None:
    moved = run(
        f"global_load_dwordx4 v[4:7], v3, s[4:5]\n{_WAIT}\nv_mov_b32 v11, 0\nv_mov_b32 v10, 0\n"
        f"{store}\n{_WAIT}\n{load}\n{_WAIT}\nglobal_store_dwordx4 v3, v[8:11], s[6:7]"
    )
    wanted = SOURCE[:1024].reshape(64, 16)[:, : 4 * registers]
    assert np.array_equal(moved[:1024].reshape(64, 16)[:, : 4 * registers], wanted)


@needs_assembler
def test_narrow_local_memory() -> None:
    body = f"v_mov_b32 v4, 0xfedc8a\nds_write_b8 v3, v4 offset:1\nds_write_b16 v3, v4 offset:2\n{_WAIT}\n"
    body += f"ds_read_i8 v6, v3 offset:1\nds_read_u16 v7, v3 offset:2\n{_WAIT}\nv_mov_b32 v8, -1\n"
    body += f"ds_read_u8_d16_hi v8, v3 offset:1\n{_WAIT}\nv_mov_b32 v9, 0\nglobal_store_dwordx4 v3, v[6:9], s[6:7]"
    result = run(body)[:1024].view(np.uint32).reshape(64, 4)
    assert set(map(tuple, result.tolist())) == {(0xFFFFFF8A, 0xDC8A, 0x008AFFFF, 0)}


@needs_assembler
def test_transposed_loads() -> None:
    """16 lanes read 8 rows of 16 bytes; each gets a column."""
    body = (
        f"global_load_dwordx2 v[4:5], v3, s[4:5]\nv_lshlrev_b32 v2, 3, v0\n{_WAIT}\nds_write_b64 v2, v[4:5]\n{_WAIT}\n"
    )
    body += f"ds_read_b64_tr_b8 v[6:7], v2\n{_WAIT}\nglobal_store_dwordx2 v2, v[6:7], s[6:7]"
    rows = SOURCE[:1024].reshape(64, 16)[:, :8].reshape(4, 8, 16)
    result = run(body, processor="gfx950")[:512].reshape(4, 16, 8)
    assert np.array_equal(result, rows.transpose(0, 2, 1))


@needs_assembler
def test_scalar_loads() -> None:
    body = "s_load_dwordx8 s[8:15], s[4:5], 0x20\ns_load_dwordx2 s[16:17], s[4:5], 0x8\ns_mov_b32 s3, 12\n"
    body += f"s_load_dword s18, s[4:5], s3\n{_WAIT}\nv_mov_b32 v4, s15\nv_mov_b32 v5, s17\nv_mov_b32 v6, s18\n"
    body += "v_mov_b32 v7, 0\nglobal_store_dwordx4 v3, v[4:7], s[6:7]"
    words = SOURCE.view(np.uint32)
    assert run(body)[:16].view(np.uint32).tolist() == [words[15], words[3], words[3], 0]


def test_allocations() -> None:
    memory = Memory()
    places = [memory.allocate(size) for size in (1, 1000, 3 << 20)]
    assert all(place % 256 == 0 for place in places)
    memory.store(places[2], np.arange(100, dtype=np.uint8))
    assert memory.load(places[2], 3).tolist() == [0, 1, 2]
    memory.free(places[2])
    with pytest.raises(KernelFault, match="nothing is allocated at"):
        memory.free(places[2])
    with pytest.raises(KernelFault, match="are not allocated"):
        memory.load(places[1], 1001)


def test_windows() -> None:
    """Ranges that touch are one; those that overlap have the rights of either."""
    memory = Memory()
    place = memory.allocate(64)
    memory.store(place, np.arange(64, dtype=np.uint8))
    memory.limit([Window(place, 32, False, "one"), Window(place + 32, 16, True, "other")])
    across = np.array([place + 28, place + 32], np.uint64)
    assert memory.gather(across, 4).view(np.uint8).ravel().tolist() == [28, 29, 30, 31, 32, 33, 34, 35]
    with pytest.raises(KernelFault, match=r"one at .* is read-only"):
        memory.scatter(across, np.zeros((2, 1), np.uint32), 4)
    with pytest.raises(KernelFault, match=r"16 bytes beyond other|4 bytes beyond other"):
        memory.gather(across + np.uint64(16), 4)
    memory.forget(place, 8)
    memory.limit()
    with pytest.raises(KernelFault, match="that were never written"):
        memory.gather(np.array([place + 4], np.uint64), 4)
