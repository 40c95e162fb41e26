"""The pytest plugin: three lines of a vendor's own tests."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

MUTANTS = Path(__file__).parent

HEAD = f"""
import sys
sys.path.insert(0, {str(MUTANTS)!r})
from mutants import MUTANTS, Faithful
from deepseek_core.conformance import ConformanceSuite
"""


def suite(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + textwrap.dedent(body))
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_three_lines_are_enough(pytester):
    pytester.makepyfile(
        """
        from deepseek_core.conformance import ConformanceSuite

        class TestConformance(ConformanceSuite):
            target = "reference"
            pattern = "contract/run/*"
        """
    )
    result = pytester.runpytest_subprocess("-v", "-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::TestConformance::test_case[[]contract/run/threads[]] PASSED*"])
    result.stdout.fnmatch_lines(["deepseek-core * on reference:numpy (reference): CONFORMS — 10 passed"])


def test_a_failure_shows_the_codes(pytester):
    result = suite(
        pytester,
        """
        class TestMutant(ConformanceSuite):
            backend = next(m for m in MUTANTS if m.name == "HalfUpRounding").build()
            pattern = "numerics/Gemm/*/rounding_ties"
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*values of 'unit_y_q' differ by up to 1 LSB*", "*expected*actual*"])
    result.stdout.fnmatch_lines(["*DOES NOT CONFORM — 1 failed"])
    result.stdout.no_fnmatch_line("*comparison.py*")


def test_skips_have_reasons_and_known_failures_are_strict(pytester):
    result = suite(
        pytester,
        """
        from deepseek_core import Expectations, hookimpl
        from deepseek_core.expectations import KnownFailure

        class Known(Faithful):
            @hookimpl
            def deepseek_expectations(self, target):
                return Expectations(known_failures=(
                    KnownFailure("contract/run/close", "passes by now"),
                    KnownFailure("contract/nothing/*", "long gone"),
                ))

        class TestKnown(ConformanceSuite):
            backend = Known()
            pattern = "contract/[rc][ur][no]*/*"
        """,
        "-rs",
    )
    result.assert_outcomes(passed=9, failed=2, skipped=2)
    result.stdout.fnmatch_lines(["*does not implement deepseek_cross_compile*"])
    result.stdout.fnmatch_lines(["*matches no case; remove it or mend the pattern*"])
    result.stdout.fnmatch_lines(["*passes, but is declared to fail*"])


def test_expected_failures_are_xfailed(pytester):
    result = suite(
        pytester,
        """
        from deepseek_core import Expectations, hookimpl
        from deepseek_core.expectations import KnownFailure

        backend = next(m for m in MUTANTS if m.name == "HalfUpRounding").build()

        class Known:
            @hookimpl
            def deepseek_expectations(self, target):
                return Expectations(known_failures=(KnownFailure("*/rounding_ties", "rounds up"),))

        backend.extend(Known())

        class TestKnown(ConformanceSuite):
            backend = backend
            pattern = "numerics/Gemm/uint8*/rounding_ties"
        """,
    )
    result.assert_outcomes(xfailed=1)


def test_reports_are_written_also_by_parallel_runs(pytester):
    result = suite(
        pytester,
        """
        class TestFaithful(ConformanceSuite):
            backend = Faithful()
            pattern = "numerics/Softmax/*"
        """,
        "--deepseek-report=out",
        "-n2",
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*reference:numpy (reference): CONFORMS — * passed"])
    assert "numerics/Softmax" in (pytester.path / "out" / "TestFaithful.html").read_text()
    assert (pytester.path / "out" / "TestFaithful.xml").is_file()


@pytest.mark.parametrize(
    ("target", "message"), [("nobody:here", "*no backend 'nobody' is installed*"), ("", "*no backend ''*")]
)
def test_an_unknown_target_is_one_line(pytester, target, message):
    result = suite(pytester, f"class TestNobody(ConformanceSuite):\n    target = {target!r}\n")
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_projects_without_a_suite_pay_nothing():
    script = (
        "import sys, pytest; before = set(sys.modules); import deepseek_core.conformance.pytest_plugin; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "heavy = new & {'numpy', 'onnx', 'onnx_ir', 'ml_dtypes', 'rich', 'pluggy', 'xml'}; print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
