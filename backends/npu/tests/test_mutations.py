"""Programs with one thing wrong: the emulator notices each, but for those that are proven to be the same program."""

from dataclasses import replace

import numpy as np
import pytest

from deepseek_backend_npu.verification.equivalence import equivalent
from deepseek_backend_npu.verification.mutation import KINDS, Judge, Mutation, mutations

_MOST = 60
"""Mutations of a kind that are judged."""


@pytest.fixture(scope="module")
def judge(program):
    return Judge(program)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutation_is_noticed_or_proven_to_be_none(kind, program, judge) -> None:
    chosen = [m for m, _ in zip(mutations(program, kind, np.random.default_rng(0)), range(_MOST), strict=False)]
    found = [judge.judge(mutation) for mutation in chosen]
    assert found
    missed = [mutation.place for mutation, judgement in zip(chosen, found, strict=True) if judgement.missed]
    assert not missed
    assert sum(judgement.how is not None for judgement in found) >= 0.85 * len(found), "proofs are the exception"


@pytest.mark.parametrize("kind", ["dropped wait", "block dependency"])
def test_waits_and_dependencies_show_as_hazards(kind, program, judge) -> None:
    judged = [judge.judge(mutation) for mutation in mutations(program, kind, np.random.default_rng(0))]
    assert any(judgement.how for judgement in judged)
    assert all(judgement.how is None or judgement.how.startswith("hazard: ") for judgement in judged)


def test_an_unmutated_program_is_proven_to_be_the_same(program, judge) -> None:
    judgement = judge.judge(Mutation("none", "", program))
    assert judgement.how is None
    assert judgement.equivalent


def test_programs_that_differ_are_never_proven_to_be_the_same(program, judge) -> None:
    """Whatever shows in results must not have a proof that it cannot."""
    for kind in KINDS:
        for mutation, _ in zip(mutations(program, kind, np.random.default_rng(1)), range(15), strict=False):
            if judge.judge(mutation).how == "results":
                assert equivalent(program, mutation.container) is None, f"{kind}: {mutation.place}"


def test_a_proof_needs_all_of_the_constants(program) -> None:
    changed = bytes(byte ^ 1 for byte in program.constants[:64]) + program.constants[64:]
    both = replace(program, constants=changed, payload=program.payload[:-8] + program.payload[-4:] * 2)
    assert equivalent(program, both) is None
