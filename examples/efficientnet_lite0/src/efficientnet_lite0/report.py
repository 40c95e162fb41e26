"""The demo's HTML page: one self-contained file with inline SVG plots."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from deepseek_core.atomic import atomic_write

__all__ = ["Prediction", "RangePlot", "Report"]

INK, ACCENT, SOFT, WARM = "#1f2933", "#2563eb", "#cbd5e1", "#d97706"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One photograph with what both models say.

    Attributes:
        label, float32, int8: ImageNet class indices.
    """

    path: Path
    label: int
    float32: int
    int8: int


@dataclass(frozen=True, slots=True)
class RangePlot:
    """Histogram of an activation and the ranges two calibrators choose.

    Attributes:
        edges: (n + 1,) in real units.
        counts: (n,).
        ranges: calibrator → (low, high).
    """

    name: str
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows.

    Attributes:
        summary: rows of the headline table: (measure, fp32, int8, note).
        facts: provenance lines: label → text.
        sqnr: (tensor, dB) in topological order.
        latency: label → milliseconds of every repeat.
        kernels: kernel → number of units.
        ranges: activations to plot.
        predictions: photographs of the evaluation set.
    """

    summary: Sequence[tuple[str, str, str, str]]
    facts: Mapping[str, str]
    sqnr: Sequence[tuple[str, float]]
    latency: Mapping[str, Sequence[float]]
    kernels: Mapping[str, int]
    ranges: Sequence[RangePlot]
    predictions: Sequence[Prediction]

    def save(self, path: Path) -> None:
        """Write the page atomically."""
        text = Template(_PAGE).substitute(
            summary="".join(_row(row) for row in self.summary),
            facts="".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in self.facts.items()),
            latency=_svg(self._plot_latency, 5.2, 2.4),
            sqnr=_svg(self._plot_sqnr, 11, 3.2),
            kernels=_svg(self._plot_kernels, 5.2, 2.4),
            ranges="".join(_svg(lambda axes, p=plot: _plot_range(axes, p), 5.4, 2.7) for plot in self.ranges),
            photos="".join(_figure(p) for p in self.predictions),
        )
        with atomic_write(path) as file:
            file.write(text.encode())

    def _plot_latency(self, axes: Axes) -> None:
        labels = list(self.latency)
        medians = [float(np.median(self.latency[label])) for label in labels]
        spread = [np.percentile(self.latency[label], (25, 75)) for label in labels]
        error = np.abs(np.array(spread).T - medians)
        axes.barh(labels, medians, xerr=error, color=[SOFT, ACCENT], height=0.55, error_kw={"ecolor": INK, "lw": 1})
        for y, value in enumerate(medians):
            axes.text(value * 0.03, y, f"{value:.1f} ms", va="center", color=INK, weight="bold")
        axes.set_xlabel("milliseconds per photograph (median, quartiles)")
        axes.invert_yaxis()

    def _plot_sqnr(self, axes: Axes) -> None:
        values = [db for _, db in self.sqnr]
        axes.bar(range(len(values)), values, color=ACCENT, width=0.8)
        worst = int(np.argmin(values))
        axes.bar([worst], [values[worst]], color=WARM, width=0.8)
        axes.annotate(
            f"{self.sqnr[worst][0]}: {values[worst]:.1f} dB",
            (worst, values[worst]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color=WARM,
        )
        axes.set(xlabel="tensor, in order of execution", ylabel="SQNR, dB")

    def _plot_kernels(self, axes: Axes) -> None:
        names = list(self.kernels)
        axes.barh(names, [self.kernels[n] for n in names], color=[ACCENT, WARM, SOFT][: len(names)], height=0.55)
        for y, name in enumerate(names):
            axes.text(self.kernels[name], y, f" {self.kernels[name]}", va="center", color=INK)
        axes.set_xlabel("units")
        axes.invert_yaxis()


def _plot_range(axes: Axes, plot: RangePlot) -> None:
    axes.stairs(plot.counts + 1, plot.edges, fill=True, color=SOFT)
    axes.set_yscale("log")
    for (name, (low, high)), color in zip(plot.ranges.items(), (WARM, ACCENT, INK), strict=False):
        for x, label in ((low, None), (high, f"{name} {high:.3g}")):
            axes.axvline(x, color=color, lw=1.6, ls="--" if color == WARM else "-", label=label)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(plot.name, fontsize=9, color=INK)
    axes.set(xlabel="value", ylabel="count + 1")


def _svg(draw: object, width: float, height: float) -> str:
    with mpl.rc_context({"svg.hashsalt": "deepseek", "font.size": 9, "axes.edgecolor": SOFT, "text.color": INK}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        draw(axes)  # type: ignore[operator]
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return f'<div class="plot">{text[text.index("<svg") :]}</div>'


def _row(row: tuple[str, str, str, str]) -> str:
    first, *others = (html.escape(cell) for cell in row)
    return f"<tr><th>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in others) + "</tr>"


def _figure(prediction: Prediction) -> str:
    with Image.open(prediction.path) as picture:
        thumb = picture.convert("RGB")
        thumb.thumbnail((132, 132))
        buffer = io.BytesIO()
        thumb.save(buffer, "JPEG", quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    right = prediction.int8 == prediction.label
    same = prediction.int8 == prediction.float32
    verdict = "right" if right else "wrong"
    note = f"int8: {prediction.int8} ({verdict}{'' if same else f', fp32 said {prediction.float32}'})"
    return (
        f'<figure class="{verdict}"><img alt="class {prediction.label}" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>class {prediction.label}<br>{note}</figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>DeepSeek: EfficientNet-Lite0 in INT8</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
p.lead { color: #52606d; margin-top: 0 }
table { border-collapse: collapse; width: 100% } td, th { padding: .45rem .8rem; text-align: left }
tr { border-bottom: 1px solid #e4e7eb } thead th { color: #52606d; font-weight: 600 } td { font-variant-numeric: tabular-nums }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; color: #52606d } dd { margin: 0; overflow-wrap: anywhere }
.row { display: flex; flex-wrap: wrap; gap: 1rem } .plot svg { max-width: 100%; height: auto }
.photos { display: flex; flex-wrap: wrap; gap: .6rem } figure { margin: 0; width: 136px; font-size: 11px; line-height: 1.3 }
figure img { width: 132px; height: 100px; object-fit: cover; border: 2px solid #16a34a; border-radius: 6px }
figure.wrong img { border-color: #dc2626 }
</style>
<h1>EfficientNet-Lite0 in INT8</h1>
<p class="lead">Imported, calibrated, placed, compiled for the CPU and run on photographs it was not calibrated on.</p>
<table><thead><tr><th></th><th>fp32</th><th>int8</th><th></th></tr></thead><tbody>$summary</tbody></table>
<div class="row"><section><h2>Latency</h2>$latency</section><section><h2>Kernels chosen</h2>$kernels</section></div>
<h2>Signal to quantization noise, tensor by tensor</h2>$sqnr
<h2>Where calibration cuts</h2><div class="row">$ranges</div>
<h2>Photographs</h2><div class="photos">$photos</div>
<h2>How this was obtained</h2><dl>$facts</dl>
</html>
"""
