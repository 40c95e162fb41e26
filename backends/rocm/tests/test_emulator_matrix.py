"""Matrix instructions and dot products, element by element as their layouts are published."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.verification.assembly import find_assembler
from deepseek_backend_rocm.verification.snippets import Snippets

pytestmark = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
Shape = tuple[int, int, int, int]
MFMA: dict[str, list[tuple[str, Shape, str]]] = {
    "gfx90a": [
        ("v_mfma_i32_32x32x8i8", (32, 32, 8, 1), "i8"),
        ("v_mfma_i32_16x16x16i8", (16, 16, 16, 1), "i8"),
        ("v_mfma_i32_32x32x4i8", (32, 32, 4, 2), "i8"),
        ("v_mfma_i32_16x16x4i8", (16, 16, 4, 4), "i8"),
        ("v_mfma_i32_4x4x4i8", (4, 4, 4, 16), "i8"),
        ("v_mfma_f32_32x32x8f16", (32, 32, 8, 1), "f16"),
        ("v_mfma_f32_16x16x16bf16_1k", (16, 16, 16, 1), "bf16"),
        ("v_mfma_f32_16x16x4f32", (16, 16, 4, 1), "f32"),
    ],
    "gfx942": [
        ("v_mfma_i32_32x32x16_i8", (32, 32, 16, 1), "i8"),
        ("v_mfma_i32_16x16x32_i8", (16, 16, 32, 1), "i8"),
        ("v_mfma_f32_32x32x8_f16", (32, 32, 8, 1), "f16"),
        ("v_mfma_f32_16x16x16_bf16", (16, 16, 16, 1), "bf16"),
    ],
    "gfx950": [
        ("v_mfma_i32_32x32x32_i8", (32, 32, 32, 1), "i8"),
        ("v_mfma_i32_16x16x64_i8", (16, 16, 64, 1), "i8"),
        ("v_mfma_f32_16x16x32_f16", (16, 16, 32, 1), "f16"),
    ],
}
CASES = [(processor, *case) for processor, cases in MFMA.items() for case in cases]
SIZES = {"i8": 1, "f16": 2, "bf16": 2, "f32": 4}


def element(words: Array, lane: int, place: int, kind: str) -> float:
    """Element of a lane's registers, [registers, lanes]."""
    size = SIZES[kind]
    raw = words[:, lane].tobytes()[place * size : (place + 1) * size]
    if kind == "bf16":
        return float(np.frombuffer(b"\0\0" + raw, np.float32)[0])
    return float(np.frombuffer(raw, {"i8": np.int8, "f16": np.float16, "f32": np.float32}[kind])[0])


def place_of_input(row: int, k: int, block: int, shape: Shape) -> tuple[int, int]:
    """Lane and element that hold A[block][row, k], or B[block][k, row]."""
    rows, _, depth, blocks = shape
    each = depth * rows * blocks // 64
    return row + rows * (block + blocks * (k // each)), k % each


def place_of_output(row: int, column: int, block: int, shape: Shape) -> tuple[int, int]:
    """Register and lane that hold D[block][row, column]."""
    rows, columns, _, _ = shape
    if rows == 4:
        return row, column + 4 * block
    groups = 64 // columns
    return row % 4 + 4 * (row // (4 * groups)) + block * rows * columns // 64, column + columns * (row // 4 % groups)


@pytest.mark.parametrize(("processor", "name", "shape", "kind"), CASES, ids=[case[1] for case in CASES])
def test_mfma(processor: str, name: str, shape: Shape, kind: str) -> None:
    rows, columns, depth, blocks = shape
    each = max(depth * rows * blocks // 64 * SIZES[kind] // 4, 1)
    outputs = rows * columns * blocks // 64
    a, b = 10, 10 + each + each % 2
    pair = "{}[{}:{}]" if each > 1 else "{}{}"
    source = [pair.format("v", start, start + each - 1) for start in (a, b)]
    text = "\n".join(f"v_mov_b32 v{40 + i}, v{b + each + i % 2}" for i in range(outputs))
    text += (
        f"\ns_nop 15\n{name} v[40:{39 + outputs}], {source[0]}, {source[1]}, v[40:{39 + outputs}]\ns_nop 15\ns_nop 15"
    )
    count = b + each + 2 - a
    vectors = registers(np.random.default_rng(len(name)), count, kind)
    vectors[-2:] = (
        np.array([[3], [5]], np.uint32) if kind == "i8" else np.array([[0.5], [-2]], np.float32).view(np.uint32)
    )
    result = Snippets(processor, [text], inputs=count, width=outputs).run(vectors)[0]
    first, second = vectors[:each], vectors[b - a : b - a + each]
    matrices = []
    for words, size in ((first, rows), (second, columns)):
        matrices.append(
            np.array(
                [
                    [
                        [element(words, *place_of_input(i, k, block, shape), kind) for k in range(depth)]
                        for i in range(size)
                    ]
                    for block in range(blocks)
                ]
            )
        )
    product = matrices[0] @ matrices[1].swapaxes(1, 2)
    for block in range(blocks):
        for row in range(rows):
            for column in range(columns):
                register, lane = place_of_output(row, column, block, shape)
                got = result[register, lane].view(np.int32 if kind == "i8" else np.float32)
                added = (3, 5)[register % 2] if kind == "i8" else (0.5, -2)[register % 2]
                wanted = product[block, row, column] + added
                assert got == (int(wanted) if kind == "i8" else np.float32(wanted)), (block, row, column)


def registers(rng: np.random.Generator, count: int, kind: str) -> Array:
    """Random elements, small numbers where they are floats, so that float64 sums them exactly."""
    if kind == "i8":
        return rng.integers(0, 1 << 32, (count, 64), dtype=np.uint32)
    numbers = rng.integers(-64, 64, (count, 64 * 4 // SIZES[kind])).astype(np.float32) / np.float32(4)
    if kind == "f16":
        return numbers.astype(np.float16).view(np.uint32)
    return (
        numbers.view(np.uint32) if kind == "f32" else (numbers.view(np.uint32) >> 16).astype(np.uint16).view(np.uint32)
    )


def test_sums_wrap() -> None:
    """At the ends of int32, and from a constant."""
    texts = [
        "\n".join(f"v_bfrev_b32 v{40 + i}, 1" for i in range(4))
        + "\ns_nop 9\nv_mfma_i32_16x16x32_i8 v[40:43], v[10:11], v[10:11], v[40:43]\ns_nop 15",
        "s_nop 9\nv_mfma_i32_16x16x32_i8 v[40:43], v[10:11], v[10:11], 7\ns_nop 15",
    ]
    vectors = np.full((4, 64), 0x80808080, np.uint32)
    low, constant = Snippets("gfx942", texts, inputs=4, width=4).run(vectors).view(np.int32)
    assert set(low.ravel().tolist()) == {32 * 128 * 128 - (1 << 31)}
    assert set(constant.ravel().tolist()) == {32 * 128 * 128 + 7}


def accumulators() -> str:
    """AGPRs as operands, and moves to and from them."""
    return (
        "v_accvgpr_write_b32 a0, v10\nv_accvgpr_write_b32 a1, v11\ns_nop 9\n"
        "v_mfma_i32_16x16x32_i8 a[4:7], a[0:1], a[0:1], 0\ns_nop 15\ns_nop 9\n"
        + "\n".join(f"v_accvgpr_read_b32 v{40 + i}, a{4 + i}" for i in range(4))
    )


def test_accumulators() -> None:
    direct = "s_nop 9\nv_mfma_i32_16x16x32_i8 v[40:43], v[10:11], v[10:11], 0\ns_nop 15"
    vectors = np.random.default_rng(0).integers(0, 1 << 32, (4, 64), dtype=np.uint32)
    one, other = Snippets("gfx942", [accumulators(), direct], inputs=4, width=4).run(vectors)
    assert np.array_equal(one, other)


WMMA = [
    ("gfx1100", "v_wmma_i32_16x16x16_iu8 {}, v[10:13], v[14:17], {} neg_lo:[1,0,0]", "i8", 4),
    ("gfx1100", "v_wmma_f32_16x16x16_f16 {}, v[10:17], v[18:25], {}", "f16", 8),
    ("gfx1201", "v_wmma_i32_16x16x16_iu8 {}, v[10:11], v[12:13], {} neg_lo:[1,0,0]", "i8", 2),
    ("gfx1201", "v_wmma_f32_16x16x16_bf16 {}, v[10:13], v[14:17], {}", "bf16", 4),
]


@pytest.mark.parametrize(("processor", "text", "kind", "each"), WMMA, ids=[f"{c[0]}-{c[2]}" for c in WMMA])
def test_wmma(processor: str, text: str, kind: str, each: int) -> None:
    new = processor == "gfx1201"
    vectors = registers(np.random.default_rng(1), 2 * each, kind).reshape(2 * each, 64)[:, :32].copy()
    if not new:
        vectors[:, 16:] = vectors[:, :16]
    snippet = text.format("v[40:47]", "v[40:47]")
    before = "\n".join(f"v_mov_b32 v{40 + i}, 0" for i in range(8))
    result = Snippets(processor, [f"{before}\n{snippet}"], inputs=2 * each, width=8).run(vectors)[0]
    per_lane = each * 4 // SIZES[kind]

    def matrix(words: Array, unsigned: bool) -> Array:
        values = np.array(
            [
                [element(words, i + 16 * (k // per_lane), k % per_lane, kind) for k in range(16)]
                if new
                else [element(words, i, k, kind) for k in range(16)]
                for i in range(16)
            ]
        )
        return np.where(values < 0, values + 256, values) if unsigned else values

    product = matrix(vectors[:each], False) @ matrix(vectors[each:], kind == "i8").T
    for row in range(16):
        for column in range(16):
            register, lane = (row % 8, column + 16 * (row // 8)) if new else (row // 2, column + 16 * (row % 2))
            got = result[register, lane].view(np.int32 if kind == "i8" else np.float32)
            assert got == product[row, column], (row, column)


def signed(x: int, bits: int) -> int:
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


def parts(x: int, bits: int, sign: bool) -> list[int]:
    values = [x >> bits * i & (1 << bits) - 1 for i in range(32 // bits)]
    return [signed(value, bits) for value in values] if sign else values


def dot(bits: int, first: bool, second: bool) -> Callable[[int, int, int], int]:
    return lambda x, y, z: (
        sum(p * q for p, q in zip(parts(x, bits, first), parts(y, bits, second), strict=True)) + signed(z, 32)
    )


DOTS: dict[str, dict[str, Callable[[int, int, int], int]]] = {
    "gfx942": {
        "v_dot4_i32_i8 v40, v10, v11, v12": dot(8, True, True),
        "v_dot4_u32_u8 v40, v10, v11, v12": dot(8, False, False),
        "v_dot8_i32_i4 v40, v10, v11, v12": dot(4, True, True),
        "v_dot2_i32_i16 v40, v10, v11, v12": dot(16, True, True),
        "v_dot4_i32_i8 v40, v10, v11, v12 clamp": lambda x, y, z: max(
            min(dot(8, True, True)(x, y, z), 2**31 - 1), -(2**31)
        ),
    },
    "gfx1030": {"v_dot4c_i32_i8 v40, v10, v11": dot(8, True, True)},
    "gfx1100": {"v_dot4_i32_iu8 v40, v10, v11, v12 neg_lo:[1,0,0]": dot(8, True, False)},
}


@pytest.mark.parametrize("processor", DOTS)
def test_dots(processor: str) -> None:
    table = DOTS[processor]
    snippets = Snippets(processor, list(table))
    vectors = np.random.default_rng(0).integers(0, 1 << 32, (3, snippets.threads), dtype=np.uint32)
    vectors[2, :4] = [0x7FFFFFFF, 0x80000000, 0, 0xFFFFFFFF]
    for (text, function), result in zip(table.items(), snippets.run(vectors)[:, 0], strict=True):
        wanted = [function(*map(int, row)) & 0xFFFFFFFF for row in vectors.T]
        assert result.tolist() == wanted, text


def test_packed() -> None:
    """Two 16-bit integers, or two floats, with halves chosen and changed in sign."""
    texts = [
        "v_pk_add_u16 v40, v10, v11",
        "v_pk_sub_i16 v40, v10, v11 clamp",
        "v_pk_mul_lo_u16 v40, v10, v11 op_sel:[1,0] op_sel_hi:[0,1]",
        "v_pk_lshlrev_b16 v40, 3, v10 op_sel_hi:[0,1]",
        "v_pk_max_i16 v40, v10, v11",
    ]
    vectors = np.random.default_rng(0).integers(0, 1 << 32, (3, 64), dtype=np.uint32)
    x, y = (row.view(np.uint16).reshape(64, 2) for row in vectors[:2])
    i, j = (part.view(np.int16).astype(int) for part in (x, y))
    with np.errstate(over="ignore"):
        wanted = [
            x + y,
            np.clip(i - j, -32768, 32767).astype(np.int16),
            x[:, ::-1] * y,
            x << np.uint16(3),
            np.maximum(i, j).astype(np.int16),
        ]
    results = Snippets("gfx942", texts).run(vectors)[:, 0]
    for text, result, pair in zip(texts, results, wanted, strict=True):
        assert np.array_equal(result, np.ascontiguousarray(pair).view(np.uint32)[:, 0]), text


def test_packed_floats() -> None:
    texts = [
        "v_pk_mul_f32 v[40:41], v[10:11], v[12:13]",
        "v_pk_add_f32 v[40:41], v[10:11], v[12:13] op_sel:[1,0] op_sel_hi:[0,1] neg_lo:[0,1] neg_hi:[0,0]",
        "v_pk_fma_f32 v[40:41], v[10:11], v[12:13], v[10:11]",
        "v_pk_mov_b32 v[40:41], v[10:11], v[12:13] op_sel:[1,0]",
    ]
    vectors = np.random.default_rng(0).integers(-99, 99, (4, 64)).astype(np.float32)
    a, b, c, d = vectors
    wanted = [(a * c, b * d), (b - c, a + d), (a * c + a, b * d + b), (b, c)]
    results = Snippets("gfx942", texts, inputs=4, width=2).run(vectors.view(np.uint32)).view(np.float32)
    for text, result, pair in zip(texts, results, wanted, strict=True):
        assert np.array_equal(result, np.stack(pair)), text
