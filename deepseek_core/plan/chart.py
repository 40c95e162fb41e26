"""The schedule of one inference as SVG: a row for each device, parts as bars, transfers as lines between rows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from deepseek_core.plan.picture import COLOURS
from deepseek_core.plan.report import Plan
from deepseek_core.plan.words import amount, count, percent, size
from deepseek_core.target import Target

__all__ = ["schedule_svg"]

_LEFT, _BAR, _PITCH, _TOP, _RIGHT = 150.0, 28.0, 58.0, 26.0, 92.0
_MOST_TRANSFERS = 400


def schedule_svg(plan: Plan, width: float = 1100.0) -> str:
    """The picture, without a style of its own."""
    if not plan.parts or plan.latency <= 0:
        return ""
    span = width - _LEFT - _RIGHT
    rows = [target for target in plan.targets if target.parts]
    row_of = {target.target: i for i, target in enumerate(rows)}
    height = _TOP + _PITCH * len(rows) + 4
    body = [*_axis(plan, span, height), *_rows(plan, width)]
    body += _bars(plan, row_of, span)
    body += _transfers(plan, row_of, span)
    return (
        f'<svg class="schedule" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="schedule of one inference" xmlns="http://www.w3.org/2000/svg">\n'
        + "\n".join(body)
        + "\n</svg>"
    )


def _axis(plan: Plan, span: float, height: float) -> Iterator[str]:
    step = _round(plan.latency / 6)
    tick, number = 0.0, 0
    while tick <= plan.latency * 1.0001:
        x = _LEFT + span * tick / plan.latency
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 6:.0f}" x2="{x:.1f}" y2="{height - 4:.0f}"/>'
        yield f'<text class="axis" x="{x:.1f}" y="12">{amount(tick) if tick else "0"}</text>'
        number += 1
        tick = number * step


def _rows(plan: Plan, width: float) -> Iterator[str]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    for row, target in enumerate(t for t in plan.targets if t.parts):
        y, busy = _TOP + row * _PITCH, target.work + target.launches
        name = escape(str(target.target))
        yield f'<text class="row d{number[target.target] % COLOURS}" x="0" y="{y + 13:.0f}">{name}</text>'
        what = f"{count(target.units, 'unit')}, {count(target.parts, 'part')}"
        yield f'<text class="soft" x="0" y="{y + 27:.0f}">{what}</text>'
        share = percent(busy / plan.latency)
        yield f'<text class="busy" x="{width - 2:.0f}" y="{y + 13:.0f}">busy {share}</text>'
        yield f'<text class="soft busy" x="{width - 2:.0f}" y="{y + 27:.0f}">{amount(busy)}</text>'


def _bars(plan: Plan, row_of: dict[Target, int], span: float) -> Iterator[str]:
    number = {target.target: i for i, target in enumerate(plan.targets)}
    for part in plan.parts:
        x, wide = _LEFT + span * part.start / plan.latency, max(span * (part.end - part.start) / plan.latency, 1.5)
        y = _TOP + row_of[part.target] * _PITCH
        took = amount(part.end - part.start)
        title = (
            f"part {part.number} on {part.target}: {count(len(part.units), 'unit')}, {took}, from {amount(part.start)}"
        )
        label = next((t for t in (f"part {part.number} · {took}", f"{part.number}") if len(t) * 6.6 + 8 < wide), "")
        launch = min(span * part.launch / plan.latency, wide)
        yield (
            f'<g class="bar d{number[part.target] % COLOURS}" data-part="{part.number}" tabindex="0">'
            f"<title>{escape(title)}</title>"
            f'<rect class="fill" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{_BAR:.0f}" rx="4"/>'
            f'<rect class="launch" x="{x:.1f}" y="{y:.1f}" width="{launch:.1f}" height="{_BAR:.0f}" rx="2"/>'
            f'<text x="{x + wide / 2:.1f}" y="{y + 18:.1f}">{escape(label)}</text></g>'
        )


def _transfers(plan: Plan, row_of: dict[Target, int], span: float) -> Iterator[str]:
    for transfer in plan.transfers[:_MOST_TRANSFERS]:
        source, to = row_of[plan.parts[transfer.source].target], row_of[plan.parts[transfer.to].target]
        arrives = transfer.start + transfer.cost.seconds
        x1, x2 = (_LEFT + span * at / plan.latency for at in (transfer.start, arrives))
        down = to > source
        y1 = _TOP + source * _PITCH + (_BAR if down else 0)
        y2 = _TOP + to * _PITCH + (0 if down else _BAR)
        what = f"{transfer.tensor}: {size(transfer.bytes)} in {amount(transfer.cost.seconds)}"
        title = f"{what}, from part {transfer.source} to part {transfer.to}"
        yield (
            f'<g class="move"><title>{escape(title)}</title><line class="wide" x1="{x1:.1f}" y1="{y1:.1f}" '
            f'x2="{x2:.1f}" y2="{y2:.1f}"/><line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
            f'<circle cx="{x2:.1f}" cy="{y2:.1f}" r="2.4"/></g>'
        )


def _round(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 1.0
    while power > step:
        power /= 10
    while power * 10 <= step:
        power *= 10
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= step * (1 - 1e-9))
