"""LRN against a loop over channels."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("positions", [(4,), (2, 3), (2, 1, 3)])
def test_lrn_sums_over_the_channels_around_each(run, size, positions) -> None:
    rng = np.random.default_rng(size)
    x = rng.standard_normal((2, 7, *positions)).astype(np.float32)
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.5, beta=0.6, bias=1.5)
    found = run([node], {"x": x}, ["y"])["y"]
    for channel in range(7):
        first, last = max(0, channel - (size - 1) // 2), min(6, channel + size // 2)
        squares = (x[:, first : last + 1].astype(np.float64) ** 2).sum(1)
        expected = x[:, channel] / (1.5 + 0.5 / size * squares) ** 0.6
        np.testing.assert_allclose(found[:, channel], expected, rtol=1e-6)


def test_lrn_keeps_float16(run) -> None:
    x = np.ones((1, 3, 2), np.float16)
    found = run([helper.make_node("LRN", ["x"], ["y"], size=3)], {"x": x}, ["y"])["y"]
    assert found.dtype == np.float16
