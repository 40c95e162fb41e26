"""Declared numerics: rounding of ties and width of the accumulator."""

from __future__ import annotations

from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core import Rounding
from deepseek_core.reference.numerics import DEFINITION, Numerics, following, narrow, round_codes

RATIOS = st.one_of(
    st.integers(-2000, 2000).map(lambda n: n / 2), st.floats(-300, 300, width=32), st.sampled_from([0.49999997, -0.0])
)


@pytest.mark.parametrize("rounding", list(Rounding))
@given(value=RATIOS)
def test_ties_and_only_ties_follow_the_declaration(rounding, value):
    exact = Decimal(float(np.float32(value)))
    modes = {Rounding.HALF_EVEN: ROUND_HALF_EVEN, Rounding.HALF_AWAY: ROUND_HALF_UP}
    modes[Rounding.HALF_UP] = ROUND_HALF_UP if exact > 0 else ROUND_HALF_DOWN
    with following(Numerics(rounding)):
        assert int(round_codes(np.array([value], np.float32))[0]) == int(exact.quantize(Decimal(1), modes[rounding]))


@given(st.integers(-(2**40), 2**40))
def test_32_bits_wrap_and_fewer_saturate(total):
    sums = np.array([total], np.int64)
    assert int(narrow(sums)[0]) == (total + 2**31) % 2**32 - 2**31
    with following(Numerics(accumulator_bits=16)):
        assert int(narrow(sums)[0]) == min(max(total, -(2**15)), 2**15 - 1)


def test_other_threads_keep_the_definition():
    seen = []
    with following(Numerics(Rounding.HALF_UP)):
        thread = Thread(target=lambda: seen.append(round_codes(np.array([0.5], np.float32))[0]))
        thread.start()
        thread.join()
        assert round_codes(np.array([0.5], np.float32))[0] == 1
    assert seen == [0]


def test_the_definition_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), following(Numerics(Rounding.HALF_AWAY)):
        raise ZeroDivisionError
    assert round_codes(np.array([0.5, 1.5], np.float32)).tolist() == [0, 2]
    assert Numerics() == DEFINITION
