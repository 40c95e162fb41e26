from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantization.metrics import (
    auc,
    edit_distance,
    f1,
    intersection_over_union,
    nearest,
    pearson,
    ranks,
    spearman,
    sqnr,
)
from quantization.networks.base import Metric

WORDS = st.text("abc", max_size=8)
VALUES = st.lists(st.integers(-5, 5), min_size=2, max_size=30)


def test_sqnr_of_a_tenth_of_noise_is_twenty_decibels() -> None:
    exact = [np.array([3.0, 4.0]), np.array([0.0, 5.0])]
    assert sqnr(exact, [1.1 * a for a in exact]) == pytest.approx(20)
    assert sqnr(exact, exact) == float("inf")


def test_sqnr_refuses_another_shape_instead_of_broadcasting() -> None:
    with pytest.raises(ValueError, match="output shape"):
        sqnr([np.ones((2, 3))], [np.ones((1, 3))])


@given(VALUES)
def test_ranks_share_ties_and_keep_their_sum(values: list[int]) -> None:
    found = ranks(np.array(values))
    assert found.sum() == pytest.approx(len(values) * (len(values) - 1) / 2)
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (a < b) == (found[i] < found[j])


def test_spearman_sees_order_only() -> None:
    x = np.arange(6.0)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert pearson(x, np.exp(x)) < 0.9


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_auc_counts_pairs(scored: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([s for s, _ in scored]), np.array([label for _, label in scored])
    if labels.all() or not labels.any():
        return
    pairs = [float(a > b) + 0.5 * float(a == b) for a in scores[labels] for b in scores[~labels]]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))


@given(WORDS, WORDS, WORDS)
def test_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert edit_distance(a, a) == 0
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


def test_edit_distance_of_a_known_pair() -> None:
    assert edit_distance("kitten", "sitting") == 3


def test_nearest_leaves_the_row_itself_out() -> None:
    assert nearest(np.array([[1.0, 0], [0.9, 0.1], [0, 1]])).tolist() == [1, 0, 1]


def test_intersection_over_union() -> None:
    a = np.array([[0, 0, 2, 2]], float)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]], float)
    assert intersection_over_union(a, b).tolist() == [[1, pytest.approx(1 / 3), 0]]


def test_f1() -> None:
    assert f1(2, 4, 2) == pytest.approx(2 / 3)
    assert f1(0, 0, 0) == 1


def test_loss_is_relative_and_knows_the_direction() -> None:
    assert Metric("top-1").loss(80, 76) == pytest.approx(5)
    assert Metric("perplexity", higher=False).loss(20, 21) == pytest.approx(5)
