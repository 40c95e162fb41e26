"""How a command answers: one report, printed as text for people or as JSON for programs."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["Report", "reporting", "table"]

PIPE_WIDTH = 200
"""Columns where stdout is no terminal: wide enough that no table cell is cut for the next program."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a command has to say.

    Attributes:
        data: plain JSON values; the whole answer for programs.
        render: prints the same for people.
        exit_code: 0, or 1 when the answer is "no".
        markup: square brackets in what `render` prints are rich's markup, not text.
    """

    data: Mapping[str, object]
    render: Callable[[Console], None]
    exit_code: int = 0
    markup: bool = False


def reporting(function: Callable[..., Report]) -> Callable[..., Callable[[], int]]:
    """Give a command `--json`, and keep whatever a library prints off stdout.

    The command then returns what prints its report and gives the exit code, to be called when click is done: click
    would swallow a broken pipe.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else.")
    @functools.wraps(function)
    def command(*args: Any, as_json: bool, **options: Any) -> Callable[[], int]:
        with contextlib.redirect_stdout(sys.stderr):
            report = function(*args, **options)
        return functools.partial(_emit, report, as_json)

    return command


def _emit(report: Report, as_json: bool) -> int:
    if as_json:
        print(json.dumps(report.data, indent=2, allow_nan=False))
    else:
        report.render(_console(markup=report.markup))
    return report.exit_code


def table(*headers: str, title: str | None = None) -> Table:
    """A table in the house style; a header that begins with `>` makes a right-aligned column."""
    from rich import box
    from rich.table import Table

    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        result.add_column(header.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return result


def _console(*, markup: bool) -> Console:
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:
            """Leave it to `guard`; rich would exit with code 1."""
            raise BrokenPipeError

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return QuietConsole(width=width, highlight=False, markup=markup, emoji=False)
