"""The report for a terminal: a table by group, what failed and where, what was skipped and why, the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deepseek_core.conformance.case import Result, Status
from deepseek_core.conformance.report import Report, worst

__all__ = ["render", "summary"]

_SHOWN_FAILURES = 12
_SHOWN_DETAILS = 7

_STYLES = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.EXPECTED_FAILURE: "yellow",
    Status.UNEXPECTED_PASS: "bold magenta",
    Status.SKIPPED: "dim",
}


def render(report: Report, console: Console | None = None) -> None:
    """Print the summary of a report."""
    (console or Console()).print(summary(report))


def summary(report: Report) -> RenderableType:
    """Table, failures, skips and verdict."""
    parts: list[RenderableType] = [_table(report), _words(report)]
    shown = report.bad[:_SHOWN_FAILURES]
    parts.extend(_failure(result) for result in shown)
    if len(report.bad) > len(shown):
        parts.append(Text(f"… and {len(report.bad) - len(shown)} more failures\n", style="red"))
    parts.extend(_skips(report))
    parts.extend(Text(f"note: {note}", style="yellow") for note in report.notes)
    parts.append(Text(report.verdict, style="bold green" if report.conforms else "bold red"))
    return Group(*parts)


def _table(report: Report) -> Table:
    used = list(report.counts)
    device = f" · {report.device}" if report.device else ""
    table = Table(title=Text(f"{report.backend} on {report.target}{device}"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = "left"
    table.add_column("cases", overflow="fold")
    for status in used:
        table.add_column(Text(str(status)), justify="right", style=_STYLES[status])
    for name, counts in _rows(report):
        numbers = (str(counts[status]) if counts[status] else "" for status in used)
        table.add_row(Text(name, style=_STYLES[worst(counts)]), *numbers)
    table.add_section()
    table.add_row("all", *(str(report.counts[status]) for status in used), style="bold")
    return table


def _words(report: Report) -> Text:
    words = [f"{len(report.results)} cases in {report.seconds:.1f} s", report.detail]
    if report.refused:
        words.insert(1, f"{report.refused} of the passed: refused, as the table declares")
    return Text(" · ".join(filter(None, words)) + "\n", style="dim")


def _rows(report: Report) -> Iterator[tuple[str, Counter[Status]]]:
    """Contract by area; of the ops, those with something to say by name and the rest in one row."""
    quiet: dict[str, tuple[int, Counter[Status]]] = {}
    for name, counts in report.groups():
        kind = name.partition("/")[0]
        if kind in ("numerics", "limits") and set(counts) <= {Status.PASSED, Status.SKIPPED}:
            number, total = quiet.get(kind, (0, Counter()))
            quiet[kind] = number + 1, total + counts
        else:
            yield name, counts
    yield from ((f"{kind} of {number} ops", total) for kind, (number, total) in quiet.items())


def _failure(result: Result) -> Panel:
    details = result.details.rstrip().splitlines()
    if len(details) > _SHOWN_DETAILS:  # a table of differences is told by its head, a traceback by its tail
        is_traceback = details[0].startswith("Traceback")
        details = ["…", *details[-_SHOWN_DETAILS:]] if is_traceback else [*details[:_SHOWN_DETAILS], "…"]
    lines = (f"\n{line}" for line in details)
    body = Text.assemble((f"probes: {result.probes}\n", "dim"), result.message, *((line, "dim") for line in lines))
    return Panel(body, title=Text(result.id, "bold"), title_align="left", border_style="red")


def _skips(report: Report) -> list[RenderableType]:
    skips = report.skips()
    if not skips:
        return []
    table = Table(box=None, show_header=False, padding=(0, 1), title=Text("skipped", style="dim"))
    table.title_justify = "left"
    for reason, count in skips.items():
        table.add_row(Text(str(count), style="dim", justify="right"), Text(reason, style="dim"))
    return [table]
