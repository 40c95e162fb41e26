"""The base of every family bends to the limits of a rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core import Limit
from deepseek_core.conformance.forms import FAMILIES, family, fit
from deepseek_core.conformance.forms.base import breaks


@given(st.integers(1, 6), st.integers(0, 6), st.sampled_from([0, 1, 2, 3]))
def test_dimensions_move_inside(minimum, more, axis):
    limit = Limit(f"dim:{axis}", minimum, minimum + more)
    settings = fit(FAMILIES["Add"], (limit,))
    assert minimum <= settings.shape[axis] <= minimum + more


@given(st.integers(1, 300))
def test_elements_move_inside(maximum):
    settings = fit(FAMILIES["Relu"], (Limit("elements", maximum=maximum),))
    count = 1
    for size in settings.shape:
        count *= size
    assert count <= maximum


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "MaxPool", "Add"])
@pytest.mark.parametrize("rank", [3, 5])
def test_ranks_move_inside(op, rank):
    settings = fit(family(op, weight=True), (Limit("rank", rank, rank),))
    assert len(settings.shape) == rank
    kernel = settings.attributes.get("kernel_shape", (1,) * (rank - 2))
    assert len(kernel) == rank - 2


@given(st.sets(st.integers(1, 5), min_size=1))
def test_attributes_take_an_allowed_value(allowed):
    limit = Limit("attr:kernel_shape", allowed=tuple(allowed))
    settings = fit(FAMILIES["Conv"], (limit,))
    assert not breaks(limit, settings.attributes["kernel_shape"])
    assert len(settings.attributes["kernel_shape"]) == 2


def test_an_absent_attribute_counts_as_its_default():
    settings = fit(FAMILIES["Conv"], (Limit("attr:auto_pad", allowed=("VALID",), default="NOTSET"),))
    assert settings.attributes["auto_pad"] == "VALID"


def test_channels_move_inside():
    assert fit(FAMILIES["Conv"], (Limit("channels", minimum=16),)).channels == 16
