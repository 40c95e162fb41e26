"""The reference conforms to itself: every case can be posed, claimed, compiled, stored and run."""

from __future__ import annotations

from deepseek_core import discover
from deepseek_core.conformance import Status, run


def test_the_reference_conforms():
    report = run(*discover().resolve("reference"))
    assert [f"{result.id}: {result.message}" for result in report.bad] == []
    assert report.counts[Status.PASSED] > 5000
    # Almost everything must run rather than be refused, or the cases would prove little.
    assert report.refused < report.counts[Status.PASSED] / 50
    assert "has no cases for" not in " ".join(report.skips())
