"""The report as one HTML page: no script, no network, light and dark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from deepseek_core.atomic import atomic_write
from deepseek_core.conformance.case import Result, Status
from deepseek_core.conformance.report import Report, worst

__all__ = ["page", "write_html"]

_DETAILS = 8_000


def write_html(report: Report, path: str | Path) -> None:
    """Write the page, atomically.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(page(report).encode())


def page(report: Report) -> str:
    """The whole document."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join((*_head(report), *_matrix(report), *_failures(report), *_skips(report), *_cases(report)))
    title = escape(f"{report.backend} on {report.target}: conformance")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body><main>\n{body}\n"
        f"<footer>{escape(report.verdict)}</footer>\n</main></body>\n</html>\n"
    )


def _head(report: Report) -> Iterator[str]:
    word = "Conforms" if report.conforms else "Does not conform"
    where = " · ".join(filter(None, (f"tier: {report.tier}", report.device, report.detail)))
    yield f"<h1>Conformance of {escape(report.distribution)} {escape(report.version)} on {escape(report.target)}</h1>"
    good = " good" if report.conforms else ""
    yield f'<div class="card verdict{good}"><strong>{word}</strong><p>{escape(where)}</p></div>'
    yield '<div class="tiles">'
    for status, number in report.counts.items():
        yield f'<div class="card tile"><b>{number:,}</b><span>{status}</span></div>'
    yield f'<div class="card tile"><b>{report.seconds:.1f} s</b><span>{len(report.results):,} cases</span></div></div>'


def _matrix(report: Report) -> Iterator[str]:
    table = report.matrix()
    if not table:
        return
    columns = list(dict.fromkeys(types for row in table.values() for types in row))
    yield "<h2>Ops and types</h2>"
    yield f'<p class="legend">{_legend(report.counts)} A cell counts the cases of one rule of the capability table.</p>'
    yield '<div class="card scroll"><table class="matrix"><thead><tr><th></th>'
    yield "".join(f"<th><span>{escape(types)}</span></th>" for types in columns) + "</tr></thead><tbody>"
    for op, row in table.items():
        yield f"<tr><th>{escape(op)}</th>{''.join(_cell(op, types, row.get(types)) for types in columns)}</tr>"
    yield "</tbody></table></div>"


def _legend(statuses: Iterable[Status]) -> str:
    return "".join(_tag(status) for status in statuses)


def _cell(op: str, types: str, counts: Counter[Status] | None) -> str:
    if counts is None:
        return "<td><i>·</i></td>"
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    status = worst(counts)
    shown = counts[status] if status.is_bad else counts.total()
    title = escape(f"{op} {types}: {words}")
    return f'<td><a class="{_class(status)}" href="#{_anchor(op)}" title="{title}">{shown}</a></td>'


def _failures(report: Report) -> Iterator[str]:
    if not report.bad:
        return
    yield f"<h2>What keeps it from conforming ({len(report.bad)})</h2>"
    for result in report.bad:
        details = f"<pre>{escape(result.details[:_DETAILS])}</pre>" if result.details else ""
        yield (
            f'<div class="card failure"><span class="id">{escape(result.id)}</span> {_tag(result.status)}'
            f'<p class="probes">probes: {escape(result.probes)}</p><p>{escape(result.message)}</p>{details}</div>'
        )


def _skips(report: Report) -> Iterator[str]:
    skips = report.skips()
    if not skips:
        return
    yield f'<h2>Skipped ({sum(skips.values())})</h2><table class="skips">'
    for reason, number in skips.items():
        yield f"<tr><td>{number}</td><td>{escape(reason)}</td></tr>"
    yield "</table>"


def _cases(report: Report) -> Iterator[str]:
    groups: dict[str, list[Result]] = {}
    for result in report.results:
        groups.setdefault("/".join(result.id.split("/")[:2]), []).append(result)
    yield f"<h2>Every case ({len(report.results):,})</h2>"
    for name, results in groups.items():
        counts = Counter(result.status for result in results)
        tags = "".join(_tag(status, f"{counts[status]} ") for status in Status if counts[status])
        anchor = _anchor(name.partition("/")[2])
        yield f'<details class="card" id="{anchor}"><summary><span class="id">{escape(name)}</span>{tags}</summary>'
        yield '<table class="cases">'
        yield from (_row(result) for result in results)
        yield "</table></details>"


def _row(result: Result) -> str:
    message = f"<br>{escape(result.message)}" if result.message else ""
    return (
        f'<tr><td>{_tag(result.status)}</td><td class="id">{escape(result.id.split("/", 2)[-1])}</td>'
        f'<td><span class="probes">{escape(result.probes)}</span>{message}</td></tr>'
    )


def _tag(status: Status, before: str = "") -> str:
    return f'<span class="tag {_class(status)}">{before}{status}</span>'


def _class(status: Status) -> str:
    return status.replace(" ", "-")


def _anchor(name: str) -> str:
    return escape(name.replace("::", "-"))
