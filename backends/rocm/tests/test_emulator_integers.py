"""Integer instructions of vectors and scalars against their definitions in plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_rocm.verification.assembly import find_assembler
from deepseek_backend_rocm.verification.snippets import Snippets

pytestmark = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
M = 0xFFFFFFFF
EDGES = [0, 1, 2, 31, 32, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]
words = st.one_of(st.sampled_from(EDGES), st.integers(0, M))


def signed(x: int, bits: int = 32) -> int:
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


def bit(x: int, place: int) -> int:
    return x >> place & 1


def field(x: int, offset: int, width: int) -> int:
    return x >> (offset & 31) & ((1 << (width & 31)) - 1)


def perm(x: int, y: int, select: int) -> int:
    data = x << 32 | y
    result = 0
    for place in range(4):
        code = select >> 8 * place & 255
        if code < 8:
            value = data >> 8 * code & 255
        elif code < 12:
            value = 255 * bit(data, 16 * (code - 8) + 15)
        else:
            value = 0 if code == 12 else 255
        result |= value << 8 * place
    return result


def first_one(x: int) -> int:
    return M if x == 0 else 32 - x.bit_length()


def last_one(x: int) -> int:
    return M if x == 0 else (x & -x).bit_length() - 1


COMMON: dict[str, Callable[[int, int, int], int]] = {
    "v_not_b32 v40, v10": lambda x, y, z: ~x,
    "v_bfrev_b32 v40, v10": lambda x, y, z: int(f"{x:032b}"[::-1], 2),
    "v_and_b32 v40, v10, v11": lambda x, y, z: x & y,
    "v_or_b32 v40, v10, v11": lambda x, y, z: x | y,
    "v_xor_b32 v40, v10, v11": lambda x, y, z: x ^ y,
    "v_xnor_b32 v40, v10, v11": lambda x, y, z: ~(x ^ y),
    "v_lshlrev_b32 v40, v10, v11": lambda x, y, z: y << (x & 31),
    "v_lshrrev_b32 v40, v10, v11": lambda x, y, z: y >> (x & 31),
    "v_ashrrev_i32 v40, v10, v11": lambda x, y, z: signed(y) >> (x & 31),
    "v_max_i32 v40, v10, v11": lambda x, y, z: max(signed(x), signed(y)),
    "v_min_i32 v40, v10, v11": lambda x, y, z: min(signed(x), signed(y)),
    "v_max_u32 v40, v10, v11": lambda x, y, z: max(x, y),
    "v_min_u32 v40, v10, v11": lambda x, y, z: min(x, y),
    "v_mul_lo_u32 v40, v10, v11": lambda x, y, z: x * y,
    "v_mul_hi_u32 v40, v10, v11": lambda x, y, z: x * y >> 32,
    "v_mul_hi_i32 v40, v10, v11": lambda x, y, z: signed(x) * signed(y) >> 32,
    "v_mul_i32_i24 v40, v10, v11": lambda x, y, z: signed(x, 24) * signed(y, 24),
    "v_mul_u32_u24 v40, v10, v11": lambda x, y, z: (x & 0xFFFFFF) * (y & 0xFFFFFF),
    "v_mad_i32_i24 v40, v10, v11, v12": lambda x, y, z: signed(x, 24) * signed(y, 24) + z,
    "v_mad_u32_u24 v40, v10, v11, v12": lambda x, y, z: (x & 0xFFFFFF) * (y & 0xFFFFFF) + z,
    "v_bfe_u32 v40, v10, v11, v12": field,
    "v_bfe_i32 v40, v10, v11, v12": lambda x, y, z: signed(field(signed(x), y, z), z & 31) if z & 31 else 0,
    "v_bfi_b32 v40, v10, v11, v12": lambda x, y, z: (x & y) | (~x & z),
    "v_bfm_b32 v40, v10, v11": lambda x, y, z: ((1 << (x & 31)) - 1) << (y & 31),
    "v_alignbit_b32 v40, v10, v11, v12": lambda x, y, z: (x << 32 | y) >> (z & 31),
    "v_alignbyte_b32 v40, v10, v11, v12": lambda x, y, z: (x << 32 | y) >> 8 * (z & 3),
    "v_perm_b32 v40, v10, v11, v12": perm,
    "v_perm_b32 v40, v10, v11, s20": lambda x, y, z: perm(x, y, 0x0C070A01),
    "v_med3_i32 v40, v10, v11, v12": lambda x, y, z: sorted(map(signed, (x, y, z)))[1],
    "v_med3_u32 v40, v10, v11, v12": lambda x, y, z: sorted((x, y, z))[1],
    "v_max3_i32 v40, v10, v11, v12": lambda x, y, z: max(map(signed, (x, y, z))),
    "v_min3_u32 v40, v10, v11, v12": min,
    "v_or3_b32 v40, v10, v11, v12": lambda x, y, z: x | y | z,
    "v_and_or_b32 v40, v10, v11, v12": lambda x, y, z: x & y | z,
    "v_lshl_or_b32 v40, v10, v11, v12": lambda x, y, z: x << (y & 31) | z,
    "v_lshl_add_u32 v40, v10, v11, v12": lambda x, y, z: (x << (y & 31)) + z,
    "v_add_lshl_u32 v40, v10, v11, v12": lambda x, y, z: (x + y & M) << (z & 31),
    "v_add3_u32 v40, v10, v11, v12": lambda x, y, z: x + y + z,
    "v_xad_u32 v40, v10, v11, v12": lambda x, y, z: (x ^ y) + z,
    "v_bcnt_u32_b32 v40, v10, v11": lambda x, y, z: x.bit_count() + y,
    "v_sad_u8 v40, v10, v11, v12": lambda x, y, z: (
        sum(abs((x >> s & 255) - (y >> s & 255)) for s in (0, 8, 16, 24)) + z
    ),
}
CDNA = COMMON | {
    "v_add_u32 v40, v10, v11": lambda x, y, z: x + y,
    "v_sub_u32 v40, v10, v11": lambda x, y, z: x - y,
    "v_subrev_u32 v40, v10, v11": lambda x, y, z: y - x,
    "v_add_u32_e64 v40, v10, v11 clamp": lambda x, y, z: min(x + y, M),
    "v_sub_u32_e64 v40, v10, v11 clamp": lambda x, y, z: max(x - y, 0),
    "v_ffbh_u32 v40, v10": lambda x, y, z: first_one(x),
    "v_ffbl_b32 v40, v10": lambda x, y, z: last_one(x),
    "v_ffbh_i32 v40, v10": lambda x, y, z: first_one(x if signed(x) >= 0 else ~x & M),
    "v_add_u16 v40, v10, v11": lambda x, y, z: x + y & 0xFFFF,
    "v_mul_lo_u16 v40, v10, v11": lambda x, y, z: x * y & 0xFFFF,
    "v_lshlrev_b16 v40, v10, v11": lambda x, y, z: y << (x & 15) & 0xFFFF,
    "v_ashrrev_i16 v40, v10, v11": lambda x, y, z: signed(y, 16) >> (x & 15) & 0xFFFF,
    "v_add_u32_sdwa v40, sext(v10), v11 dst_sel:WORD_1 dst_unused:UNUSED_PAD src0_sel:BYTE_3 src1_sel:WORD_1": (
        lambda x, y, z: (signed(x >> 24, 8) + (y >> 16)) << 16
    ),
    "v_or_b32_sdwa v40, v10, v11 dst_sel:BYTE_2 dst_unused:UNUSED_PRESERVE src0_sel:BYTE_1 src1_sel:DWORD": (
        lambda x, y, z: z & ~0xFF0000 | ((x >> 8 & 255 | y) & 255) << 16
    ),
    "v_mov_b32_sdwa v40, v10 dst_sel:BYTE_1 dst_unused:UNUSED_SEXT src0_sel:BYTE_2": (
        lambda x, y, z: signed(x >> 16, 8) << 8
    ),
}
RDNA = COMMON | {
    "v_add_nc_u32 v40, v10, v11": lambda x, y, z: x + y,
    "v_sub_nc_u32 v40, v10, v11": lambda x, y, z: x - y,
    "v_xor3_b32 v40, v10, v11, v12": lambda x, y, z: x ^ y ^ z,
}
RDNA3 = RDNA | {
    "v_clz_i32_u32 v40, v10": lambda x, y, z: first_one(x),
    "v_ctz_i32_b32 v40, v10": lambda x, y, z: last_one(x),
    "v_maxmin_i32 v40, v10, v11, v12": lambda x, y, z: min(max(signed(x), signed(y)), signed(z)),
    "v_dual_mov_b32 v40, v12 :: v_dual_lshlrev_b32 v41, v10, v11\nv_mov_b32 v40, v41": lambda x, y, z: y << (x & 31),
    "v_dual_mov_b32 v40, v10 :: v_dual_add_nc_u32 v41, v40, v11\nv_mov_b32 v40, v41": lambda x, y, z: z + y,
}
CDNA4 = CDNA | {
    "v_bitop3_b32 v40, v10, v11, v12 bitop3:0x78": lambda x, y, z: sum(
        bit(0x78, 4 * bit(x, i) + 2 * bit(y, i) + bit(z, i)) << i for i in range(32)
    ),
}
TABLES = {"gfx90a": CDNA, "gfx942": CDNA, "gfx950": CDNA4, "gfx1030": RDNA, "gfx1100": RDNA3, "gfx1201": RDNA3}


@pytest.fixture(scope="module")
def built() -> dict[str, Snippets]:
    return {name: Snippets(name, list(table)) for name, table in TABLES.items()}


def check(
    snippets: Snippets, table: dict[str, Callable[[int, int, int], int]], values: list[tuple[int, int, int]]
) -> None:
    lanes = snippets.threads
    rows = (values * lanes)[:lanes]
    vectors = np.array(rows, np.uint64).T.astype(np.uint32)
    results = snippets.run(vectors, [0x0C070A01])
    for (text, function), result in zip(table.items(), results[:, 0], strict=True):
        wanted = [function(*row) & M for row in rows]
        assert result.tolist() == wanted, text


@pytest.mark.parametrize("processor", TABLES)
@settings(max_examples=12, deadline=None)
@given(values=st.lists(st.tuples(words, words, words), min_size=32, max_size=64))
def test_vectors(built: dict[str, Snippets], processor: str, values: list[tuple[int, int, int]]) -> None:
    check(built[processor], TABLES[processor], values)


def test_wide() -> None:
    """64-bit results, of 64-bit operands in two registers."""
    table: dict[str, Callable[[int, int], int]] = {
        "v_lshlrev_b64 v[40:41], v10, v[10:11]": lambda a, b: a << (a & 63),
        "v_lshrrev_b64 v[40:41], v10, v[10:11]": lambda a, b: a >> (a & 63),
        "v_ashrrev_i64 v[40:41], v10, v[10:11]": lambda a, b: signed(a, 64) >> (a & 63),
        "v_lshl_add_u64 v[40:41], v[10:11], 3, v[12:13]": lambda a, b: (a << 3) + b,
        "v_mad_u64_u32 v[40:41], vcc, v10, v12, v[10:11]": lambda a, b: (a & M) * (b & M) + a,
        "v_mad_i64_i32 v[40:41], vcc, v10, v12, v[10:11]": lambda a, b: signed(a) * signed(b) + a,
        "v_add_co_u32 v40, vcc, v10, v12\nv_addc_co_u32 v41, vcc, v11, v13, vcc": lambda a, b: a + b,
        "v_sub_co_u32 v40, vcc, v10, v12\nv_subb_co_u32 v41, vcc, v11, v13, vcc": lambda a, b: a - b,
        "v_subrev_co_u32 v40, vcc, v10, v12\nv_subbrev_co_u32 v41, vcc, v11, v13, vcc": lambda a, b: b - a,
    }
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 1 << 64, 64, dtype=np.uint64) for _ in range(2))
    a[:2], b[:2] = [0, (1 << 64) - 1], [(1 << 64) - 1, (1 << 64) - 1]
    vectors = np.concatenate([x.view(np.uint32).reshape(-1, 2).T for x in (a, b)])
    results = Snippets("gfx942", list(table), inputs=4, width=2).run(vectors)
    for (text, function), pair in zip(table.items(), results, strict=True):
        wide = (int(low) | int(high) << 32 for low, high in pair.T)
        assert list(wide) == [function(int(x), int(y)) & (1 << 64) - 1 for x, y in zip(a, b, strict=True)], text


SCALARS: dict[str, Callable[[int, int], int]] = {
    "s_add_u32 s30, s20, s21": lambda x, y: x + y,
    "s_add_u32 s30, s20, s21\ns_addc_u32 s30, s20, s21": lambda x, y: x + y + (x + y > M),
    "s_sub_u32 s30, s20, s21\ns_subb_u32 s30, s20, s21": lambda x, y: x - y - (x < y),
    "s_sub_i32 s30, s20, s21": lambda x, y: x - y,
    "s_add_i32 s30, s20, s21\ns_cselect_b32 s30, 1, 0": lambda x, y: signed(x) + signed(y) != signed(x + y),
    "s_mul_i32 s30, s20, s21": lambda x, y: x * y,
    "s_mul_hi_u32 s30, s20, s21": lambda x, y: x * y >> 32,
    "s_mul_hi_i32 s30, s20, s21": lambda x, y: signed(x) * signed(y) >> 32,
    "s_lshl_b32 s30, s20, s21": lambda x, y: x << (y & 31),
    "s_lshr_b32 s30, s20, s21\ns_cselect_b32 s30, 1, 0": lambda x, y: x >> (y & 31) != 0,
    "s_ashr_i32 s30, s20, s21": lambda x, y: signed(x) >> (y & 31),
    "s_andn2_b32 s30, s20, s21": lambda x, y: x & ~y,
    "s_max_i32 s30, s20, s21": lambda x, y: max(signed(x), signed(y)),
    "s_min_u32 s30, s20, s21": min,
    "s_abs_i32 s30, s20": lambda x, y: abs(signed(x)),
    "s_bfe_u32 s30, s20, 0x50003": lambda x, y: x >> 3 & 31,
    "s_bfe_i32 s30, s20, 0x50003": lambda x, y: signed(x >> 3, 5),
    "s_lshl2_add_u32 s30, s20, s21": lambda x, y: (x << 2) + y,
    "s_movk_i32 s30, 0x8001": lambda x, y: signed(0x8001, 16),
    "s_mov_b32 s30, s20\ns_mulk_i32 s30, 0xfff9": lambda x, y: signed(x) * -7,
    "s_mov_b32 s30, s20\ns_addk_i32 s30, 0x7fff": lambda x, y: x + 0x7FFF,
    "s_brev_b32 s30, s20": lambda x, y: int(f"{x:032b}"[::-1], 2),
    "s_bcnt1_i32_b32 s30, s20": lambda x, y: x.bit_count(),
    "s_ff1_i32_b32 s30, s20": lambda x, y: last_one(x),
    "s_flbit_i32_b32 s30, s20": lambda x, y: first_one(x),
    "s_sext_i32_i8 s30, s20": lambda x, y: signed(x, 8),
    "s_pack_lh_b32_b16 s30, s20, s21": lambda x, y: x & 0xFFFF | y & 0xFFFF0000,
    "s_cmp_gt_i32 s20, s21\ns_cselect_b32 s30, s20, s21": lambda x, y: x if signed(x) > signed(y) else y,
    "s_cmp_le_u32 s20, s21\ns_cselect_b32 s30, s20, s21": lambda x, y: x if x <= y else y,
    "s_cmpk_lt_i32 s20, 0x8000\ns_cselect_b32 s30, 1, 0": lambda x, y: signed(x) < -32768,
    "s_bitcmp1_b32 s20, s21\ns_cselect_b32 s30, 1, 0": lambda x, y: bit(x, y & 31),
    "s_lshl_b64 s[30:31], s[20:21], 7\ns_mov_b32 s30, s31": lambda x, y: (x | y << 32) << 7 >> 32,
    "s_ashr_i64 s[30:31], s[20:21], 7": lambda x, y: signed(x | y << 32, 64) >> 7,
    "s_bfm_b32 s30, s20, s21": lambda x, y: ((1 << (x & 31)) - 1) << (y & 31),
    "s_absdiff_i32 s30, s20, s21": lambda x, y: abs(signed(x) - signed(y)),
    "s_bitset1_b32 s20, s21\ns_mov_b32 s30, s20": lambda x, y: x | 1 << (y & 31),
}


@pytest.fixture(scope="module")
def scalar_snippets() -> Snippets:
    return Snippets("gfx942", [f"{text}\nv_mov_b32 v40, s30" for text in SCALARS])


@settings(max_examples=60, deadline=None)
@given(x=words, y=words)
def test_scalars(scalar_snippets: Snippets, x: int, y: int) -> None:
    results = scalar_snippets.run(np.zeros((3, 64), np.uint32), [x, y])
    for (text, function), result in zip(SCALARS.items(), results[:, 0], strict=True):
        assert set(result.tolist()) == {int(function(x, y)) & M}, text
