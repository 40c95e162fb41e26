"""Factors for the IR's own codes, held against the IR's formula for every pair of codes."""

import numpy as np
import pytest

from deepseek_backend_npu.lowering.rounding import exact_sum, plain_sum

BITS = 20


def rescaled(values: np.ndarray, factor: float) -> np.ndarray:
    """RESCALE with a multiplier of 31 bits and one rounding, ties up."""
    mantissa, exponent = np.frexp(factor)
    shift = 31 - int(exponent)
    return (values * round(mantissa * (1 << 31)) + (1 << (shift - 1))) >> shift


def differing(scales, zeros, ends, sign, factors) -> int:
    """Pairs whose code is not the IR's."""
    a, b = (np.arange(-128, 128) - zero for zero in zeros)
    real = a.astype(np.float32)[:, None] * scales[0] + np.float32(sign) * (b.astype(np.float32) * scales[1])
    expected = np.clip(np.rint(real / scales[2]), *ends)
    sums = rescaled(a, factors[0])[:, None] + sign * rescaled(b, factors[1])
    return int((np.clip(rescaled(sums, factors[2]), *ends) != expected).sum())


def drawn(seed: int):
    rng = np.random.default_rng(seed)
    scales = tuple(np.exp(rng.uniform(-5, -1, 3)).astype(np.float32))
    zeros, zero = tuple(int(z) for z in rng.integers(-128, 128, 2)), int(rng.integers(-128, 128))
    return scales, zeros, (-128 - zero, 127 - zero)


@pytest.mark.parametrize("sign", [1, -1])
def test_every_pair_has_the_irs_code_where_plain_factors_would_not_do(sign) -> None:
    missed = 0
    for seed in range(50):
        scales, zeros, ends = drawn(seed)
        missed += differing(scales, zeros, ends, sign, plain_sum(scales, BITS)) > 0
        assert differing(scales, zeros, ends, sign, exact_sum(scales, zeros, ends, sign, BITS)) == 0
    assert missed > 0


def test_true_ties_leave_the_plain_factors() -> None:
    scales = (np.float32(0.5), np.float32(0.5), np.float32(1.0))
    factors = exact_sum(scales, (0, 0), (-128, 127), 1, BITS)
    assert factors == plain_sum(scales, BITS) == (2.0 ** (BITS - 1), 2.0 ** (BITS - 1), 2.0**-BITS)
    assert differing(scales, (0, 0), (-128, 127), 1, factors) > 0, "half of the ties go to the other side"


@pytest.mark.parametrize("scales", [(1e-20, 1.0, 1e-3), (1.0, 1e-3, 1e-20), (1e-20, 1e-20, 1.0), (1e20, 1e-20, 1e20)])
def test_scales_of_any_size_have_factors(scales) -> None:
    assert all(factor > 0 for factor in exact_sum(tuple(map(np.float32, scales)), (0, 3), (-128, 127), 1, BITS))
