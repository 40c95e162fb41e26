"""The report as one HTML page: no script, no network, light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from deepseek.quantization.report.figures import decibels, size
from deepseek.quantization.report.plots import kind, noise_plot, size_plot, spread_plot

if TYPE_CHECKING:
    from deepseek.quantization.report.layers import Layer
    from deepseek.quantization.report.result import Attempt, QuantizationReport

__all__ = ["page"]

_OPEN_UP_TO = 120
"""Layers up to which the table is shown unfolded."""
_FULL = 50.0
"""dB at which the meter of a row is full."""


def page(report: QuantizationReport) -> str:
    """The whole document."""
    style = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    sections = (_head, _plots, _spreads, _search, _log, _layers)
    body = "\n".join(line for section in sections for line in section(report))
    title = escape(f"{report.name}, quantized")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _head(report: QuantizationReport) -> Iterator[str]:
    yield f"<h1>{escape(report.name)}</h1>"
    told = f"{report.precision} for {', '.join(report.targets)}; ranges by {report.method}; {report.samples} samples"
    yield f'<p class="sub">{escape(told)}; {report.seconds:.0f} s</p>'
    if report.shortfall is not None:
        missed = f"The budget is missed: {report.shortfall}. This is the best that was found."
        yield f'<div class="told bad">{escape(missed)}</div>'
    yield from (f'<div class="told">{escape(note)}</div>' for note in report.notes)
    yield f'<div class="tiles">{"".join(_tiles(report))}</div>'


def _tiles(report: QuantizationReport) -> Iterator[str]:
    yield _tile(decibels(report.sqnr, " dB"), "signal to noise at the output")
    yield _tile(f"{report.agreement:.1%}", "decisions as in float")
    if report.value is not None and report.reference is not None:
        yield _tile(f"{report.value:.6g}", f"evaluate; {report.reference:.6g} in float")
    ratio = report.float_bytes / report.bytes if report.bytes else 1.0
    yield _tile(size(report.bytes), f"of {size(report.float_bytes)}: {ratio:.1f} times smaller")
    yield _tile(f"{report.quantized_layers} of {len(report.layers)}", "layers quantized")


def _tile(figure: str, told: str) -> str:
    return f'<div class="card tile"><b>{escape(figure)}</b><span>{escape(told)}</span></div>'


def _plots(report: QuantizationReport) -> Iterator[str]:
    yield "<h2>Noise along the network</h2>"
    yield (
        '<p class="hint">Signal-to-noise ratio of every layer\'s output against the float network, with all noise up '
        "to there. 20 dB is noise of a tenth of the signal's amplitude, 40 dB of a hundredth. "
        f"{_lowest(report)}</p>"
    )
    yield f'<div class="card plot">{_legend(report)}{noise_plot(report.layers)}</div>'
    yield "<h2>Size of the layers</h2>"
    before = '<span><i class="was"></i>before</span>'
    yield f'<div class="card plot">{_legend(report, before)}{size_plot(report.layers)}</div>'


def _lowest(report: QuantizationReport) -> str:
    measured = [(layer.sqnr, layer.name) for layer in report.layers if layer.sqnr is not None]
    if not measured:
        return ""
    sqnr, name = min(measured)
    return f"Lowest: {decibels(sqnr, ' dB')} in <b>{escape(name)}</b>."


def _legend(report: QuantizationReport, more: str = "") -> str:
    entries = "".join(
        f'<span class="{kind(name)}"><i></i><span style="color:var(--soft)">{escape(name)} ({number})</span></span>'
        for name, number in report.precisions.items()
    )
    return f'<div class="legend">{more}{entries}</div>'


def _spreads(report: QuantizationReport) -> Iterator[str]:
    if not report.spreads:
        return
    yield "<h2>Ranges of the noisiest tensors</h2>"
    yield (
        '<p class="hint">Values seen in calibration, counted on a logarithmic scale; dashed lines are the ends of the '
        "range that codes cover, and what lies beyond is clipped to them.</p>"
    )
    yield '<div class="spreads">'
    makers = {layer.output: layer.name for layer in report.layers}
    for spread in report.spreads:
        told = f"[{spread.low:.4g}, {spread.high:.4g}], {spread.clipped:.2%} clipped"
        yield f'<div class="card spread"><b>{escape(makers.get(spread.name, spread.name))}</b>'
        yield f"<span>{told}</span>{spread_plot(spread)}</div>"
    yield "</div>"


def _search(report: QuantizationReport) -> Iterator[str]:
    if report.attempts:
        yield "<h2>What the search tried</h2>"
        yield (
            '<p class="hint">Judged by the noise at the outputs on calibration samples that were held out; a step is '
            "kept when it helps by more than chance explains.</p>"
        )
        yield '<div class="card scroll"><table><thead><tr><th>step</th><th>options</th><th class="number">seconds</th>'
        asked = any(value is not None for attempt in report.attempts for value in attempt.value)
        evaluate = '<th class="number">evaluate</th>' if asked else ""
        yield f'<th class="number">SQNR</th>{evaluate}<th>verdict</th></tr></thead><tbody>'
        yield from (_attempt(attempt, asked=asked) for attempt in report.attempts)
        yield "</tbody></table></div>"
    if report.steps:
        shown = "\n".join(report.steps)
        yield f'<h2>Steps of the recipe</h2><div class="card"><pre>{escape(shown)}</pre></div>'


def _log(report: QuantizationReport) -> Iterator[str]:
    if not report.log:
        return
    yield f'<h2>What the steps did</h2><details class="card"><summary>{len(report.log)} notes</summary>'
    yield '<div class="scroll"><table><thead><tr><th>step</th><th>of</th><th>note</th></tr></thead><tbody>'
    for note in report.log:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in note.figures.items())
        told = "; ".join(filter(None, (note.text, figures)))
        yield f'<tr><td>{escape(note.step)}</td><td class="name">{escape(note.subject)}</td>'
        yield f"<td>{escape(told)}</td></tr>"
    yield "</tbody></table></div></details>"


def _attempt(attempt: Attempt, *, asked: bool) -> str:
    before, after = attempt.sqnr
    change = decibels(after, " dB") if before is None else f"{decibels(before)} → {decibels(after, ' dB')}"
    value = f'<td class="number">{"" if attempt.value[1] is None else f"{attempt.value[1]:.6g}"}</td>' if asked else ""
    verdict = f'<span class="kept">{attempt.verdict}</span>' if attempt.verdict == "kept" else escape(attempt.verdict)
    return (
        f'<tr><td>{escape(attempt.step)}</td><td class="options">{escape(attempt.options)}</td>'
        f'<td class="number">{attempt.seconds:.1f}</td><td class="number">{change}</td>'
        f"{value}<td>{verdict}</td></tr>"
    )


def _layers(report: QuantizationReport) -> Iterator[str]:
    opened = " open" if len(report.layers) <= _OPEN_UP_TO else ""
    yield f'<h2>Layer by layer</h2><details class="card"{opened}><summary>{len(report.layers)} layers</summary>'
    heads = ("layer", "op", "precision", "SQNR", "", "weight SQNR", "float", "now", "types, or why it is float")
    numbers = ("SQNR", "weight SQNR", "float", "now")
    cells = "".join(f'<th class="number">{head}</th>' if head in numbers else f"<th>{head}</th>" for head in heads)
    yield f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>'
    yield from map(_row, report.layers)
    yield "</tbody></table></div></details>"


def _row(layer: Layer) -> str:
    colour = kind(layer.precision)
    types = "; ".join(filter(None, (layer.activation, layer.weight and f"weight {layer.weight}")))
    sizes = (size(layer.float_bytes), size(layer.bytes)) if layer.float_bytes else ("", "")
    return (
        f'<tr><td class="name">{escape(layer.name)}</td><td>{escape(layer.op)}</td>'
        f'<td class="tag {colour}">{escape(layer.precision)}</td><td class="number">{decibels(layer.sqnr)}</td>'
        f'<td class="{colour}"><div class="meter"><i style="width:{_share(layer.sqnr):.0f}%"></i></div></td>'
        f'<td class="number">{decibels(layer.weight_sqnr)}</td><td class="number">{sizes[0]}</td>'
        f'<td class="number">{sizes[1]}</td><td class="reason">{escape(layer.reason or types)}</td></tr>'
    )


def _share(sqnr: float | None) -> float:
    if sqnr is None or math.isnan(sqnr):
        return 0.0
    return 100 * min(max(sqnr / _FULL, 0.0), 1.0)
