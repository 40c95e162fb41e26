"""Schemes: which ones exist, their ranges, their JSON."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core.errors import ConfigError
from deepseek_core.scheme import DType, Granularity, QuantScheme

QUANTIZED = [d for d in DType if d.is_quantized]


@st.composite
def schemes(draw: st.DrawFn) -> QuantScheme:
    granularity = draw(st.sampled_from(Granularity))
    return QuantScheme(
        draw(st.sampled_from([*QUANTIZED, DType.INT32])),
        granularity,
        symmetric=draw(st.booleans()),
        narrow_range=draw(st.booleans()),
        axis=None if granularity is Granularity.PER_TENSOR else draw(st.none() | st.integers(-4, 4)),
        block_size=draw(st.integers(1, 256)) if granularity is Granularity.PER_BLOCK else None,
    )


@given(schemes())
def test_json_is_lossless(scheme):
    assert QuantScheme.from_json(scheme.to_json()) == scheme


@given(schemes())
def test_codes_lie_in_the_dtype(scheme):
    low, high = scheme.dtype.range
    assert low <= scheme.qmin < scheme.qmax == high
    if scheme.dtype.is_integer:
        assert scheme.levels == 2**scheme.dtype.bits - (scheme.narrow_range and scheme.dtype.is_signed)


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_ranges_are_those_of_numpy(dtype):
    limits = (ml_dtypes.finfo if not dtype.is_integer else ml_dtypes.iinfo)(
        getattr(ml_dtypes, dtype.value, None) or np.dtype(dtype.value)
    )
    assert dtype.range == (float(limits.min), float(limits.max))
    assert dtype.bits == limits.bits
    assert dtype.is_signed == (limits.min < 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"dtype": DType.FLOAT32}, "not a quantized dtype"),
        ({"dtype": DType.INT8, "block_size": 8}, "block_size"),
        ({"dtype": DType.INT8, "granularity": Granularity.PER_BLOCK}, "block_size"),
        ({"dtype": DType.INT8, "granularity": Granularity.PER_BLOCK, "block_size": 0}, "block_size=0"),
        ({"dtype": DType.INT8, "axis": 1}, "axis=1"),
    ],
)
def test_impossible_schemes_are_refused(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        QuantScheme(**arguments)


@pytest.mark.parametrize("data", [{}, {"dtype": "int9"}, {"dtype": "int8", "granularity": "per_row"}, {"dtype": 8}])
def test_other_json_is_refused(data):
    with pytest.raises(ConfigError, match="not a quantization scheme"):
        QuantScheme.from_json(data)


def test_a_float_dtype_has_no_range():
    with pytest.raises(ConfigError, match="no quantized range"):
        _ = DType.FLOAT16.range


def test_the_text_names_everything_that_matters():
    scheme = QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, axis=0, block_size=32, narrow_range=True)
    assert str(scheme) == "int4 per_block axis=0 block=32 symmetric narrow"
    assert str(QuantScheme(DType.UINT8)) == "uint8 per_tensor asymmetric"
