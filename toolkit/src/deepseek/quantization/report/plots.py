"""Plots as SVG; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from deepseek.quantization.report.figures import decibels, size
from deepseek.quantization.report.layers import Layer
from deepseek.quantization.report.spread import Spread

__all__ = ["kind", "noise_plot", "size_plot", "spread_plot"]

_WIDTH, _LEFT, _RIGHT = 1100.0, 58.0, 10.0
_BEST = 60.0
"""dB at the upper end of the scale where everything is better: a ten-thousandth of the signal's amplitude squared."""


def kind(precision: str) -> str:
    """Class of a precision in the style sheet."""
    if precision in ("float16", "bfloat16"):
        return "half"
    if precision.startswith(("float", "other")):
        return "float"
    return "four" if "4" in precision else "fp8" if precision == "fp8" else "int8"


def noise_plot(layers: Sequence[Layer]) -> str:
    """SQNR of each layer's output, in the order of the network."""
    height, top, bottom = 250.0, 12.0, 26.0
    values = [layer.sqnr for layer in layers if layer.sqnr is not None and math.isfinite(layer.sqnr)]
    highest = 10.0 * math.ceil(max((*values, 20.0)) / 10)
    lowest = min(0.0, 10.0 * math.floor(min((*values, 0.0)) / 10))
    highest = max(min(highest, _BEST), lowest + 10)

    def y(value: float) -> float:
        inside = min(max(value, lowest), highest)
        return top + (highest - inside) / (highest - lowest) * (height - top - bottom)

    parts = list(_grid([(y(v), f"{v:.0f} dB") for v in _steps(lowest, highest)]))
    for x, _, layer in _columns(layers):
        if layer.sqnr is None:
            continue
        at, told = y(layer.sqnr), f"{layer.name}: {decibels(layer.sqnr, ' dB')}, {layer.op}, {layer.precision}"
        parts.append(
            f'<g class="{kind(layer.precision)}"><title>{escape(told)}</title>'
            f'<line class="stem" x1="{x:.1f}" y1="{y(lowest):.1f}" x2="{x:.1f}" y2="{at:.1f}"/>'
            f'<circle class="dot" cx="{x:.1f}" cy="{at:.1f}" r="{_radius(len(layers)):.1f}"/></g>'
        )
    return _svg(height, "Signal to noise of each layer", [*parts, *_ends(height, len(layers))])


def size_plot(layers: Sequence[Layer]) -> str:
    """Bytes of each layer's constants before and after, in the order of the network."""
    height, top, bottom = 170.0, 10.0, 26.0
    most = max((layer.float_bytes for layer in layers), default=0) or 1
    scale = (height - top - bottom) / most
    parts = list(_grid([(height - bottom - share * most * scale, size(share * most)) for share in (0.0, 0.5, 1.0)]))
    for x, room, layer in _columns(layers):
        if not layer.float_bytes:
            continue
        told = f"{layer.name}: {size(layer.float_bytes)} → {size(layer.bytes)}, {layer.precision}"
        bars = ((layer.float_bytes, "was"), (layer.bytes, "bar"))
        shown = "".join(_bar(x, room, amount * scale, height - bottom, name) for amount, name in bars)
        parts.append(f'<g class="{kind(layer.precision)}"><title>{escape(told)}</title>{shown}</g>')
    return _svg(height, "Size of each layer before and after", [*parts, *_ends(height, len(layers))])


def spread_plot(spread: Spread) -> str:
    """Histogram of a tensor on a logarithmic scale; what lies beyond the range of its codes has a colour of its own."""
    width, height, bottom = 320.0, 96.0, 16.0
    top = math.log1p(max(spread.counts))
    step = width / len(spread.counts)
    parts = []
    for number, count in enumerate(spread.counts):
        middle = spread.start + (number + 0.5) * spread.width
        side = "inside" if spread.low <= middle <= spread.high else "outside"
        tall = math.log1p(count) / top * (height - bottom - 4) if top else 0.0
        parts.append(
            f'<rect class="{side}" x="{number * step:.2f}" y="{height - bottom - tall:.2f}" '
            f'width="{max(step - 0.6, 0.4):.2f}" height="{tall:.2f}"/>'
        )
    end = spread.start + len(spread.counts) * spread.width
    for edge in (spread.low, spread.high):
        x = (edge - spread.start) / (end - spread.start) * width
        if 0 <= x <= width:
            parts.append(f'<line class="edge" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - bottom}"/>')
    parts.append(f'<text x="0" y="{height - 2}">{spread.start:.3g}</text>')
    parts.append(f'<text x="{width}" y="{height - 2}" text-anchor="end">{end:.3g}</text>')
    label = escape(f"Values of {spread.name}")
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _columns(layers: Sequence[Layer]) -> Iterator[tuple[float, float, Layer]]:
    """(middle, width) of the column of each layer."""
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(layers), 1)
    for number, layer in enumerate(layers):
        yield _LEFT + (number + 0.5) * room, room, layer


def _radius(count: int) -> float:
    return 4.5 if count <= 60 else 3.5 if count <= 150 else 2.5


def _bar(x: float, room: float, tall: float, base: float, name: str) -> str:
    wide = min(max(room * 0.75, 1.0), 40.0)
    return f'<rect class="{name}" x="{x - wide / 2:.1f}" y="{base - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'


def _steps(lowest: float, highest: float) -> Iterable[float]:
    return (float(v) for v in range(round(lowest), round(highest) + 1, 10))


def _grid(lines: Iterable[tuple[float, str]]) -> Iterator[str]:
    for y, told in lines:
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(told)}</text>'


def _ends(height: float, count: int) -> Iterator[str]:
    y = height - 8
    yield f'<text x="{_LEFT}" y="{y}">first layer</text>'
    yield f'<text x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">last of {count}</text>'


def _svg(height: float, label: str, parts: Iterable[str]) -> str:
    view = f"0 0 {_WIDTH:.0f} {height:.0f}"
    return f'<svg viewBox="{view}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
