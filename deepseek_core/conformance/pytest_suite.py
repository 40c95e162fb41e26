"""`ConformanceSuite`: the kit as test items of a vendor's own test module."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deepseek_core.conformance.case import Case, Failed, Result, Status
from deepseek_core.conformance.context import Context
from deepseek_core.conformance.html import write_html
from deepseek_core.conformance.junit import write_junit
from deepseek_core.conformance.report import Report
from deepseek_core.conformance.suite import describe, known_failure, run_case, selected, stale_results
from deepseek_core.errors import DeepseekError
from deepseek_core.registry import Backend, discover
from deepseek_core.target import Target

__all__ = ["ConformanceSuite", "parametrize", "summed_up", "write_reports"]


class ConformanceSuite:
    """Every conformance case of one target as a test item.

        from deepseek_core.conformance import ConformanceSuite

        class TestConformance(ConformanceSuite):
            target = "echo:v1"

    Declared known failures are strict: they show as xfailed, and passing is an error. What cannot run here is
    skipped with the reason.

    Class attributes:
        target: what to test, as on the command line; `echo` alone takes the backend's default target.
        backend: a `Backend`, or a plugin module or object; None finds the installed backend.
        pattern: `fnmatch` pattern over case ids.
    """

    target: ClassVar[str] = ""
    backend: ClassVar[object | None] = None
    pattern: ClassVar[str] = "*"
    deepseek_conformance: ClassVar[bool] = True

    def test_case(self, conformance_case: Case, request: pytest.FixtureRequest) -> None:
        """Run one case and hand its result to pytest."""
        context = _context(type(self))
        result = run_case(conformance_case, context, known_failure(context.expectations, conformance_case))
        outcome = {"suite": request.cls.__name__, "head": describe(context), "result": result.to_json()}
        request.node.deepseek_outcome = outcome
        match result.status:
            case Status.SKIPPED:
                pytest.skip(result.message)
            case Status.EXPECTED_FAILURE:
                pytest.xfail(result.message)
            case Status.FAILED | Status.UNEXPECTED_PASS:
                pytest.fail("\n".join(filter(None, (result.message, result.details))), pytrace=False)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give `test_case` one parameter for each case of its class."""
    suite = metafunc.cls
    assert suite is not None
    try:
        context = _context(suite)
        chosen = selected(context, suite.pattern)
        stale = [_failing(result) for result in stale_results(context.expectations, selected(context, "*"))]
    except DeepseekError as error:
        pytest.fail(str(error), pytrace=False)
    every = [*stale, *chosen]
    metafunc.parametrize("conformance_case", every, ids=[case.id for case in every])


def summed_up(outcomes: Sequence[Mapping[str, Any]]) -> Report:
    """A report of what the items of one suite found."""
    results = tuple(Result.from_json(outcome["result"]) for outcome in outcomes)
    heads = [outcome["head"] for outcome in outcomes]
    tiers, devices = (dict.fromkeys(h[key] for h in heads if h[key]) for key in ("tier", "device"))
    head = {**heads[-1], "tier": max(tiers, key=len, default=""), "device": max(devices, key=len, default="")}
    return Report(**head, results=results, seconds=sum(result.seconds for result in results))


def write_reports(reports: Mapping[str, Report], folder: str | Path) -> list[Path]:
    """Write `<suite>.html` and `<suite>.xml` for each suite; the folder is created."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    written = []
    for suite, report in reports.items():
        stem = Path(folder) / re.sub(r"[^\w.-]", "_", suite)
        write_html(report, stem.with_suffix(".html"))
        write_junit(report, stem.with_suffix(".xml"))
        written += [stem.with_suffix(".html"), stem.with_suffix(".xml")]
    return written


def _context(suite: type[ConformanceSuite]) -> Context:
    """The backend and target of a suite, asked for once.

    Raises:
        DeepseekError: the target is unknown, or the plugin breaks the contract.
    """
    return _resolved(suite.target, suite.backend)


@cache
def _resolved(target: str, plugin: object | None) -> Context:
    if plugin is None:
        return Context(*discover().resolve(target))
    backend = plugin if isinstance(plugin, Backend) else Backend(plugin)
    return Context(backend, Target.parse(target) if ":" in target else backend.targets[0])


def _failing(result: Result) -> Case:
    def check(context: Context) -> str | None:
        raise Failed(result.message)

    return Case(result.id, result.probes, check)
