"""Outputs are compared exactly as tolerances declare."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core import Tolerance
from deepseek_core.conformance.case import Failed
from deepseek_core.conformance.comparison import compare

EXACT = Tolerance()
CODES = st.lists(st.integers(0, 255), min_size=1, max_size=40)


@given(CODES, CODES, st.integers(0, 4), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_codes_pass_exactly_within_lsb_and_fraction(one, other, lsb, fraction):
    size = min(len(one), len(other))
    expected, actual = (np.array(codes[:size], np.uint8) for codes in (one, other))
    distance = np.abs(expected.astype(int) - actual.astype(int))
    fine = distance.max() <= lsb and (distance > 0).mean() <= fraction
    try:
        compare("y", expected, actual, Tolerance(lsb=lsb, fraction=fraction))
    except Failed:
        assert not fine
    else:
        assert fine


def test_details_show_where_and_what():
    expected = np.arange(600, dtype=np.int16).reshape(2, 300)
    actual = expected.copy()
    actual[1, 7:] += 3
    with pytest.raises(Failed, match=r"293 of 600 values of 'y' differ by up to 3 LSB \(allowed: 0 LSB\)") as failed:
        compare("y", expected, actual, EXACT)
    lines = failed.value.details.splitlines()
    assert lines[1].split() == ["[1,", "7]", "307", "310"]
    assert lines[-1].split() == ["…", "and", "281", "more"]


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4, np.int8, np.uint16])
def test_every_integer_type_compares(dtype):
    codes = np.array([0, 1, 7], dtype)
    compare("y", codes, codes.copy(), EXACT)
    with pytest.raises(Failed, match="1 of 3"):
        compare("y", codes, np.array([0, 2, 7], dtype), EXACT)


def test_float8_counts_steps_between_codes():
    codes = np.array([0.001953125, -0.001953125, 448.0], ml_dtypes.float8_e4m3fn)
    neighbours = np.array([0.0, 0.0, 416.0], ml_dtypes.float8_e4m3fn)
    compare("y", codes, neighbours, Tolerance(lsb=1))
    with pytest.raises(Failed, match="3 of 3"):
        compare("y", codes, neighbours, EXACT)
    with pytest.raises(Failed):
        compare("y", codes, np.array([0.0, 0.0, np.nan], ml_dtypes.float8_e4m3fn), Tolerance(lsb=8))


def test_floats_are_not_compared_finer_than_they_resolve():
    one = np.array([1.0], np.float16)
    compare("y", one, np.nextafter(one, np.float16(2)), Tolerance(rtol=0, atol=0))
    with pytest.raises(Failed, match=r"by up to 0.00195"):
        compare("y", one, one + np.float16(0.001953125), Tolerance(rtol=0, atol=0))


def test_nan_equals_nan_and_nothing_else():
    values = np.array([np.nan, np.inf, 1.0], np.float32)
    compare("y", values, values.copy(), EXACT)
    with pytest.raises(Failed, match="1 of 3"):
        compare("y", values, np.array([0.0, np.inf, 1.0], np.float32), EXACT)


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        ([1, 2], "is a list, not an array"),
        (np.array([1, 2], np.int8), "has dtype int8, declared is uint8"),
        (np.array([[1, 2]], np.uint8), r"has shape \(1, 2\), expected \(2,\)"),
    ],
)
def test_type_and_shape_come_first(actual, message):
    with pytest.raises(Failed, match=message):
        compare("y", np.array([1, 2], np.uint8), actual, EXACT)


def test_empty_outputs_are_equal():
    compare("y", np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8), EXACT)
