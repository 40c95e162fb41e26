from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core.errors import BackendError
from deepseek_core.selection import Border, assign

LABELS = ("int8", "float32")


def total(labels, costs, borders) -> float:
    own = sum(costs[unit][label] for unit, label in labels.items())
    return own + sum(b.cost for b in borders if labels[b.first] != labels[b.second])


def best_of_all(costs, borders) -> float:
    names = list(costs)
    choices = itertools.product(*(costs[name] for name in names))
    return min(total(dict(zip(names, chosen, strict=True)), costs, borders) for chosen in choices)


cost = st.integers(0, 50).map(float)


@st.composite
def problems(draw):
    names = [f"u{i}" for i in range(draw(st.integers(1, 7)))]
    costs = {}
    for name in names:
        both = {"int8": draw(cost), "float32": draw(cost)}
        kept = draw(st.sampled_from([LABELS, LABELS, LABELS, ("int8",), ("float32",)]))
        costs[name] = {label: both[label] for label in kept}
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names), cost)
    borders = [Border(a, b, c) for a, b, c in draw(st.lists(pairs, max_size=12)) if a != b]
    return costs, borders


@given(problems())
def test_no_labelling_is_cheaper(problem) -> None:
    costs, borders = problem
    labels = assign(costs, borders, LABELS)
    assert list(labels) == list(costs)
    assert all(label in costs[unit] for unit, label in labels.items())
    assert total(labels, costs, borders) == best_of_all(costs, borders)


def test_a_border_keeps_neighbours_together() -> None:
    costs = {"a": {"int8": 1.0, "float32": 3.0}, "b": {"int8": 3.0, "float32": 2.0}}
    assert assign(costs, [], LABELS) == {"a": "int8", "b": "float32"}
    assert assign(costs, [Border("a", "b", 1.5)], LABELS) == {"a": "int8", "b": "int8"}


def test_the_first_label_wins_a_tie() -> None:
    costs = {"a": {"int8": 1.0, "float32": 1.0}, "b": {"int8": 0.0, "float32": 0.0}}
    assert assign(costs, [Border("a", "b", 1.0)], LABELS) == {"a": "int8", "b": "int8"}
    assert assign(costs, [], ("float32", "int8")) == {"a": "float32", "b": "float32"}


def test_a_missing_label_is_never_chosen() -> None:
    costs = {"a": {"float32": 9.0}, "b": {"int8": 0.0, "float32": 5.0}}
    assert assign(costs, [Border("a", "b", 4.0)], LABELS) == {"a": "float32", "b": "int8"}
    assert assign(costs, [Border("a", "b", 6.0)], LABELS) == {"a": "float32", "b": "float32"}


def test_units_named_like_the_terminals_are_no_problem() -> None:
    costs = {"source": {"int8": 2.0, "float32": 1.0}, "sink": {"int8": 1.0, "float32": 2.0}}
    assert assign(costs, [], LABELS) == {"source": "float32", "sink": "int8"}


def test_a_long_chain_is_solved() -> None:
    costs = {f"u{i}": {"int8": float(i % 3), "float32": 1.0} for i in range(2000)}
    borders = [Border(f"u{i}", f"u{i + 1}", 0.25) for i in range(1999)]
    labels = assign(costs, borders, LABELS)
    every = {label: total(dict.fromkeys(costs, label), costs, borders) for label in LABELS}
    assert total(labels, costs, borders) < min(every.values())


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_impossible_costs_are_refused(wrong) -> None:
    with pytest.raises(BackendError, match="cost of 'a'"):
        assign({"a": {"int8": wrong}}, [], LABELS)
    with pytest.raises(BackendError, match="a → b"):
        assign({"a": {"int8": 1.0}, "b": {"int8": 1.0}}, [Border("a", "b", wrong)], LABELS)


def test_a_unit_without_any_label_is_refused() -> None:
    with pytest.raises(BackendError, match="'a' has no kernel"):
        assign({"a": {"int4": 1.0}}, [], LABELS)
