from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantization.networks.blobs import boxes, components


def flood(mask: np.ndarray) -> set[tuple[int, int, int, int]]:
    left, found = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}, set()
    while left:
        stack, part = [left.pop()], []
        while stack:
            y, x = stack.pop()
            part.append((y, x))
            around = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            stack += around
        ys, xs = zip(*part, strict=True)
        found.add((min(xs), min(ys), max(xs) + 1, max(ys) + 1))
    return found


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_components_are_what_flooding_finds(mask: np.ndarray) -> None:
    assert set(components(mask)) == flood(mask)


def test_a_box_grows_by_area_over_perimeter() -> None:
    probability = np.zeros((20, 30))
    probability[5:15, 5:25] = 0.9
    grow = 10 * 20 * 1.6 / 60
    assert boxes(probability, 0.3, 0.5, 1.6).tolist() == [
        [pytest.approx(v) for v in (5 - grow, 5 - grow, 25 + grow, 15 + grow)]
    ]


def test_small_and_faint_parts_are_left_out() -> None:
    probability = np.zeros((20, 20))
    probability[0:2, 0:9] = 0.9
    probability[5:15, 5:15] = 0.4
    assert boxes(probability, 0.3, 0.5, 1.6).shape == (0, 4)
