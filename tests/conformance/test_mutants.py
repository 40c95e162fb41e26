"""The kit catches every deliberately wrong backend, and nothing in the backend they are made of."""

from __future__ import annotations

import pytest

from deepseek_core import Backend
from deepseek_core.conformance import Result, Status, run

from .mutants import MUTANTS, Faithful, Mutant
from .mutants.base import TARGET


def test_the_unmutated_backend_conforms():
    report = run(Backend(Faithful(), "faithful"), TARGET)
    assert [f"{result.id}: {result.message}" for result in report.bad] == []
    assert report.counts[Status.PASSED] > 400


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_is_caught(mutant: Mutant, record_property):
    report = run(mutant.build(), TARGET, mutant.pattern, fail_fast=True)
    record_property("caught_by", ", ".join(result.id for result in report.bad))
    assert report.bad, f"no case of {mutant.pattern} catches it"
    assert not report.conforms
    if mutant.is_numeric:
        assert_numbers_give_it_away(report.bad[0])


def assert_numbers_give_it_away(result: Result):
    """A mutant of the numerics must not be caught only because it happens to crash."""
    assert " differ " in result.message or " has shape " in result.message, result


def test_mutants_have_names_of_their_own():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 40
