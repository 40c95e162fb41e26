"""Reports: verdict, JUnit XML, HTML page, terminal summary."""

from __future__ import annotations

import json
import re
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from deepseek_core.conformance import Report, Result, Status, render, write_html, write_junit
from deepseek_core.conformance.case import REFUSED
from deepseek_core.conformance.report import worst

HOSTILE = "<script>alert('x')</script> & \x1b[31m \x00 ]]>"


def test_the_verdict_is_one_line(report_of, result):
    report = report_of(
        *[result(Status.PASSED)] * 412, *[result(Status.EXPECTED_FAILURE)] * 3, *[result(Status.SKIPPED)] * 12
    )
    assert report.conforms
    assert report.verdict == (
        "deepseek-backend-npu 1.2.0 on npu:v1 (emulated): CONFORMS — 412 passed, 3 expected failures, 12 skipped"
    )


@pytest.mark.parametrize("status", [Status.FAILED, Status.UNEXPECTED_PASS])
def test_one_bad_case_is_enough(report_of, result, status):
    report = report_of(result(Status.PASSED), result(status))
    assert not report.conforms
    assert "DOES NOT CONFORM — 1 passed, 1 " in report.verdict


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.EXPECTED_FAILURE])
def test_nothing_passed_is_no_conformance(report_of, result, status):
    assert not report_of().conforms
    assert not report_of(result(status)).conforms


def test_a_group_has_the_colour_of_its_worst_case():
    assert worst([Status.PASSED, Status.SKIPPED]) is Status.PASSED
    assert worst([Status.PASSED, Status.FAILED, Status.EXPECTED_FAILURE]) is Status.FAILED
    assert worst([Status.SKIPPED]) is Status.SKIPPED


def test_refusals_are_counted_apart(report_of, result):
    report = report_of(result(Status.PASSED), result(Status.PASSED, message=f"{REFUSED}: no rule"))
    assert report.refused == 1
    assert "1 of the passed: refused, as the table declares" in _printed(report)


def test_results_survive_json(report_of, result):
    report = report_of(result(Status.FAILED, message="off by one", details="index", seconds=0.25))
    data = json.loads(json.dumps(report.to_json()))
    assert data["counts"] == {"failed": 1}
    assert tuple(Result.from_json(entry) for entry in data["results"]) == report.results


def test_junit_counts_and_escapes(report_of, result, tmp_path):
    report = report_of(
        result(Status.PASSED),
        result(Status.FAILED, message=HOSTILE, details=HOSTILE),
        result(Status.SKIPPED, message="no device"),
        result(Status.EXPECTED_FAILURE, message="known"),
    )
    write_junit(report, tmp_path / "report.xml")
    root = ET.parse(tmp_path / "report.xml").getroot()
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "2")
    cases = suite.findall("testcase")
    assert [len(case) for case in cases] == [0, 1, 1, 1]
    assert {case.get("classname") for case in cases} == {"numerics.Conv.uint8-int8pc-uint8"}
    assert "<script>" in cases[1][0].get("message")
    assert cases[2][0].get("message") == "no device"


def test_the_page_needs_no_network_and_no_script(report_of, result, tmp_path):
    report = report_of(
        result(Status.PASSED),
        result(Status.PASSED, "contract/run/threads"),
        result(Status.FAILED, "numerics/Add/uint8-uint8/mixed", message=HOSTILE, details=HOSTILE),
        result(Status.SKIPPED, message="no device"),
    )
    write_html(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"<script|https?:|url\(|@import|src=", page)
    assert "&lt;script&gt;" in page
    assert "no device" in page
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page


def test_the_terminal_shows_failures_skips_and_verdict(report_of, result):
    details = "\n".join(["index expected actual", *(f"[{i}] 1 2" for i in range(50))])
    failures = [result(Status.FAILED, message=f"wrong {i}", details=details) for i in range(30)]
    text = _printed(report_of(result(Status.PASSED), *failures, result(Status.SKIPPED, message="[bold]no[/] device")))
    assert "wrong 0" in text
    assert "… and 18 more failures" in text
    assert "[bold]no[/] device" in text
    assert "30 failed, 1 skipped" in text.splitlines()[-1]
    assert "[49]" not in text


def _printed(report: Report) -> str:
    console = Console(file=StringIO(), width=160)
    render(report, console)
    return console.file.getvalue().rstrip()
