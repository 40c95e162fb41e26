"""How a run is put together: patterns, known failures, absent devices, broken declarations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepseek_core import Availability, Backend, Expectations, Missing, Target, Tolerance, hookimpl
from deepseek_core.conformance import Status, run
from deepseek_core.expectations import KnownFailure

from .mutants import MUTANTS, Faithful
from .mutants.base import TARGET

TIES = "numerics/Gemm/uint8-int8pc-uint8/rounding_ties"


class Absent(Faithful):
    """Compiles here, but its device is not plugged in; loading says so."""

    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        missing = (Missing("an accelerator", "plug one in"),)
        return replace(super().deepseek_probe(target), can_run=False, missing=missing)

    @hookimpl
    def deepseek_load(self, artifact, device):
        from deepseek_core.errors import BackendError

        raise BackendError("no accelerator", fix="plug one in")


class WithoutToolchain(Absent):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return replace(super().deepseek_probe(target), can_compile=False)


def expecting(*known: KnownFailure, name: str = "HalfUpRounding") -> Backend:
    """A mutant that knows its failures."""
    backend = next(mutant for mutant in MUTANTS if mutant.name == name).build()

    class Declared:
        @hookimpl
        def deepseek_expectations(self, target: Target) -> Expectations:
            return Expectations(known_failures=known)

    backend.extend(Declared())
    return backend


def test_a_pattern_chooses_cases(faithful):
    report = run(faithful, TARGET, "numerics/Gemm/*/trans_*")
    assert [result.id for result in report.results] == [
        "numerics/Gemm/uint8-int8pc-uint8/trans_b",
        "numerics/Gemm/uint8-int8pc-uint8/trans_a",
        "numerics/Gemm/float32-int4-float32+float32_bias/trans_b",
        "numerics/Gemm/float32-int4-float32+float32_bias/trans_a",
    ]
    assert report.conforms
    assert (report.tier, report.device) == ("reference", "numpy")


def test_progress_hears_every_case(faithful):
    heard: list[tuple[str, float]] = []
    report = run(faithful, TARGET, "contract/run/*", lambda what, fraction: heard.append((what, fraction)))
    assert [what for what, _ in heard] == [result.id for result in report.results]
    fractions = [fraction for _, fraction in heard]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] < 1


def test_a_known_failure_is_expected():
    report = run(expecting(KnownFailure("*/rounding_ties", "rounds up")), TARGET, TIES)
    assert [r.status for r in report.results] == [Status.EXPECTED_FAILURE]
    assert "rounds up" in report.results[0].message
    assert "differ" in report.results[0].message
    assert not report.bad


def test_a_known_failure_that_passes_is_an_error():
    known = KnownFailure("numerics/Gemm/*", "all of Gemm is wrong")
    report = run(expecting(known), TARGET, "numerics/Gemm/uint8-int8pc-uint8/trans_b")
    assert [r.status for r in report.results] == [Status.UNEXPECTED_PASS]
    assert "remove the declaration" in report.results[0].message


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (KnownFailure("numerics/Conf/*", "a typing error"), "matches no case"),
        (KnownFailure("*/rounding_ties", " "), "has no reason"),
    ],
)
def test_a_stale_or_silent_declaration_is_an_error(known, message):
    report = run(expecting(known), TARGET, "contract/backend/info")
    assert message in report.results[0].message
    assert not report.conforms


def test_where_the_device_is_absent_the_rest_is_still_asked():
    report = run(Backend(Absent(), "absent"), TARGET)
    assert report.bad == ()
    assert report.tier == ""
    by_id = {result.id: result for result in report.results}
    skipped = by_id["numerics/Conv/uint8-int8pc-uint8/mixed"]
    assert skipped.status is Status.SKIPPED
    assert skipped.message == "reference:numpy cannot run here: an accelerator (plug one in)"
    for still in ("claims/convex", "compile/deterministic", "device/absent_device_refused", "backend/cost"):
        assert by_id[f"contract/{still}"].status is Status.PASSED
    assert report.counts[Status.SKIPPED] > report.counts[Status.PASSED] >= 15


def test_where_the_toolchain_is_absent_too_only_words_are_judged():
    report = run(Backend(WithoutToolchain(), "absent"), TARGET)
    assert report.bad == ()
    assert any("cannot compile here" in reason for reason in report.skips())


def test_without_the_device_wrong_claims_are_still_caught():
    class Wrong(Absent):
        @hookimpl
        def deepseek_claim(self, model, target, refuse):
            for unit in model.units():
                refuse(unit, "no")
            return []

    report = run(Backend(Wrong(), "absent"), TARGET, "numerics/Conv/*/mixed")
    assert {r.status for r in report.results} == {Status.FAILED}


def test_a_table_that_cannot_be_read_is_a_failed_case():
    class Broken(Faithful):
        @hookimpl
        def deepseek_capabilities(self, target):
            raise KeyError("sm_90")

    report = run(Backend(Broken(), "broken"), TARGET)
    (result,) = report.results
    assert result.status is Status.FAILED
    assert "KeyError" in result.message
    assert "Traceback" in result.details


def test_a_tolerance_that_nobody_needs_is_noted():
    class Loose(Faithful):
        @hookimpl
        def deepseek_expectations(self, target):
            return Expectations(by_op={"Softmax": Tolerance(lsb=2)})

    report = run(Backend(Loose(), "loose"), TARGET)
    assert report.conforms
    assert report.notes == ("Softmax is declared to differ by up to 2 LSB; no case differs by more than 0",)
