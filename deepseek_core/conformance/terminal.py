"""The report for a terminal: a table by group, what failed and where, what was skipped and why, the verdict."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deepseek_core.conformance.case import Result, Status
from deepseek_core.conformance.report import Report, worst

__all__ = ["render", "summary"]

_SHOWN_FAILURES = 20
_SHOWN_DETAILS = 14

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
    parts: list[RenderableType] = [_table(report)]
    shown = report.bad[:_SHOWN_FAILURES]
    parts.extend(_failure(result) for result in shown)
    if len(report.bad) > len(shown):
        parts.append(Text(f"… and {len(report.bad) - len(shown)} more failures\n", style="red"))
    parts.extend(_skips(report))
    parts.append(Text(report.verdict, style="bold green" if report.conforms else "bold red"))
    return Group(*parts)


def _table(report: Report) -> Table:
    used = list(report.counts)
    device = f" · {report.device}" if report.device else ""
    table = Table(title=Text(f"{report.backend} on {report.target}{device}"), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("cases")
    for status in used:
        table.add_column(Text(str(status)), justify="right", style=_STYLES[status])
    for name, counts in report.groups():
        numbers = (str(counts[status]) if counts[status] else "" for status in used)
        table.add_row(Text(name, style=_STYLES[worst(counts)]), *numbers)
    table.add_section()
    table.add_row("all", *(str(report.counts[status]) for status in used), style="bold")
    detail = f" · {report.detail}" if report.detail else ""
    table.caption = Text(f"{len(report.results)} cases in {report.seconds:.1f} s{detail}")
    return table


def _failure(result: Result) -> Panel:
    details = result.details.rstrip().splitlines()
    if len(details) > _SHOWN_DETAILS:
        details = ["…", *details[-_SHOWN_DETAILS:]]
    body = Text.assemble(result.message, *((f"\n{line}", "dim") for line in details))
    title = Text.assemble((result.id, "bold"), (f"  {result.probes}", "dim"))
    return Panel(body, title=title, title_align="left", border_style="red")


def _skips(report: Report) -> list[RenderableType]:
    skips = report.skips()
    if not skips:
        return []
    table = Table(box=None, show_header=False, padding=(0, 1), title=Text("skipped", style="dim"))
    table.title_justify = "left"
    for reason, count in skips.items():
        table.add_row(Text(str(count), style="dim", justify="right"), Text(reason, style="dim"))
    return [table]
