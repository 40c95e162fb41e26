"""Conformance kit: does a backend do what its capability table and expectations declare?

`run` asks a backend every question and gives a `Report`. `ConformanceSuite` makes each of them a pytest item, in
three lines of a vendor's own tests:

    from deepseek_core.conformance import ConformanceSuite

    class TestConformance(ConformanceSuite):
        target = "echo:v1"

Names load on first use: the pytest plugin lives in this package, and projects that do not use it pay nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek_core.conformance.case import Case, Result, Status
    from deepseek_core.conformance.html import write_html
    from deepseek_core.conformance.junit import write_junit
    from deepseek_core.conformance.pytest_suite import ConformanceSuite
    from deepseek_core.conformance.report import Report
    from deepseek_core.conformance.suite import cases, run
    from deepseek_core.conformance.terminal import render

__all__ = [
    "Case",
    "ConformanceSuite",
    "Report",
    "Result",
    "Status",
    "cases",
    "render",
    "run",
    "write_html",
    "write_junit",
]

_HOME = {
    "Case": "case",
    "ConformanceSuite": "pytest_suite",
    "Report": "report",
    "Result": "case",
    "Status": "case",
    "cases": "suite",
    "render": "terminal",
    "run": "suite",
    "write_html": "html",
    "write_junit": "junit",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'deepseek_core.conformance' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"deepseek_core.conformance.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
