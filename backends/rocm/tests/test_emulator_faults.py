"""What kernels must not do: each is a fault that names the instruction, where it is, and what is wrong."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from deepseek_backend_rocm.emulator.architecture import ARCHITECTURES
from deepseek_backend_rocm.emulator.code import read_code
from deepseek_backend_rocm.emulator.faults import CodeError, KernelFault, UnknownInstructionError
from deepseek_backend_rocm.emulator.machine import Machine
from deepseek_backend_rocm.emulator.memory import Window
from deepseek_backend_rocm.verification.assembly import assemble, code_object, find_assembler

pytestmark = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
_START = "s_load_dwordx4 s[4:7], s[0:1], 0x0\nv_and_b32 v0, 0x3ff, v0\nv_lshlrev_b32 v1, 2, v0\ns_waitcnt lgkmcnt(0)\n"
_SIZE = 256


def launch(
    body: str, *, threads: int = 64, groups: int = 1, processor: str = "gfx942", lds: int = 1024, **how: int
) -> bytes:
    """Run a kernel that has an input of 256 bytes at s[4:5] and an output at s[6:7]; gives the output."""
    code = code_object(assemble(f"{_START}{body}\ns_endpgm", processor), processor, lds=lds)
    machine = Machine(**how)
    source, target = (machine.memory.allocate(_SIZE) for _ in range(2))
    machine.memory.store(source, np.arange(_SIZE, dtype=np.uint8))
    arguments = struct.pack("<2Q", source, target).ljust(64, b"\0")
    windows = [Window(source, _SIZE, False, "the input"), Window(target, _SIZE, True, "the output")]
    machine.launch(read_code(code).kernel("snippet"), (groups, 1, 1), threads, arguments, windows=windows)
    return machine.memory.load(target, _SIZE).tobytes()


LOAD, STORE = "global_load_dword v2, v1, s[4:5]", "global_store_dword v1, v2, s[6:7]"
WAIT = "s_waitcnt vmcnt(0) lgkmcnt(0)"


def test_nothing_wrong() -> None:
    assert launch(f"{LOAD}\n{WAIT}\n{STORE}") == bytes(range(256))


FAULTS = {
    "a load beyond an allocation": (
        f"v_add_u32 v1, 4, v1\n{LOAD}",
        r"gfx942 kernel snippet, 'global_load_dword v2, v1, s\[4:5\]' at 0x1\w+: reads 4 bytes at 0x7f\w+, "
        r"out of bounds: 4 bytes beyond the input, 256 bytes at 0x7f\w+ \(workgroup 0×0×0, wave 0, lane 63\)",
    ),
    "a load before an allocation": ("global_load_dword v2, v1, s[4:5] offset:-8", "8 bytes before the input"),
    "a store beyond an allocation": (
        f"v_mov_b32 v2, 0\nv_add_u32 v1, 4, v1\n{STORE}",
        "writes 4 bytes .* out of bounds",
    ),
    "a store to what is read-only": (
        "v_mov_b32 v2, 0\nglobal_store_dword v1, v2, s[4:5]",
        "the input at .* is read-only",
    ),
    "a load through no address": (
        "v_mov_b32 v4, 0\nv_mov_b32 v5, 0\nglobal_load_dword v2, v[4:5], off",
        "reads 4 bytes at 0x0",
    ),
    "a scalar load out of bounds": ("s_load_dword s8, s[4:5], 0x100", "reads 4 bytes .* beyond the input"),
    "memory never written": ("global_load_dword v2, v1, s[6:7]", "reads 4 bytes at 0x7f.* that were never written"),
    "a register never written": ("v_add_u32 v2, v9, v1", "reads v9, which was never written"),
    "a scalar register never written": ("s_add_i32 s8, s9, s4", "reads s9, which was never written"),
    "an accumulator never written": ("v_accvgpr_read_b32 v2, a3", "reads a3, which was never written"),
    "no wait for a vector load": (f"{LOAD}\n{STORE}", "reads v2 without a wait for the load that writes it"),
    "a wait for too few loads": (
        f"{LOAD}\nglobal_load_dword v3, v1, s[4:5]\ns_waitcnt vmcnt(1)\nv_mov_b32 v2, v3",
        "reads v3 without a wait",
    ),
    "a wait of another kind": (f"{LOAD}\ns_waitcnt lgkmcnt(0)\n{STORE}", "reads v2 without a wait"),
    "no wait for a scalar load": ("s_load_dword s8, s[4:5], 0x0\ns_mov_b32 s9, s8", "reads s8 without a wait"),
    "a wait for some scalar loads": (
        "s_load_dword s8, s[4:5], 0x0\ns_load_dword s9, s[4:5], 0x4\ns_waitcnt lgkmcnt(1)\ns_mov_b32 s10, s8",
        "reads s8 without a wait",
    ),
    "an overwritten result": (f"{LOAD}\nv_mov_b32 v2, 0", "overwrites v2 without a wait"),
    "no wait for LDS": (
        f"ds_write_b32 v1, v0\n{WAIT}\nds_read_b32 v2, v1\nv_mov_b32 v3, v2",
        "reads v2 without a wait",
    ),
    "LDS never written": ("ds_read_b32 v2, v1", "reads LDS at 0x0 that was never written"),
    "LDS out of bounds": (
        "ds_write_b32 v1, v0 offset:800",
        "writes 4 bytes at 0x400 of LDS, out of bounds: it has 1024",
    ),
    "a branch to nowhere": ("s_branch 0x7fff", "goes to .*, where no instruction is"),
    "an endless loop": ("s_branch 0xffff", "has not ended after 1,000 instructions"),
    "an element that a buffer's end cuts": (
        "s_mov_b32 s8, s4\ns_mov_b32 s9, s5\ns_mov_b32 s10, 6\ns_mov_b32 s11, 0\n"
        "buffer_load_dword v2, v1, s[8:11], 0 offen",
        "accesses an element that a buffer's end cuts",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str) -> None:
    body, pattern = FAULTS[name]
    with pytest.raises((KernelFault, CodeError), match=pattern):
        launch(body, budget=1000)


PAIRS = {
    "reading what another wave writes": ("ds_write_b32 v1, v0\n{wait}\nds_read_b32 v2, v3", "reads LDS .* changed by"),
    "writing what another wave reads": (
        "ds_write_b32 v1, v0\n{wait}\ns_barrier\nds_read_b32 v2, v3\n{wait}\nds_write_b32 v1, v2",
        "changes LDS .* touched by another wave since the last barrier",
    ),
    "a load not waited for": (
        "ds_write_b32 v1, v0\n{wait}\ns_barrier\nds_read_b32 v2, v3\ns_barrier",
        "comes to a barrier",
    ),
    "a store not waited for": (
        "ds_write_b32 v1, v0\ns_barrier",
        "comes to a barrier with accesses to LDS that were not",
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_races(name: str) -> None:
    """Two waves, each of which uses the other's part of LDS."""
    body, pattern = PAIRS[name]
    with pytest.raises(KernelFault, match=pattern):
        launch("v_xor_b32 v3, 0x100, v1\n" + body.format(wait=WAIT), threads=128)


def test_no_race() -> None:
    body = "v_xor_b32 v3, 0x100, v1\nds_write_b32 v1, v0\n{0}\ns_barrier\nds_read_b32 v2, v3\n{0}\ns_barrier\n"
    body = f"{body.format(WAIT)}ds_write_b32 v3, v2"
    launch(body, threads=128)


def test_equal_stores_are_no_race() -> None:
    """Compilers let waves store what they share more than once."""
    launch("v_mov_b32 v3, 0\nv_mov_b32 v2, 5\nds_write_b32 v3, v2", threads=256)
    with pytest.raises(KernelFault, match="changes LDS"):
        launch("v_mov_b32 v3, 0\nv_lshrrev_b32 v2, 6, v0\nds_write_b32 v3, v2", threads=256)


def test_loads_into_one_register() -> None:
    """Results of one kind come in order, so the second stays; of another kind nobody knows."""
    second = "global_load_dword v2, v1, s[4:5] offset:128"
    assert launch(f"v_and_b32 v1, 0x7c, v1\n{LOAD}\n{second}\n{WAIT}\n{STORE}")[:128] == bytes(range(128, 256))
    with pytest.raises(KernelFault, match="overwrites v2 without a wait"):
        launch(f"ds_write_b32 v1, v0\n{WAIT}\n{LOAD}\nds_read_b32 v2, v1")


def test_a_barrier_that_some_do_not_reach() -> None:
    """Waves that have ended do not count; one that goes another way waits for ever."""
    first = "v_readfirstlane_b32 s8, v0\ns_cmp_eq_u32 s8, 0\n"
    launch(f"{first}s_cbranch_scc1 1\ns_endpgm\ns_barrier", threads=128)
    with pytest.raises(KernelFault, match="has not ended"):
        launch(f"{first}s_cbranch_scc1 1\ns_branch 0xffff\ns_barrier", threads=128, budget=1000)


def test_barriers_of_rdna4_are_signalled() -> None:
    split = _START.replace("s_waitcnt lgkmcnt(0)", "s_wait_kmcnt 0x0")
    code = code_object(assemble(f"{split}s_barrier_wait 0xffff\ns_endpgm", "gfx1201"), "gfx1201")
    machine = Machine()
    place = machine.memory.allocate(64)
    with pytest.raises(KernelFault, match="waits at a barrier that it has not signalled"):
        machine.launch(
            read_code(code).kernel("snippet"), (1, 1, 1), 32, struct.pack("<2Q", place, place).ljust(64, b"\0")
        )


@pytest.mark.parametrize(
    ("processor", "text"),
    [
        ("gfx942", "v_mfma_f64_16x16x4_f64 v[4:11], v[0:1], v[2:3], v[4:11]"),
        ("gfx1100", "image_load v[0:3], v[4:5], s[8:15] dmask:0xf dim:SQ_RSRC_IMG_2D"),
        ("gfx942", "s_setreg_imm32_b32 hwreg(HW_REG_MODE), 0"),
        ("gfx942", "buffer_load_dword v2, v1, s[8:11], 0 idxen"),
        ("gfx942", "v_mfma_f32_16x16x16_f16 v[4:7], v[0:1], v[2:3], v[4:7] cbsz:1"),
    ],
)
def test_unknown_instructions(processor: str, text: str) -> None:
    code = code_object(assemble(f"{text}\ns_endpgm", processor), processor)
    with pytest.raises(
        UnknownInstructionError, match=f"'{text.split(maxsplit=1)[0]}.* at 0x1000 is not emulated on {processor}"
    ):
        read_code(code)


def test_launches_fit() -> None:
    kernel = read_code(code_object(assemble("s_endpgm", "gfx942"), "gfx942")).kernel("snippet")
    for grid, threads, size, pattern in (
        ((1, 1, 1), 64, 63, "takes 64 bytes of arguments, not 63"),
        ((1, 1, 1), 2048, 64, "has up to 1024 threads, not 2048"),
        ((1, 0, 1), 64, 64, "has no workgroups"),
    ):
        with pytest.raises(CodeError, match=pattern):
            Machine().launch(kernel, grid, threads, bytes(size))


def test_damaged_code() -> None:
    code = code_object(assemble("s_endpgm", "gfx942"), "gfx942")
    with pytest.raises(CodeError, match="no kernel 'other'; it has snippet"):
        read_code(code).kernel("other")
    for bad, pattern in (
        (b"", "no 64-bit ELF"),
        (code[:18] + b"\x3e\0" + code[20:], "for ELF machine 0x3e"),
        (code[:48] + b"\x01" + code[49:], "processor 0x1 of the code object is not emulated; compile for gfx90a"),
        (code[:200], "headers are damaged"),
    ):
        with pytest.raises(CodeError, match=pattern):
            read_code(bad)


def test_poison_shows() -> None:
    """What depends on lanes that were never written changes with what is in them."""
    body = f"s_mov_b64 s[8:9], exec\ns_mov_b64 exec, 1\nv_mov_b32 v2, 7\ns_mov_b64 exec, s[8:9]\n{STORE}"
    one, other = (launch(body, poison=poison) for poison in (1, 2))
    assert one[:4] == other[:4] == struct.pack("<I", 7)
    assert one[4:] != other[4:]


@pytest.mark.parametrize("processor", ARCHITECTURES)
def test_waves_part_and_meet(processor: str) -> None:
    """Each wave of several workgroups loops as often as its number says, then all meet at a barrier."""
    lanes = ARCHITECTURES[processor].wave
    new = ARCHITECTURES[processor].generation >= 12
    add = "v_add_u32" if lanes == 64 else "v_add_nc_u32"
    shift = {64: 6, 32: 5}[lanes]
    barrier = "s_barrier_signal -1\ns_barrier_wait 0xffff" if new else "s_barrier"
    wait = "s_wait_idle" if new else WAIT
    start = _START.replace("s_waitcnt lgkmcnt(0)", wait)
    body = f"""v_readfirstlane_b32 s8, v0
s_lshr_b32 s8, s8, {shift}
s_mov_b32 s9, 0
loop:
s_add_u32 s9, s9, 3
s_sub_u32 s8, s8, 1
s_cmp_lg_u32 s8, -1
s_cbranch_scc1 loop
v_mov_b32 v2, s9
ds_{"store" if lanes == 32 and processor != "gfx1030" else "write"}_b32 v1, v2
{wait}
{barrier}
v_xor_b32 v3, {4 * lanes:#x}, v1
ds_{"load" if lanes == 32 and processor != "gfx1030" else "read"}_b32 v2, v3
{wait}
{add} v2, v2, v2
global_store_dword v1, v2, s[6:7]"""
    code = code_object(assemble(f"{start}{body}\ns_endpgm", processor), processor, lds=4096)
    machine = Machine()
    place = machine.memory.allocate(4 * lanes * 4)
    arguments = struct.pack("<2Q", place, place).ljust(64, b"\0")
    machine.launch(read_code(code).kernel("snippet"), (3, 1, 1), 4 * lanes, arguments)
    result = machine.memory.load(place, 16 * lanes).view(np.uint32)
    assert result.tolist() == [6 * (other + 1) for other in (1, 0, 3, 2) for _ in range(lanes)]
