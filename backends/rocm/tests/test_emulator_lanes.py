"""Masks, comparisons, and values that go from lane to lane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.emulator.faults import KernelFault
from deepseek_backend_rocm.verification.assembly import find_assembler
from deepseek_backend_rocm.verification.snippets import Snippets

pytestmark = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
PROCESSORS = {"gfx942": 64, "gfx1100": 32}
Lanes = Callable[[int, list[int]], int | None]
"""Lane and everyone's value → result, or None for the value before."""


def inputs(lanes: int, seed: int = 0) -> Array:
    """v10 random, v11 a permutation of lanes times 4, v12 what v40 holds before."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 1 << 32, (3, lanes), dtype=np.uint32)
    vectors[1] = 4 * rng.permutation(lanes)
    return vectors


def shifted(distance: int, zero: bool) -> Lanes:
    def lane_from(lane: int, values: list[int]) -> int | None:
        source = lane - distance
        return values[source] if source // 16 == lane // 16 and source >= 0 else (0 if zero else None)

    return lane_from


def in_row(function: Callable[[int], int]) -> Lanes:
    return lambda lane, values: values[lane & ~15 | function(lane & 15)]


DPP: dict[str, Lanes] = {
    "quad_perm:[1,0,3,2] row_mask:0xf bank_mask:0xf": lambda lane, values: values[lane ^ 1],
    "row_shl:3 row_mask:0xf bank_mask:0xf": shifted(-3, False),
    "row_shr:2 row_mask:0xf bank_mask:0xf": shifted(2, False),
    "row_shr:1 row_mask:0xf bank_mask:0xf bound_ctrl:1": shifted(1, True),
    "row_ror:5 row_mask:0xf bank_mask:0xf": in_row(lambda lane: (lane - 5) % 16),
    "row_mirror row_mask:0xf bank_mask:0xf": in_row(lambda lane: 15 - lane),
    "row_half_mirror row_mask:0xf bank_mask:0xf": in_row(lambda lane: lane & 8 | 7 - (lane & 7)),
    "row_mirror row_mask:0x1 bank_mask:0x5": lambda lane, values: (
        values[15 - lane] if lane < 16 and lane // 4 in (0, 2) else None
    ),
}
BROADCASTS: dict[str, Lanes] = {
    "row_bcast:15 row_mask:0xa bank_mask:0xf": lambda lane, values: (
        values[(lane & ~15) - 1] if lane // 16 in (1, 3) else None
    ),
    "row_bcast:31 row_mask:0xc bank_mask:0xf": lambda lane, values: values[31] if lane >= 32 else None,
    "row_newbcast:7 row_mask:0xf bank_mask:0xf": in_row(lambda lane: 7),
    "wave_shr:1 row_mask:0xf bank_mask:0xf": lambda lane, values: values[lane - 1] if lane else None,
}
RDNA: dict[str, Lanes] = {
    "row_share:7 row_mask:0xf bank_mask:0xf": in_row(lambda lane: 7),
    "row_xmask:6 row_mask:0xf bank_mask:0xf": in_row(lambda lane: lane ^ 6),
    "dpp8:[7,6,5,4,3,2,1,0]": lambda lane, values: values[lane ^ 7],
}
TABLES = {"gfx90a": DPP | BROADCASTS, "gfx942": DPP | BROADCASTS, "gfx1100": DPP | RDNA}


@pytest.mark.parametrize("processor", TABLES)
def test_dpp(processor: str) -> None:
    table = TABLES[processor]
    snippets = Snippets(processor, [f"s_nop 4\nv_mov_b32_dpp v40, v10 {text}" for text in table])
    vectors = inputs(snippets.threads)
    values, before = vectors[0].tolist(), vectors[2].tolist()
    for (text, function), result in zip(table.items(), snippets.run(vectors)[:, 0], strict=True):
        found = [function(lane, values) for lane in range(snippets.threads)]
        wanted = [before[lane] if value is None else value for lane, value in enumerate(found)]
        assert result.tolist() == wanted, text


def test_dpp_computes() -> None:
    """A sum over a row, as reductions are compiled: the operand that moves is the first."""
    snippets = Snippets(
        "gfx942",
        [
            "\n".join(
                f"s_nop 4\nv_add_u32_dpp v12, v12, v12 row_ror:{n} row_mask:0xf bank_mask:0xf" for n in (8, 4, 2, 1)
            )
            + "\nv_mov_b32 v40, v12"
        ],
    )
    vectors = inputs(64)
    wanted = np.repeat(vectors[2].reshape(4, 16).sum(1, dtype=np.uint32), 16)
    assert np.array_equal(snippets.run(vectors)[0, 0], wanted)


def test_a_target_of_which_every_lane_is_written_is_not_read() -> None:
    """v59 was never written: with bound_ctrl each lane gets a sum, its own value and 0 at the edge of a row."""
    dpp = "s_nop 4\nv_add_u32_dpp v59, v12, v12 row_shr:1 row_mask:0xf bank_mask:0xf"
    vectors = inputs(64)
    (result,) = Snippets("gfx942", [f"{dpp} bound_ctrl:1\nv_mov_b32 v40, v59"]).run(vectors)[:, 0]
    rows = vectors[2].reshape(4, 16)
    before = np.pad(rows[:, :-1], ((0, 0), (1, 0)))
    assert np.array_equal(result, (rows + before).reshape(-1))
    with pytest.raises(KernelFault, match="reads v59, which was never written"):
        Snippets("gfx942", [f"{dpp}\nv_mov_b32 v40, v59"]).run(vectors)


def test_inactive_sources() -> None:
    """A lane whose source does not execute keeps its value; with bound_ctrl it gets 0."""
    body = "v_cmp_lt_u32 vcc, 2, v0\ns_and_saveexec_b64 s[30:31], vcc\ns_nop 4\n{}\ns_mov_b64 exec, s[30:31]"
    dpp = "v_mov_b32_dpp v40, v10 row_shr:1 row_mask:0xf bank_mask:0xf"
    vectors = inputs(64)
    keeps, zeroes = Snippets("gfx942", [body.format(dpp), body.format(f"{dpp} bound_ctrl:1")]).run(vectors)[:, 0]
    assert keeps[:5].tolist() == [*vectors[2, :4], vectors[0, 3]]
    assert zeroes[:5].tolist() == [*vectors[2, :3], 0, vectors[0, 3]]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_moves_through_local_memory(processor: str) -> None:
    lanes = PROCESSORS[processor]
    wait = "\ns_waitcnt lgkmcnt(0)"
    texts = [
        f"ds_bpermute_b32 v40, v11, v10{wait}",
        f"ds_permute_b32 v40, v11, v10{wait}",
        f"ds_swizzle_b32 v40, v10 offset:swizzle(SWAP,8){wait}",
        f'ds_swizzle_b32 v40, v10 offset:swizzle(BITMASK_PERM,"01p1i"){wait}',
        f"ds_swizzle_b32 v40, v10 offset:swizzle(QUAD_PERM,3,1,0,2){wait}",
    ]
    vectors = inputs(lanes)
    pulled, pushed, swapped, masked, quad = Snippets(processor, texts).run(vectors)[:, 0]
    places, lane = vectors[1] // 4, np.arange(lanes)
    assert np.array_equal(pulled, vectors[0, places])
    assert np.array_equal(pushed[places], vectors[0])
    assert np.array_equal(swapped, vectors[0, lane ^ 8])
    assert np.array_equal(masked, vectors[0, lane & ~31 | 0b01010 | (lane & 0b00100) | (~lane & 1)])
    assert np.array_equal(quad, vectors[0, lane & ~3 | np.array([3, 1, 0, 2])[lane & 3]])


def test_scalars_from_lanes() -> None:
    texts = [
        "v_readfirstlane_b32 s30, v10\nv_mov_b32 v40, s30",
        "v_readlane_b32 s30, v10, 37\nv_mov_b32 v40, s30",
        "v_writelane_b32 v40, s20, 5",
        "v_mbcnt_lo_u32_b32 v40, -1, 0\nv_mbcnt_hi_u32_b32 v40, -1, v40",
        "v_cmp_lt_u32 vcc, 9, v0\ns_and_saveexec_b64 s[30:31], vcc\nv_readfirstlane_b32 s20, v10\n"
        "s_mov_b64 exec, s[30:31]\nv_mov_b32 v40, s20",
    ]
    vectors = inputs(64)
    first, chosen, written, below, masked = Snippets("gfx942", texts).run(vectors, [123])[:, 0]
    assert set(first.tolist()) == {int(vectors[0, 0])}
    assert set(chosen.tolist()) == {int(vectors[0, 37])}
    assert written.tolist() == [*vectors[2, :5], 123, *vectors[2, 6:]]
    assert below.tolist() == list(range(64))
    assert set(masked.tolist()) == {int(vectors[0, 10])}


def test_permutes_of_rows() -> None:
    texts = ["v_permlane16_b32 v40, v10, s20, s21", "v_permlanex16_b32 v40, v10, s20, s21"]
    vectors = inputs(32)
    within, across = Snippets("gfx1100", texts).run(vectors, [0x76543210, 0x01234567])[:, 0]
    order = [*range(8), *range(7, -1, -1)]
    assert within.tolist() == [vectors[0, row * 16 + place] for row in (0, 1) for place in order]
    assert across.tolist() == [vectors[0, row * 16 + place] for row in (1, 0) for place in order]


def test_swaps_of_halves() -> None:
    text = "v_mov_b32 v13, v12\nv_mov_b32 v40, v10\ns_nop 1\nv_permlane32_swap_b32 v40, v13\nv_mov_b32 v41, v13"
    vectors = inputs(64)
    one, two = Snippets("gfx950", [text], width=2).run(vectors)[0]
    assert one.tolist() == [*vectors[0, :32], *vectors[2, :32]]
    assert two.tolist() == [*vectors[0, 32:], *vectors[2, 32:]]


RELATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "lt": np.less,
    "eq": np.equal,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@pytest.mark.parametrize(("kind", "dtype"), [("i32", np.int32), ("u32", np.uint32), ("f32", np.float32)])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_comparisons(processor: str, kind: str, dtype: type[np.generic]) -> None:
    lanes, names = PROCESSORS[processor], list(RELATIONS)
    other = {"f32": ["nlt", "u", "lg"]}.get(kind, ["ne"])
    vcc = "vcc" if lanes == 64 else "vcc_lo"
    texts = [f"v_cmp_{name}_{kind} {vcc}, v10, v11\nv_cndmask_b32 v40, 0, 1, {vcc}" for name in (*names, *other)]
    vectors = np.random.default_rng(0).integers(0, 1 << 32, (3, lanes), dtype=np.uint32)
    vectors[:2, :9] = [0, 1, 0x7FC00000, 0x80000000, 0, 0x7F800000, 0xFF800000, 5, 0xFFFFFFFF], [0] * 9
    vectors[0, 10:14] = vectors[1, 10:14]
    x, y = (row.view(dtype) for row in vectors[:2])
    with np.errstate(invalid="ignore"):
        wanted = [RELATIONS[name](x, y) for name in names]
        wanted += [~(x < y), np.isnan(x) | np.isnan(y), (x < y) | (x > y)] if kind == "f32" else [x != y]  # type: ignore[operator]
    results = Snippets(processor, texts).run(vectors)[:, 0]
    assert [row.tolist() for row in results] == [row.astype(int).tolist() for row in wanted]


def test_masked_writes() -> None:
    """Only lanes that execute are written, or compared."""
    texts = [
        "v_cmp_gt_u32 vcc, 7, v0\ns_and_saveexec_b64 s[30:31], vcc\nv_mov_b32 v40, 1\ns_mov_b64 exec, s[30:31]",
        "s_mov_b64 s[30:31], exec\nv_cmpx_gt_u32 vcc, 7, v0\nv_mov_b32 v40, 1\ns_mov_b64 exec, s[30:31]",
        "v_cmp_gt_u32 vcc, 7, v0\ns_and_saveexec_b64 s[30:31], vcc\nv_cmp_ge_u32 vcc, 99, v0\n"
        "s_mov_b64 exec, s[30:31]\nv_cndmask_b32 v40, v12, 1, vcc",
        "s_mov_b64 s[30:31], exec\ns_mov_b64 exec, 0\ns_cbranch_execz 1\nv_mov_b32 v40, 3\ns_mov_b64 exec, s[30:31]",
    ]
    vectors = inputs(64)
    results = Snippets("gfx942", texts).run(vectors)[:, 0]
    for result in results[:3]:
        assert result.tolist() == [1] * 7 + vectors[2, 7:].tolist()
    assert np.array_equal(results[3], vectors[2])


def test_classes() -> None:
    values = np.array([np.nan, -np.inf, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, np.inf], np.float32)
    texts = [
        f"v_mov_b32 v13, {1 << bit:#x}\nv_cmp_class_f32 vcc, v10, v13\nv_cndmask_b32 v40, 0, 1, vcc"
        for bit in range(1, 10)
    ]
    vectors = np.zeros((3, 64), np.uint32)
    vectors[0, :9] = values.view(np.uint32)
    assert np.array_equal(Snippets("gfx942", texts).run(vectors)[:, 0, :9], np.eye(9, dtype=np.uint32))
