"""Words, numbers and bars."""

from __future__ import annotations

import io
import math
import sys

import pytest
from rich.console import Console

from deepseek_core.cli import progress
from deepseek_core.cli.formats import dims, finite, seconds, size
from deepseek_core.cli.quantize import render_skipped


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(2.5, "2.50 s"), (1.4e-3, "1.40 ms"), (12e-6, "12.00 µs"), (3e-9, "3 ns"), (0.0, "0 ns")]
)
def test_seconds(number: float, text: str) -> None:
    assert seconds(number) == text


def test_shapes() -> None:
    assert dims((1, "N", None)) == "[1, N, ?]"
    assert dims(None) == "[…]"


def test_json_numbers_are_finite() -> None:
    assert (finite(1.5), finite(math.inf), finite(math.nan)) == (1.5, None, None)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (3600.0, False)])
def test_a_bar_appears_on_a_terminal_once_work_lasts(
    monkeypatch: pytest.MonkeyPatch, patience: float, shown: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setattr(progress, "PATIENCE", patience)
    with progress.progress_bar() as tell:
        tell("calibrating", 0.25)
        tell("calibrating", 0.5)
    text = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert ("calibrating" in text) == shown


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.progress_bar() as tell:
        tell("calibrating", 0.5)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_units_that_stay_in_float_are_grouped_by_reason() -> None:
    text = io.StringIO()
    skipped = {**dict.fromkeys("abcde", "its input is float"), "z": "no rule"}
    render_skipped(skipped, Console(file=text, width=120))
    assert text.getvalue().splitlines() == [
        "  a, b, c and 2 more stay in float: its input is float",
        "  z stays in float: no rule",
    ]
