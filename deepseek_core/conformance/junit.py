"""The report as JUnit XML, the form that CI systems read."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from deepseek_core.atomic import atomic_write
from deepseek_core.conformance.case import Result, Status
from deepseek_core.conformance.report import Report

__all__ = ["junit", "write_junit"]

_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def write_junit(report: Report, path: str | Path) -> None:
    """Write the XML file, atomically.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(junit(report))


def junit(report: Report) -> bytes:
    """The XML document, UTF-8. Expected failures are skips with their reason, as pytest writes them."""
    counts = report.counts
    bad = counts.get(Status.FAILED, 0) + counts.get(Status.UNEXPECTED_PASS, 0)
    skipped = counts.get(Status.SKIPPED, 0) + counts.get(Status.EXPECTED_FAILURE, 0)
    name = f"{report.distribution} {report.target}"
    numbers = {"tests": str(len(report.results)), "failures": str(bad), "skipped": str(skipped), "errors": "0"}
    root = ET.Element("testsuites", {"name": "deepseek conformance", **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(name), "time": f"{report.seconds:.3f}", **numbers})
    properties = ET.SubElement(suite, "properties")
    for key in ("verdict", "target", "tier", "device", "version", "detail"):
        ET.SubElement(properties, "property", name=key, value=_clean(str(getattr(report, key))))
    for result in report.results:
        _add_case(suite, result)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add_case(suite: ET.Element, result: Result) -> None:
    group, _, name = result.id.rpartition("/")
    case = ET.SubElement(
        suite, "testcase", classname=_clean(group.replace("/", ".")), name=_clean(name), time=f"{result.seconds:.4f}"
    )
    if result.status.is_bad:
        failure = ET.SubElement(case, "failure", message=_clean(result.message), type=str(result.status))
        failure.text = _clean(f"{result.probes}\n{result.details}")
    elif result.status in (Status.SKIPPED, Status.EXPECTED_FAILURE):
        kind = "xfail" if result.status is Status.EXPECTED_FAILURE else "skip"
        ET.SubElement(case, "skipped", message=_clean(result.message), type=kind)


def _clean(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)
