"""Machine code with one thing wrong is noticed; what is the same program is told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from deepseek_backend_rocm.emulator.arrays import Array
from deepseek_backend_rocm.program import Image
from deepseek_backend_rocm.verification.mutation import KINDS, Judge, mutations


def feeds(seed: int) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (4, 25)).astype(np.int32)}


@pytest.fixture(scope="module")
def judge(adder: Image) -> Judge:
    return Judge(adder, "gfx942", feeds)


def test_what_is_executed(judge: Judge, adder: Image) -> None:
    (reached,) = judge.executed().values()
    assert reached == set(range(17))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dropped barrier", "lane layout")])
def test_mutations(judge: Judge, adder: Image, kind: str) -> None:
    """All of them, in a kernel where nearly everything matters."""
    executed = judge.executed()
    found = list(itertools.islice(mutations(adder, kind, executed, np.random.default_rng(0)), 12))
    judged = [(mutation, judge.judge(mutation)) for mutation in found]
    assert found
    assert not [f"{mutation.before} -> {mutation.after}" for mutation, judgement in judged if judgement.missed]
    assert any(judgement.how for _, judgement in judged)


def test_waits_are_missed_by_name(judge: Judge, adder: Image) -> None:
    waits = list(mutations(adder, "dropped wait", judge.executed(), np.random.default_rng(0)))
    assert {mutation.after for mutation in waits} == {"s_nop 0"}
    assert all("without a wait for the load" in str(judge.judge(mutation).how) for mutation in waits)
