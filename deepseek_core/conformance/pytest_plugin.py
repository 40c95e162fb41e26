"""pytest plugin: makes every case of a `ConformanceSuite` an item, and prints the verdict at the end.

It is loaded into every pytest run of every project that has the core installed, so it imports nothing of the kit
until a suite is collected.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

__all__: list[str] = []

_OPTION = "--deepseek-report"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("deepseek", "conformance of DeepSeek backends")
    group.addoption(_OPTION, metavar="DIR", help="write an HTML page and JUnit XML for each conformance suite to DIR")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Gatherer(config.getoption(_OPTION)), "deepseek-gatherer")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for each case, with the case's id."""
    if getattr(metafunc.cls, "deepseek_conformance", False) and "conformance_case" in metafunc.fixturenames:
        from deepseek_core.conformance.pytest_suite import parametrize

        parametrize(metafunc)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand the kit's own result on with pytest's report, which crosses process borders (pytest-xdist)."""
    report = yield
    outcome = item.__dict__.get("deepseek_outcome")
    if outcome is not None and call.when == "call":
        report.__dict__["deepseek_outcome"] = outcome
    return report


class _Gatherer:
    """Collects outcomes where pytest's reports arrive, and sums them up."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        self.outcomes: dict[str, list[dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = report.__dict__.get("deepseek_outcome")
        if outcome is not None:
            self.outcomes.setdefault(outcome["suite"], []).append(outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes:
            return
        from deepseek_core.conformance.pytest_suite import summed_up, write_reports

        terminalreporter.section("conformance")
        reports = {suite: summed_up(outcomes) for suite, outcomes in self.outcomes.items()}
        for report in reports.values():
            terminalreporter.write_line(report.verdict, green=report.conforms, red=not report.conforms)
        if self.folder is not None:
            for path in write_reports(reports, self.folder):
                terminalreporter.write_line(f"wrote {path}")
