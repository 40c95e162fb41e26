"""Instructions on floats against exact rational arithmetic, rounded once."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.verification.assembly import find_assembler
from deepseek_backend_rocm.verification.snippets import Snippets

pytestmark = pytest.mark.skipif(find_assembler() is None, reason="llvm-mc with AMD GPUs is not installed")
seeds = st.integers(0, (1 << 32) - 1)
NONE = math.nan
_EDGES = (0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x3F000000, 0x33800000, 0x4B800000, 0x7F7FFFFF, 0x477FF000, 0x38800000)


def floats(seed: int, count: int, *, special: bool = False) -> Array:
    """float32 of any exponent, of like exponents, whole ones and edges, [3, count]."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, (3, count), dtype=np.uint32)
    whole = rng.integers(-300, 300, (3, count)).astype(np.float32) / np.float32(2)
    close = rng.normal(0, 100, (3, count)).astype(np.float32)
    edges = np.array(_EDGES, np.uint32)[rng.integers(0, len(_EDGES), (3, count))]
    edges = (edges | rng.integers(0, 2, (3, count), dtype=np.uint32) << np.uint32(31)).view(np.float32)
    values = np.choose(rng.integers(0, 4, (3, count)), [words.view(np.float32), whole, close, edges])
    return values if special else np.where(np.isfinite(values), values, whole).astype(np.float32)


def bits(value: float) -> int:
    with np.errstate(over="ignore"):
        return int(np.float32(value).view(np.uint32))


def value(word: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", word & 0xFFFFFFFF))[0])


def rounded(exact: Fraction, digits: int = 24, least: int = -149, most: int = 128) -> float:
    """To nearest, ties to even, in a binary format."""
    if exact == 0:
        return 0.0
    exponent = abs(exact).numerator.bit_length() - abs(exact).denominator.bit_length()
    exponent -= abs(exact) < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, least)
    result = round(exact / unit) * unit
    if abs(result) >= Fraction(2) ** most:
        return math.copysign(math.inf, exact)
    return float(result)


def half(exact: Fraction) -> float:
    return rounded(exact, 11, -24, 16)


def half_bits(number: float) -> int:
    return int(np.float16(number).view(np.uint16))


def rational(function: Callable[..., Fraction], to: Callable[[Fraction], float] = rounded) -> Callable[..., float]:
    return lambda *args: to(function(*map(Fraction, args)))


EXACT: dict[str, Callable[..., float]] = {
    "v_add_f32 v40, v10, v11": rational(lambda x, y, z: x + y),
    "v_sub_f32 v40, v10, v11": rational(lambda x, y, z: x - y),
    "v_subrev_f32 v40, v10, v11": rational(lambda x, y, z: y - x),
    "v_mul_f32 v40, v10, v11": rational(lambda x, y, z: x * y),
    "v_fma_f32 v40, v10, v11, v12": rational(lambda x, y, z: x * y + z),
    "v_fma_f32 v40, -v10, |v11|, v12": rational(lambda x, y, z: -x * abs(y) + z),
    "v_fmac_f32 v40, v10, v11": rational(lambda x, y, z: x * y + z),
    "v_add_f32_e64 v40, v10, v11 clamp": lambda x, y, z: min(max(rounded(Fraction(x) + Fraction(y)), 0.0), 1.0),
    "v_mul_f32_e64 v40, v10, v11 mul:2": lambda x, y, z: 2 * rounded(Fraction(x) * Fraction(y)),
    "v_max_f32 v40, v10, v11": lambda x, y, z: max(x, y),
    "v_min_f32 v40, v10, v11": lambda x, y, z: min(x, y),
    "v_med3_f32 v40, v10, v11, v12": lambda x, y, z: sorted((x, y, z))[1],
    "v_max3_f32 v40, v10, v11, v12": max,
    "v_floor_f32 v40, v10": rational(lambda x, y, z: Fraction(math.floor(x))),
    "v_ceil_f32 v40, v10": rational(lambda x, y, z: Fraction(math.ceil(x))),
    "v_trunc_f32 v40, v10": rational(lambda x, y, z: Fraction(math.trunc(x))),
    "v_rndne_f32 v40, v10": rational(lambda x, y, z: Fraction(round(x))),
    "v_add_f32 v40, 0.5, v10": rational(lambda x, y, z: x + Fraction(1, 2)),
    "v_mul_f32 v40, s20, v10": rational(lambda x, y, z: x * Fraction(3, 2)),
}


@pytest.fixture(scope="module", params=["gfx942", "gfx1100", "gfx1201"])
def snippets(request: pytest.FixtureRequest) -> Snippets:
    renamed = {"gfx1201": lambda text: text.replace("_max_f32", "_max_num_f32").replace("_min_f32", "_min_num_f32")}
    names = {"v_med3_f32": "v_med3_num_f32", "v_max3_f32": "v_max3_num_f32"}
    texts = [renamed.get(request.param, str)(text) for text in EXACT]
    if request.param == "gfx1201":
        texts = [names.get(text.split()[0], text.split()[0]) + text[len(text.split()[0]) :] for text in texts]
    return Snippets(request.param, texts)


def same(got: int, wanted: float) -> bool:
    """Bits agree; zeros may differ in sign, which exact arithmetic does not have."""
    return got == bits(wanted) or (wanted == 0 and got & 0x7FFFFFFF == 0)


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_exact(snippets: Snippets, seed: int) -> None:
    vectors = floats(seed, snippets.threads)
    rows = [tuple(map(float, row)) for row in vectors.T]
    results = snippets.run(vectors.view(np.uint32), [bits(1.5)])
    for (text, function), result in zip(EXACT.items(), results[:, 0], strict=True):
        for row, got in zip(rows, result.tolist(), strict=True):
            assert same(got, function(*row)), (text, row, value(got))


def nearest(x: float) -> int:
    return round(x) if math.isfinite(x) else (1 << 40 if x > 0 else -(1 << 40))


def floor(x: float) -> float:
    return float(math.floor(x)) if math.isfinite(x) else x


def saturated(x: float, low: int, high: int) -> int:
    if math.isnan(x):
        return 0
    return (low if x < low else high if x > high else math.trunc(x)) & 0xFFFFFFFF


def half_of(x: float) -> int:
    if not math.isfinite(x) or x == 0:
        return half_bits(x)
    return half_bits(math.copysign(half(Fraction(x)), x))


def toward_zero(x: float) -> int:
    if not math.isfinite(x) or x == 0:
        return half_bits(x)
    exponent = max(math.frexp(x)[1] - 11, -24)
    magnitude = math.trunc(abs(Fraction(x)) / Fraction(2) ** exponent) * Fraction(2) ** exponent
    return half_bits(math.copysign(float(min(magnitude, Fraction(65504))), x))


CONVERSIONS: dict[str, Callable[[float], int]] = {
    "v_cvt_i32_f32 v40, v10": lambda x: saturated(x, -(1 << 31), (1 << 31) - 1),
    "v_cvt_u32_f32 v40, v10": lambda x: saturated(x, 0, (1 << 32) - 1),
    "v_cvt_f16_f32 v40, v10": half_of,
    "v_cvt_pkrtz_f16_f32 v40, v10, 1.0": lambda x: 0x3C000000 | toward_zero(x),
    "v_cvt_pk_u8_f32 v40, v10, 2, 0": lambda x: (0 if math.isnan(x) else min(max(nearest(x), 0), 255)) << 16,
    "v_cvt_flr_i32_f32 v40, v10": lambda x: saturated(floor(x), -(1 << 31), (1 << 31) - 1),
}


@pytest.fixture(scope="module")
def conversions() -> Snippets:
    return Snippets("gfx942", list(CONVERSIONS))


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_conversions(conversions: Snippets, seed: int) -> None:
    vectors = floats(seed, 64, special=True)
    values = vectors[0].tolist()
    results = conversions.run(vectors.view(np.uint32))
    for (text, function), result in zip(CONVERSIONS.items(), results[:, 0], strict=True):
        for x, got in zip(values, result.tolist(), strict=True):
            if math.isnan(x) and "f16" in text:
                assert np.isnan(np.uint16(got & 0xFFFF).view(np.float16)), text
            else:
                assert got == function(x), (text, x, hex(got))


TO_FLOAT: dict[str, Callable[[int], float]] = {
    "v_cvt_f32_i32 v40, v10": lambda x: rounded(Fraction(x - (x >> 31 << 32))),
    "v_cvt_f32_u32 v40, v10": lambda x: rounded(Fraction(x)),
    "v_cvt_f32_ubyte0 v40, v10": lambda x: float(x & 255),
    "v_cvt_f32_ubyte2 v40, v10": lambda x: float(x >> 16 & 255),
    "v_cvt_f32_ubyte3 v40, v10": lambda x: float(x >> 24),
}


@pytest.mark.parametrize("seed", range(5))
def test_from_integers(seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(0, 1 << 32, (3, 64), dtype=np.uint32) >> np.uint32(seed)
    for (text, function), result in zip(TO_FLOAT.items(), Snippets("gfx942", list(TO_FLOAT)).run(vectors), strict=True):
        assert result[0].tolist() == [bits(function(x)) for x in vectors[0].tolist()], text


DIVIDE = """v_div_scale_f32 v30, s[30:31], v11, v11, v10
v_div_scale_f32 v31, vcc, v10, v11, v10
v_rcp_f32 v32, v30
v_fma_f32 v33, -v30, v32, 1.0
v_fma_f32 v32, v33, v32, v32
v_mul_f32 v33, v31, v32
v_fma_f32 v34, -v30, v33, v31
v_fma_f32 v33, v34, v32, v33
v_fma_f32 v30, -v30, v33, v31
v_div_fmas_f32 v30, v30, v32, v33
v_div_fixup_f32 v40, v30, v11, v10"""


@pytest.fixture(scope="module")
def division() -> Snippets:
    return Snippets("gfx942", [DIVIDE])


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_division(division: Snippets, seed: int) -> None:
    """The sequence that compilers emit gives correctly rounded quotients, of extremes too."""
    values = floats(seed, 64, special=True)
    with np.errstate(all="ignore"):
        wanted = values[0] / values[1]
    got = division.run(values.view(np.uint32))[0, 0].view(np.float32)
    exact = (got.view(np.uint32) == wanted.view(np.uint32)) | (np.isnan(got) & np.isnan(wanted))
    # Quotients below the normal range may be rounded twice, as on hardware.
    small = np.abs(wanted) < 2.0**-125
    assert (exact | small).all(), values[:2, ~(exact | small)]
    assert np.allclose(got[small], wanted[small], rtol=0, atol=2.0**-149)


def test_transcendentals() -> None:
    """Within the 1 ulp that hardware states."""
    table: dict[str, Callable[[float], float]] = {
        "v_exp_f32 v40, v10": lambda x: 2.0**x,
        "v_log_f32 v40, v11": math.log2,
        "v_rcp_f32 v40, v10": lambda x: 1 / x,
        "v_rsq_f32 v40, v11": lambda x: 1 / math.sqrt(x),
        "v_sqrt_f32 v40, v11": math.sqrt,
        "v_sin_f32 v40, v10": lambda x: math.sin(2 * math.pi * x),
    }
    rng = np.random.default_rng(0)
    vectors = np.stack([rng.uniform(-20, 20, 64), rng.uniform(1e-3, 1e6, 64), np.zeros(64)]).astype(np.float32)
    results = Snippets("gfx942", list(table)).run(vectors.view(np.uint32))[:, 0].view(np.float32)
    for (text, function), result in zip(table.items(), results, strict=True):
        source = vectors[1 if "v11" in text else 0]
        wanted = np.array([function(float(x)) for x in source])
        assert np.all(np.abs(result - wanted) <= np.spacing(np.abs(wanted).astype(np.float32))), text


def test_extremes() -> None:
    """What is no number, infinities, and the signs of zeros."""
    inf = math.inf
    cases: dict[str, tuple[float, float, float]] = {
        "v_max_f32 v40, v10, v11": (NONE, 2.0, 2.0),
        "v_min_f32 v40, v11, v10": (NONE, 2.0, 2.0),
        "v_med3_f32 v40, v10, v11, v10": (NONE, 2.0, 2.0),
        "v_rcp_f32 v40, v10": (0.0, 0.0, inf),
        "v_add_f32_e64 v40, v10, v11 clamp": (NONE, 1.0, 0.0),
    }
    for text, (x, y, wanted) in cases.items():
        vectors = np.array([[x] * 64, [y] * 64, [0] * 64], np.float32).view(np.uint32)
        assert Snippets("gfx942", [text]).run(vectors)[0, 0, 0] == bits(wanted), text
    zeros = np.array([[-0.0] * 64, [0.0] * 64, [0] * 64], np.float32).view(np.uint32)
    signs = Snippets("gfx942", ["v_max_f32 v40, v10, v11", "v_min_f32 v40, v11, v10"]).run(zeros)[:, 0, 0]
    assert signs.tolist() == [bits(0.0), bits(-0.0)]


HALVES: dict[str, Callable[[float, float, float], float]] = {
    "v_add_f16 v40, v10, v11": rational(lambda x, y, z: x + y, half),
    "v_mul_f16 v40, v10, v11": rational(lambda x, y, z: x * y, half),
    "v_fma_f16 v40, v10, v11, v12": rational(lambda x, y, z: x * y + z, half),
    "v_max_f16 v40, v10, v11": lambda x, y, z: max(x, y),
    "v_fma_mix_f32 v40, v10, v11, v12 op_sel_hi:[1,1,1]\nv_cvt_f16_f32 v40, v40": rational(
        lambda x, y, z: Fraction(rounded(x * y + z)), half
    ),
    "v_fma_mixlo_f16 v40, v10, v11, v12 op_sel_hi:[1,1,1]\nv_and_b32 v40, 0xffff, v40": rational(
        lambda x, y, z: x * y + z, half
    ),
    "v_pk_mul_f16 v40, v10, v11 op_sel_hi:[0,0]\nv_lshrrev_b32 v40, 16, v40": rational(lambda x, y, z: x * y, half),
    "v_pk_fma_f16 v40, v10, v11, v12 neg_lo:[1,0,0]\nv_and_b32 v40, 0xffff, v40": rational(
        lambda x, y, z: -x * y + z, half
    ),
}


@pytest.fixture(scope="module")
def half_snippets() -> Snippets:
    return Snippets("gfx942", list(HALVES))


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_halves(half_snippets: Snippets, seed: int) -> None:
    words = np.random.default_rng(seed).integers(0, 1 << 16, (3, 64), dtype=np.uint16)
    words = np.where(words >> 10 & 31 == 31, words & 0x83FF, words)
    values = [tuple(map(float, row)) for row in words.view(np.float16).T]
    vectors = words.astype(np.uint32)
    for (text, function), result in zip(HALVES.items(), half_snippets.run(vectors)[:, 0], strict=True):
        for row, got in zip(values, result.tolist(), strict=True):
            wanted = function(*row)
            assert got == half_bits(wanted) or (wanted == 0 and got & 0x7FFF == 0), (text, row, hex(got))
