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

_BY_OP = ("numerics", "limits")
_DETAILS = 8_000
_SHOWN_FAILURES = 100


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
    body = "\n".join(
        (*_head(report), *_failures(report), *_contract(report), *_matrix(report), *_skips(report), *_cases(report))
    )
    title = escape(f"{report.backend} on {report.target}: conformance")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body><main>\n{body}\n"
        f"<footer>{escape(report.verdict)}</footer>\n</main></body>\n</html>\n"
    )


def _head(report: Report) -> Iterator[str]:
    word = "Conforms" if report.conforms else "Does not conform"
    device = report.device if report.device not in report.detail else ""
    where = " · ".join(filter(None, (f"tier: {report.tier or 'not run'}", device, report.detail)))
    yield f"<h1>Conformance of {escape(report.distribution)} {escape(report.version)} on {escape(report.target)}</h1>"
    good = " good" if report.conforms else ""
    yield f'<div class="card verdict{good}"><strong>{word}</strong><p>{escape(where)}</p></div>'
    yield '<div class="tiles">'
    for status, number in report.counts.items():
        yield f'<div class="card tile"><b>{number:,}</b><span>{status}</span></div>'
    if report.refused:
        yield f'<div class="card tile"><b>{report.refused:,}</b><span>of the passed: refused, as declared</span></div>'
    yield f'<div class="card tile"><b>{report.seconds:.1f} s</b><span>{len(report.results):,} cases</span></div></div>'


def _contract(report: Report) -> Iterator[str]:
    """Areas of the contract, and whatever else is about no single op."""
    general = {name: counts for name, counts in report.groups() if name.partition("/")[0] not in _BY_OP}
    if general:
        yield '<h2>Contract</h2><div class="card chips flat"><div><span>'
        yield "".join(
            f'<a class="{_class(worst(counts))}" href="#{_anchor(name)}">{escape(name.removeprefix("contract/"))} '
            f"<em>{_number(counts)}</em></a>"
            for name, counts in general.items()
        )
        yield "</span></div></div>"


def _matrix(report: Report) -> Iterator[str]:
    """Ops with weights as a matrix, the others as rows of chips: their types are few and mostly the same."""
    table = report.matrix()
    weighted = {op: row for op, row in table.items() if any(types.count("-") > 1 for types in row)}
    if table:
        yield "<h2>Ops and types</h2>"
        yield f'<p class="legend">{_legend(report.counts)} Numbers count the cases of one rule of the table.</p>'
    if weighted:
        columns = list(dict.fromkeys(types for row in weighted.values() for types in row))
        yield '<div class="card scroll"><table class="matrix"><thead><tr><th></th>'
        yield "".join(f"<th><span>{escape(types)}</span></th>" for types in columns) + "</tr></thead><tbody>"
        for op, row in weighted.items():
            yield f"<tr><th>{escape(op)}</th>{''.join(_cell(op, types, row.get(types)) for types in columns)}</tr>"
        yield "</tbody></table></div>"
    yield '<div class="card chips">'
    for op in (op for op in table if op not in weighted):
        chips = "".join(_chip(op, types, counts) for types, counts in table[op].items())
        yield f"<div><b>{escape(op)}</b><span>{chips}</span></div>"
    yield "</div>"


def _legend(statuses: Iterable[Status]) -> str:
    return "".join(_tag(status) for status in statuses)


def _cell(op: str, types: str, counts: Counter[Status] | None) -> str:
    return "<td></td>" if counts is None else f"<td>{_link(op, types, counts, str(_number(counts)))}</td>"


def _chip(op: str, types: str, counts: Counter[Status]) -> str:
    source, _, result = types.partition("-")
    shown = source if source == result else types
    return _link(op, types, counts, f"{escape(shown)} <em>{_number(counts)}</em>")


def _number(counts: Counter[Status]) -> int:
    """What a cell shows: how many are wrong, or how many there are."""
    return sum(number for status, number in counts.items() if status.is_bad) or counts.total()


def _link(op: str, types: str, counts: Counter[Status], shown: str) -> str:
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    title = escape(f"{op} {types}: {words}")
    return f'<a class="{_class(worst(counts))}" href="#{_anchor(op)}" title="{title}">{shown}</a>'


def _failures(report: Report) -> Iterator[str]:
    if not report.bad:
        return
    yield f"<h2>What keeps it from conforming ({len(report.bad)})</h2>"
    for result in report.bad[:_SHOWN_FAILURES]:
        details = f"<pre>{escape(result.details[:_DETAILS])}</pre>" if result.details else ""
        yield (
            f'<div class="card failure"><span class="id">{escape(result.id)}</span> {_tag(result.status)}'
            f'<p class="probes">probes: {escape(result.probes)}</p><p>{escape(result.message)}</p>{details}</div>'
        )
    if len(report.bad) > _SHOWN_FAILURES:
        yield f"<p>… and {len(report.bad) - _SHOWN_FAILURES} more; every case is listed below.</p>"


def _skips(report: Report) -> Iterator[str]:
    if report.notes:
        yield f"<h2>Notes</h2>{''.join(f'<p>{escape(note)}</p>' for note in report.notes)}"
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
        anchor = _anchor(name.removeprefix("numerics/"))
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
