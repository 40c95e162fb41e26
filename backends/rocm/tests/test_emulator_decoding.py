"""Listings to instructions, and files to kernels: what is read from each, fixed by examples."""

from __future__ import annotations

import pytest

from deepseek_backend_rocm.emulator.disassembly import Instruction, parse
from deepseek_backend_rocm.emulator.faults import CodeError
from deepseek_backend_rocm.emulator.isa.names import canonical
from deepseek_backend_rocm.emulator.msgpack import unpack
from deepseek_backend_rocm.emulator.operands import EXEC, NULL, TRAP, VCC, Operand, parse_operand


def one(text: str, words: str = "BF800000") -> Instruction:
    (found,) = parse(f"\t{text}  // 000000001A30: {words}\n")
    return found


GOLDEN: dict[str, tuple[str, str, list[tuple[str, int, int]], dict[str, object]]] = {
    "v_add_u32_e32 v3, s4, v5": ("v_add_u32", "e32", [("v", 3, 1), ("s", 4, 1), ("v", 5, 1)], {}),
    "s_load_dwordx8 s[4:11], s[0:1], 0x8": (
        "s_load_dwordx8",
        "",
        [("s", 4, 8), ("s", 0, 2), ("constant", 0, 0)],
        {},
    ),
    "global_load_dwordx4 v[12:15], v[4:5], off offset:-16 sc0": (
        "global_load_dwordx4",
        "",
        [("v", 12, 4), ("v", 4, 2), ("word", 0, 1)],
        {"offset": -16, "sc0": True},
    ),
    "v_or_b32_sdwa v0, sext(v1), v2 dst_sel:BYTE_1 dst_unused:UNUSED_PAD src0_sel:WORD_1 src1_sel:DWORD": (
        "v_or_b32",
        "sdwa",
        [("v", 0, 1), ("v", 1, 1), ("v", 2, 1)],
        {"dst_sel": "BYTE_1", "dst_unused": "UNUSED_PAD", "src0_sel": "WORD_1", "src1_sel": "DWORD"},
    ),
    "v_mfma_i32_16x16x32_i8 a[0:3], v[2:3], v[4:5], 0 cbsz:1": (
        "v_mfma_i32_16x16x32_i8",
        "",
        [("a", 0, 4), ("v", 2, 2), ("v", 4, 2), ("constant", 0, 0)],
        {"cbsz": 1},
    ),
    "v_mov_b32_dpp v1, v2 quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xa bound_ctrl:1": (
        "v_mov_b32",
        "dpp",
        [("v", 1, 1), ("v", 2, 1)],
        {"quad_perm": (1, 0, 3, 2), "row_mask": 15, "bank_mask": 10, "bound_ctrl": 1},
    ),
    "v_fma_mix_f32 v0, v1, v2, v3 op_sel:[0,1,0] op_sel_hi:[1,0,0]": (
        "v_fma_mix_f32",
        "",
        [("v", 0, 1), ("v", 1, 1), ("v", 2, 1), ("v", 3, 1)],
        {"op_sel": (0, 1, 0), "op_sel_hi": (1, 0, 0)},
    ),
    "buffer_gl0_inv": ("buffer_gl0_inv", "", [], {}),
    "global_inv scope:SCOPE_SE": ("global_inv", "", [], {"scope": "SCOPE_SE"}),
    "s_cbranch_scc1 65482  <kernel+0x3c>": ("s_cbranch_scc1", "", [("constant", 0, 0)], {}),
    "s_waitcnt vmcnt(3) lgkmcnt(0)": ("s_waitcnt", "", [], {"vmcnt": 3, "lgkmcnt": 0}),
}


@pytest.mark.parametrize("text", GOLDEN)
def test_instructions(text: str) -> None:
    name, encoding, operands, modifiers = GOLDEN[text]
    inst = one(text, "00000000 00000000")
    assert (inst.address, inst.size, inst.name, inst.encoding) == (0x1A30, 8, name, encoding)
    assert [(operand.kind, operand.index, operand.count) for operand in inst.operands] == operands
    assert dict(inst.modifiers) == modifiers


def test_dual_instructions() -> None:
    inst = one("v_dual_mul_f32 v6, 0x4f7ffffe, v6 :: v_dual_add_nc_u32 v115, 0, v3", "1 2 3")
    assert inst.second is not None
    assert (inst.name, inst.second.name, inst.size) == ("v_dual_mul_f32", "v_dual_add_nc_u32", 12)
    assert [operand.text for operand in inst.second.operands] == ["v115", "0", "v3"]


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("-|v3|", Operand("v", "-|v3|", 3, negate=True, absolute=True)),
        ("sext(v7)", Operand("v", "sext(v7)", 7, extend=True)),
        ("vcc", Operand("s", "vcc", VCC, 2)),
        ("exec_lo", Operand("s", "exec_lo", EXEC, 1)),
        ("null", Operand("s", "null", NULL, 1)),
        ("ttmp9", Operand("s", "ttmp9", TRAP + 9)),
        ("v5.h", Operand("v", "v5.h", 5, half=1)),
        ("-4.0", Operand("constant", "-4.0", count=0, value=-4.0)),
        ("0xff", Operand("constant", "0xff", count=0, value=255)),
    ],
)
def test_operands(text: str, operand: Operand) -> None:
    assert parse_operand(text) == operand


def test_constants() -> None:
    """A float has the bits of the instruction's width; a whole number is bits already."""
    assert [parse_operand("1.0").float_bits(width) for width in (16, 32, 64)] == [0x3C00, 0x3F800000, 0x3FF0 << 48]
    assert parse_operand("0.15915494").float_bits(32) == 0x3E22F983
    assert parse_operand("0x3c00").float_bits(16) == 0x3C00


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("ds_load_2addr_stride64_b64", "ds_read2st64_b64"),
        ("ds_store_b8", "ds_write_b8"),
        ("ds_load_u16_d16_hi", "ds_read_u16_d16_hi"),
        ("global_load_d16_hi_b16", "global_load_short_d16_hi"),
        ("buffer_store_b128", "buffer_store_dwordx4"),
        ("s_load_b256", "s_load_dwordx8"),
        ("s_and_not1_saveexec_b32", "s_andn2_saveexec_b32"),
        ("s_add_co_ci_u32", "s_addc_u32"),
        ("s_add_nc_u64", "s_add_u64"),
        ("v_add_co_ci_u32", "v_addc_co_u32"),
        ("v_max_num_f32", "v_max_f32"),
        ("v_med3_num_f32", "v_med3_f32"),
        ("v_dual_max_num_f32", "v_max_f32"),
        ("global_atomic_add_u32", "global_atomic_add"),
    ],
)
def test_names(name: str, known: str) -> None:
    assert canonical(name) == known


def test_what_is_no_instruction() -> None:
    with pytest.raises(CodeError, match="the disassembler does not know '<unknown>'"):
        list(parse("\t<unknown>\n"))


def test_metadata() -> None:
    data = bytes.fromhex("83a161c3a16293ffcd0102a0a163da0001782a")
    assert unpack(data[:-1]) == {"a": True, "b": [-1, 258, ""], "c": "x"}
    for bad in (b"", b"\x81", b"\xc1", data[:-2], b"\x91" * 40):
        with pytest.raises(CodeError, match="metadata is damaged"):
            unpack(bad)
