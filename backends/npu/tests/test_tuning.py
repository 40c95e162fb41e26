"""The search over options: what is tried, what is chosen, and that it ends."""

import pytest

from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.tuning import best, explore
from deepseek_backend_npu.vela import Compiled, Estimate
from deepseek_core.errors import BackendError

FREE = Settings.read({}, DEVICES["ethos-u55-128"])


def compiled(cycles: int, sram: int) -> Compiled:
    return Compiled(b"", b"", 0, 0, (), (), Estimate(cycles, cycles, 0.0, 0, {}, {"Sram": sram}))


def explored(by_limit, settings=FREE):
    """A compiler that uses `by_limit(bytes)`, or 1,000 bytes and cycles where nothing is limited."""

    def compile_with(candidate: Settings) -> Compiled:
        return by_limit(candidate.sram) if candidate.sram else compiled(1000, 1000)

    return explore(compile_with, settings, lambda *_: None)


def test_the_limit_goes_down_to_below_what_was_used() -> None:
    found = explored(lambda limit: compiled(1000, limit - limit % 100))
    limits = [settings.sram for _, settings in found if settings.sram]
    assert limits[:3] == [984, 884, 784]
    assert limits == sorted(limits, reverse=True)


def test_the_search_ends_where_less_memory_costs_much_or_cannot_be_had() -> None:
    assert len([s for _, s in explored(lambda limit: compiled(2000, limit)) if s.sram]) == 1
    assert len([s for _, s in explored(lambda _: compiled(1000, 1000)) if s.sram]) == 1


def test_a_limit_that_does_not_compile_is_left_out() -> None:
    def refuses(limit: int) -> Compiled:
        raise BackendError("too small", fix="none")

    assert all(settings.sram == 0 for _, settings in explored(refuses))


def test_nothing_that_compiles_is_the_first_refusal() -> None:
    def refuses(candidate: Settings) -> Compiled:
        raise BackendError(candidate.optimize, fix="none")

    with pytest.raises(BackendError, match="performance"):
        explore(refuses, FREE, lambda *_: None)


def test_the_choice_is_never_worse_than_the_defaults_in_cycles_or_memory() -> None:
    attempts = [(compiled(*figures), FREE) for figures in ((100, 100), (90, 101), (101, 50), (99, 99), (99, 98))]
    assert best(attempts) is attempts[4]
    assert best(attempts[:3]) is attempts[0]
