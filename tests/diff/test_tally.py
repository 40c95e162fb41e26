import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deepseek_core.diff.tally import Tally

FLOATS = arrays.arrays(np.float32, 8, elements=st.floats(-100, 100, width=32))


def _sqnr(*pairs) -> float:
    tally = Tally(comparable=False)
    for reference, other in pairs:
        tally.add(np.asarray(reference, np.float32), np.asarray(other, np.float32))
    return tally.sqnr


def test_a_tenth_of_the_amplitude_is_twenty_decibels() -> None:
    assert _sqnr(([1, -1], [1.1, -0.9])) == pytest.approx(20, abs=1e-5)


@given(FLOATS, FLOATS, FLOATS, FLOATS)
def test_samples_add_up_to_one_long_sample(a, b, c, d) -> None:
    together = _sqnr((np.concatenate([a, c]), np.concatenate([b, d])))
    assert _sqnr((a, b), (c, d)) == pytest.approx(together, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "other", "expected"),
    [
        ([1, 2], [1, 2], math.inf),
        ([0, 0], [0, 0], math.inf),
        ([math.nan, 1], [math.nan, 1], math.inf),
        ([math.inf, 1], [math.inf, 1], math.inf),
        ([0, 0], [0, 1], -math.inf),
        ([1, 2], [math.nan, 2], -math.inf),
        ([math.inf, 1], [1, 1], -math.inf),
        ([1, 2], [1, 2, 3], -math.inf),
    ],
)
def test_corners(reference, other, expected: float) -> None:
    assert _sqnr((reference, other)) == expected


def test_codes_count_only_where_they_mean_the_same() -> None:
    for comparable, expected in ((True, 255), (False, None)):
        tally = Tally(comparable=comparable)
        tally.add_codes(np.array([-128, 3], np.int8), np.array([127, 3], np.int8))
        assert tally.lsb == expected
