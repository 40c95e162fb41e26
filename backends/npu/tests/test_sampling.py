"""Claims against the compiler and the emulator against Arm's model, on random units of every declared op."""

import pytest

from deepseek_backend_npu.verification.checking import check
from deepseek_backend_npu.verification.sampling import OPS, sample
from deepseek_backend_npu.versions import reference_version
from deepseek_core import Target

pytestmark = pytest.mark.skipif(reference_version() is None, reason="Arm's TOSA model is not installed")
TARGETS = [Target("npu", name) for name in ("ethos-u55-128", "ethos-u85-512")]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_claims_agree_with_the_compiler(op, target) -> None:
    drawn = [found for seed in range(24 if op == "Conv" else 6) if (found := sample(op, seed)) is not None]
    assert drawn
    for unit in drawn:
        verdict = check(unit, target)
        assert verdict.agrees, f"{op}{unit.text}: {verdict}"


def test_samples_are_the_same_for_the_same_seed() -> None:
    one, other = sample("Conv", 5), sample("Conv", 5)
    assert one is not None
    assert other is not None
    assert one.text == other.text
    assert one.model.digest() == other.model.digest()


def test_samples_reach_both_sides_of_the_limits() -> None:
    drawn = [found for seed in range(12) if (found := sample("AveragePool", seed)) is not None]
    assert {check(unit, TARGETS[0]).claimed for unit in drawn} == {True, False}
