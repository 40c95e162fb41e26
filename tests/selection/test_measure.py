from __future__ import annotations

import itertools

import pytest

from deepseek_core.selection import measure


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the runners move, so that the test is about arithmetic and not about this machine."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.thread_time", lambda: now[0] / 2)

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_the_median_is_taken(clock) -> None:
    slow = itertools.cycle([1e-3, 1e-3, 1e-3, 1e-3, 50e-3])
    found = measure({"a": lambda: clock(next(slow)), "b": lambda: clock(2e-3)}, rounds=10, budget=10.0)
    assert found == pytest.approx({"a": 1e-3, "b": 2e-3})


def test_a_fast_runner_is_called_often_enough_for_a_sample(clock) -> None:
    calls = []
    measure({"a": lambda: (calls.append(1), clock(2.0**-20))}, rounds=3, sample=2.0**-13)
    assert len(calls) == 2 + 3 * 128


def test_samples_are_taken_in_turn_from_both_ends(clock) -> None:
    order = []
    measure({n: (lambda n=n: (order.append(n), clock(1.0))) for n in "ab"}, rounds=4, budget=100.0)
    assert "".join(order[4:]) == "abbaabba"


def test_another_quantile_may_be_asked_for(clock) -> None:
    times = iter([9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert measure({"a": lambda: clock(next(times))}, rounds=5, budget=100.0, quantile=0.25) == {"a": 2.0}


def test_one_thread_is_timed_by_its_own_clock(clock) -> None:
    assert measure({"a": lambda: clock(1.0)}, rounds=3, threads=1) == {"a": 0.5}


def test_the_budget_ends_it_after_three_rounds(clock) -> None:
    calls = []
    measure({"a": lambda: (calls.append(1), clock(1.0))}, rounds=1000, budget=5.0)
    assert len(calls) - 2 in (5, 6)
    calls.clear()
    measure({"a": lambda: (calls.append(1), clock(1.0))}, rounds=1000, budget=0.0)
    assert len(calls) - 2 == 3
