"""Programs with one thing wrong: the emulator notices, but for changes that change nothing."""

import numpy as np
import pytest

from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.mutation import KINDS, detected, mutations

SHARE = {"dropped operation": 1.0, "dropped wait": 1.0, "block dependency": 0.85, "weight bit": 0.85, "scale bit": 0.7}
"""Least share that is noticed; the first operation has none to wait for, some bits are fillers or low digits."""


@pytest.mark.parametrize("kind", SHARE)
def test_mutations_are_noticed(kind, program, network, random_feeds) -> None:
    feeds = [random_feeds(network, seed) for seed in (0, 1)]
    expected = [NpuExecutable(program).run(feed) for feed in feeds]
    found = [detected(mutation, feeds, expected) for mutation in mutations(program, kind, np.random.default_rng(0))]
    assert found
    assert sum(how is not None for how in found) >= SHARE[kind] * len(found)


def test_every_register_matters_or_the_program_is_refused_cleanly(program, network, random_feeds) -> None:
    feeds = [random_feeds(network)]
    expected = [NpuExecutable(program).run(feeds[0])]
    chosen = [m for m, _ in zip(mutations(program, "register", np.random.default_rng(0)), range(40), strict=False)]
    found = [detected(mutation, feeds, expected) for mutation in chosen]
    assert sum(how is not None for how in found) >= 0.85 * len(found)


def test_waits_and_dependencies_show_as_hazards(program, network, random_feeds) -> None:
    feeds = [random_feeds(network)]
    expected = [NpuExecutable(program).run(feeds[0])]
    for kind in ("dropped wait", "block dependency"):
        hows = {detected(m, feeds, expected) for m in mutations(program, kind, np.random.default_rng(0))}
        assert all(how is None or how.startswith("hazard: ") for how in hows)


def test_an_unmutated_program_is_not_detected(program, network, random_feeds) -> None:
    feeds = [random_feeds(network)]
    expected = [NpuExecutable(program).run(feeds[0])]
    (first, *_) = mutations(program, "dropped wait", np.random.default_rng(0))
    same = type(first)("none", "", program)
    assert detected(same, feeds, expected) is None
    assert set(KINDS) >= set(SHARE)
