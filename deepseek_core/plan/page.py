"""The plan as one HTML page: no network, light and dark, readable without its script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from deepseek_core.atomic import atomic_write
from deepseek_core.plan.chart import schedule_svg
from deepseek_core.plan.picture import COLOURS, MOST_NODES, graph_svg, standalone
from deepseek_core.plan.report import Option, Plan, UnitPlan
from deepseek_core.plan.words import amount, count, headline, listed, percent, size, verdict
from deepseek_core.target import Target

__all__ = ["page", "write_page", "write_picture"]

_MOST_ROWS = 2_000
_MOST_NAMES = 6


def write_page(plan: Plan, path: str | Path) -> None:
    """Write the page, atomically.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(page(plan).encode())


def write_picture(plan: Plan, path: str | Path) -> None:
    """Write the graph as an SVG file, atomically.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(standalone(plan).encode())


def page(plan: Plan) -> str:
    """The whole document."""
    style, script = (files(__package__).joinpath(f"plan.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    sections = (_head, _targets, _schedule, _graph, _alternatives, _refusals, _transfers, _units)
    body = "\n".join(line for section in sections for line in section(plan))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(plan.model)}: placement</title>\n<style>\n{style}</style>\n</head>\n<body><main>\n{body}\n"
        f'</main>\n<aside id="detail" class="card" hidden></aside>\n{_templates(plan)}\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _head(plan: Plan) -> Iterator[str]:
    missed = " missed" if plan.unmet else ""
    yield f"<h1>Placement of {escape(plan.model)} on {escape(', '.join(str(t.target) for t in plan.targets))}</h1>"
    yield f'<div class="card verdict{missed}"><strong>{escape(headline(plan))}</strong>'
    yield f"<p>{escape(verdict(plan))}</p>"
    if plan.objective != "latency":
        yield f"<p>One inference alone takes {amount(plan.latency)}.</p>"
    yield f"<p>All figures are predictions; they rest on: {escape(plan.basis)}.</p>"
    for sentence in plan.unmet:
        yield f'<p class="missed">Gate not passed: {escape(sentence)}.</p>'
    yield "</div>"


def _targets(plan: Plan) -> Iterator[str]:
    yield '<h2>Targets</h2><div class="card scroll"><table><thead><tr><th>target</th><th class="num">units</th>'
    yield '<th class="num">parts</th><th class="num">work (MACs)</th><th class="num">compute</th>'
    yield '<th class="num">launches</th><th class="num">constants</th><th>here</th></tr></thead><tbody>'
    for number, target in enumerate(plan.targets):
        bar = 100 * target.share
        memory = "" if target.memory is None else f" of {size(target.memory)}"
        missing = "; ".join(f"no {m.what}: {m.fix}" for m in target.here.missing)
        state = "can run" if target.here.can_run else f"cannot run ({missing})" if missing else "cannot run"
        yield (
            f'<tr class="d{number % COLOURS}"><td class="name">{_chip(target.target)}</td>'
            f'<td class="num">{target.units}</td><td class="num">{target.parts}</td>'
            f'<td class="num">{percent(target.share)}<span class="bars" style="width:{bar:.0f}%"></span></td>'
            f'<td class="num">{_some(target.work)}</td><td class="num">{_some(target.launches)}</td>'
            f'<td class="num">{size(target.constants)}{memory}</td><td>{escape(state)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _schedule(plan: Plan) -> Iterator[str]:
    svg = schedule_svg(plan)
    if svg:
        yield f"<h2>One inference<small>{amount(plan.latency)}, as predicted</small></h2>"
        yield '<p class="legend"><span class="key">Bars are parts; the dark beginning is the launch.</span>'
        yield '<span class="key">Lines are transfers.</span></p>'
        yield f'<div class="card scroll">{svg}</div>'


def _graph(plan: Plan) -> Iterator[str]:
    svg = graph_svg(plan)
    yield f"<h2>The graph<small>{count(len(plan.units), 'unit')} in {count(len(plan.parts), 'part')}</small></h2>"
    chips = "".join(
        f'<span class="chip d{number % COLOURS}">{escape(str(target.target))}</span>'
        for number, target in enumerate(plan.targets)
    )
    yield f'<p class="legend">{chips}<span class="key">areas: parts</span><span class="key">dashed: transfers</span>'
    yield '<span class="key">bar in a box: its cost beside the slowest unit\'s</span></p>'
    if not svg:
        yield f"<p>More than {MOST_NODES} parts are not drawn.</p>"
        return
    if len(plan.units) > MOST_NODES:
        yield f"<p>The model has more than {MOST_NODES} units, so each box is a part.</p>"
    yield f'<div class="card scroll">{svg}</div>'


def _alternatives(plan: Plan) -> Iterator[str]:
    unit = "J" if plan.objective == "energy" else "s"
    yield f"<h2>Compared<small>{escape(plan.objective)}</small></h2>"
    yield '<div class="card scroll"><table><thead><tr><th>placement</th><th class="num">value</th>'
    yield '<th class="num">against this plan</th><th class="num">parts</th><th></th></tr></thead><tbody>'
    if plan.bound is not None:
        yield (
            f'<tr><td>lower bound: nothing is better <span class="soft">({escape(plan.proof)})</span></td>'
            f'<td class="num">{amount(plan.bound, unit)}</td><td class="num">{_ratio(plan.bound, plan.value)}</td>'
            '<td class="num">–</td><td></td></tr>'
        )
    for number, other in enumerate(plan.alternatives):
        value = "–" if other.value is None else amount(other.value, unit)
        ratio = "–" if other.value is None else _ratio(other.value, plan.value)
        parts = str(other.parts) if other.value is not None else "–"
        best = ' class="best"' if number == 0 else ""
        yield (
            f'<tr{best}><td>{escape(other.name)}</td><td class="num">{value}</td><td class="num">{ratio}</td>'
            f'<td class="num">{parts}</td><td class="reason">{escape(other.note)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _chip(target: Target) -> str:
    """A target with its colour, which the row around it sets."""
    return f'<span class="chip">{escape(str(target))}</span>'


def _some(seconds: float) -> str:
    return amount(seconds) if seconds else "–"


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f} ×" if base else "–"


def _refusals(plan: Plan) -> Iterator[str]:
    total = sum(len(group.units) for group in plan.refusals)
    if not plan.refusals:
        return
    number = {target.target: i for i, target in enumerate(plan.targets)}
    yield f"<h2>Refusals<small>{total}, in the backends' own words</small></h2>"
    yield '<div class="card scroll"><table><thead><tr><th>target</th><th class="num">units</th><th>which</th>'
    yield "<th>reason</th><th>what would change it</th><th>run on</th></tr></thead><tbody>"
    for group in sorted(plan.refusals, key=lambda group: -len(group.units)):
        names = escape(listed(group.units, _MOST_NAMES))
        elsewhere = ", ".join(map(str, group.elsewhere)) or "inside another unit"
        change = escape(group.change) if group.change else '<span class="soft">the backend does not say</span>'
        cells = "".join(f'<td class="reason">{text}</td>' for text in (names, escape(group.reason), change))
        yield (
            f'<tr class="d{number.get(group.target, 0) % COLOURS}"><td>{_chip(group.target)}</td>'
            f'<td class="num">{len(group.units)}</td>{cells}<td>{escape(elsewhere)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _transfers(plan: Plan) -> Iterator[str]:
    if not plan.transfers:
        return
    total, moved = sum(t.cost.seconds for t in plan.transfers), sum(t.bytes for t in plan.transfers)
    about = f"{len(plan.transfers)}, {size(moved)}, {amount(total)} if nothing overlapped"
    yield f"<h2>Transfers<small>{about}</small></h2>"
    yield '<div class="card scroll"><table><thead><tr><th>tensor</th><th>from</th><th>to</th><th class="num">bytes</th>'
    yield '<th class="num">time</th><th>basis</th></tr></thead><tbody>'
    for transfer in plan.transfers[:_MOST_ROWS]:
        ends = (
            f"part {number} · {escape(str(plan.parts[number].target))}" for number in (transfer.source, transfer.to)
        )
        cells = "".join(f"<td>{end}</td>" for end in ends)
        yield (
            f'<tr><td class="name">{escape(transfer.tensor)}</td>{cells}<td class="num">{size(transfer.bytes)}</td>'
            f'<td class="num">{amount(transfer.cost.seconds)}</td><td>{escape(transfer.cost.basis)}</td></tr>'
        )
    yield "</tbody></table></div>"


def _units(plan: Plan) -> Iterator[str]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    yield f"<h2>Every unit<small>{len(plan.units)}</small></h2>"
    yield '<div class="card scroll"><table><thead><tr><th>unit</th><th>op</th><th>target</th><th class="num">part</th>'
    yield '<th class="num">cost</th><th>basis</th><th>why here</th></tr></thead><tbody>'
    for unit in plan.units[:_MOST_ROWS]:
        yield (
            f'<tr class="d{number[unit.target] % COLOURS}"><td class="name">{escape(unit.name)}</td>'
            f"<td>{escape(unit.op)}</td><td>{_chip(unit.target)}</td>"
            f'<td class="num">{unit.part}</td><td class="num">{amount(unit.cost.seconds)}</td>'
            f'<td>{escape(unit.cost.basis)}</td><td class="reason">{escape(unit.why)}</td></tr>'
        )
    yield "</tbody></table></div>"
    if len(plan.units) > _MOST_ROWS:
        yield f"<p>… and {len(plan.units) - _MOST_ROWS} more; <code>deepseek plan --json</code> has all.</p>"


def _templates(plan: Plan) -> str:
    """What the script shows beside the pictures."""
    drawn = plan.units if len(plan.units) <= MOST_NODES else ()
    units = (f'<template id="u{i}">{_unit_card(unit)}</template>' for i, unit in enumerate(drawn))
    parts = (
        f'<template id="p{p.number}"><h3>part {p.number} on {escape(str(p.target))}</h3>'
        f"<p>{count(len(p.units), 'unit')}, {amount(p.end - p.start)}: {amount(p.launch)} launch and "
        f"{amount(max(p.end - p.start - p.launch, 0.0))} compute; starts {amount(p.start)} into the inference</p>"
        f'<p class="soft">{escape(listed(p.units, 12))}</p></template>'
        for p in plan.parts[:MOST_NODES]
    )
    return "\n".join((*units, *parts))


def _unit_card(unit: UnitPlan) -> str:
    rows = "".join(_option_row(option) for option in unit.options)
    return (
        f'<h3>{escape(unit.name)}</h3><p class="soft">{escape(unit.op)} · part {unit.part} · '
        f"{percent(unit.share)} of the MACs</p>"
        f'<table><tr><td class="name">{escape(str(unit.target))}</td><td class="num">{amount(unit.cost.seconds)}</td>'
        f"<td>{escape(unit.cost.basis)}</td></tr>{rows}</table><p>{escape(unit.why)}</p>"
    )


def _option_row(option: Option) -> str:
    name = escape(str(option.target))
    if option.cost is None:
        change = f'<p class="soft">To change it: {escape(option.change)}</p>' if option.change else ""
        return f'<tr><td class="name">{name}</td><td colspan="2">refuses: {escape(option.reason)}{change}</td></tr>'
    return (
        f'<tr><td class="name">{name}</td><td class="num">{amount(option.cost.seconds)}</td>'
        f"<td>{escape(option.cost.basis)}</td></tr>"
    )
