from __future__ import annotations

import math

import numpy as np
import pytest
from deepseek.quantization.search.budget import Budget, Score
from deepseek.quantization.search.fidelity import Fidelity, fidelity
from hypothesis import given
from hypothesis import strategies as st

from deepseek_core.errors import ConfigError


def scored(noise: float = 0.001, agreement: float = 0.9, value: float | None = None) -> Score:
    return Score(Fidelity(noise, (noise,), agreement), value)


@pytest.mark.parametrize(
    ("budget", "score", "words"),
    [
        (Budget(min_sqnr=30), scored(0.001), None),
        (Budget(min_sqnr=30.1), scored(0.001), "30.00 dB"),
        (Budget(min_agreement=0.9), scored(), None),
        (Budget(min_agreement=0.95), scored(), "90.00%"),
        (Budget(max_drop=0.02), scored(value=0.88), None),
        (Budget(max_drop=0.01), scored(value=0.88), "drops by 0.02"),
        (Budget(max_drop=0.01), scored(value=math.nan), "nan"),
        (Budget(max_drop=0.01), scored(), "not asked"),
        (Budget(), scored(math.inf, 0.0), None),
    ],
)
def test_a_shortfall_is_stated_in_words(budget: Budget, score: Score, words: str | None) -> None:
    found = budget.shortfall(score, 0.9)
    assert found is None if words is None else words in (found or "")


def test_every_missed_limit_is_named() -> None:
    missed = Budget(0.01, 40.0, 0.99).shortfall(scored(value=0.5), 0.9)
    assert missed is not None
    assert all(word in missed for word in ("evaluate", "SQNR", "agreement"))


@pytest.mark.parametrize("limits", [{"max_drop": -0.1}, {"min_sqnr": math.nan}, {"min_agreement": 1.5}])
def test_a_limit_that_means_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Budget(**limits)


@given(st.floats(0.01, 10), st.integers(1, 5))
def test_noise_is_relative_to_the_signal(scale: float, count: int) -> None:
    rng = np.random.default_rng(count)
    wanted = [{"y": (scale * rng.standard_normal((2, 8))).astype(np.float32)} for _ in range(count)]
    got = [{"y": sample["y"] * np.float32(1.1)} for sample in wanted]
    found = fidelity(zip(wanted, got, strict=True), ["y"])
    assert found.noise == pytest.approx(0.01, rel=1e-4)
    assert found.samples == pytest.approx([0.01] * count, rel=1e-4)
    assert found.agreement == 1.0


def test_outputs_of_another_shape_or_without_meaning_are_infinitely_noisy() -> None:
    wanted = {"y": np.ones((1, 3), np.float32)}
    for got in (np.ones((1, 4), np.float32), np.full((1, 3), np.nan, np.float32)):
        assert fidelity([(wanted, {"y": got})], ["y"]).noise == math.inf


def test_agreement_counts_positions() -> None:
    wanted = {"y": np.eye(4, dtype=np.float32)}
    got = {"y": np.roll(np.eye(4, dtype=np.float32), 1, axis=0)}
    got["y"][0] = wanted["y"][0]
    assert fidelity([(wanted, got)], ["y"]).agreement == 0.25
