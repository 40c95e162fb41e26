"""The demo's HTML page: one self-contained file with inline SVG plots."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
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

SQNR_CEILING = 80.0
"""dB drawn at most; tensors that are equal have none."""
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
        text = Template(files(__package__).joinpath("page.html").read_text()).substitute(
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
        values = [min(db, SQNR_CEILING) for _, db in self.sqnr]
        axes.bar(range(len(values)), values, color=ACCENT, width=0.8)
        worst = int(np.argmin(values))
        axes.bar([worst], [values[worst]], color=WARM, width=0.8)
        axes.annotate(
            f"{self.sqnr[worst][0]}: {values[worst]:.1f} dB",
            (worst, values[worst]),
            xytext=(0, 40),
            textcoords="offset points",
            ha="center",
            color=WARM,
            arrowprops={"arrowstyle": "-", "color": WARM},
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
