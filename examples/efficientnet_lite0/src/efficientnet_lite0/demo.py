"""The main job end to end: import → quantize → place → compile → run, then a table and an HTML page.

    python -m efficientnet_lite0.demo [--photos DIR] [--output DIR] [--method entropy] [--json FILE]

Without `--photos` it uses the 20 photographs of the foolbox wheel, half to calibrate and half to judge.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deepseek_core.atomic import atomic_write
from deepseek_core.calibration import Calibration, TensorStats, activation_qparams
from deepseek_core.diff import compare
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.package import Package
from deepseek_core.pipeline import calibrate, compile, float_model, recipe_for
from deepseek_core.quantize import apply_recipe
from deepseek_core.recipe import CalibratorSpec, Recipe, TensorRecipe
from deepseek_core.runtime import Session
from efficientnet_lite0.model import export
from efficientnet_lite0.photos import Photo, foolbox_photos, load_folder, samples, split
from efficientnet_lite0.report import Prediction, RangePlot, Report

__all__ = ["main"]

CALIBRATION_PHOTOS = 100
LATENCY_BLOCKS, LATENCY_REPEATS = 12, 8


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    console = Console()
    photos = load_folder(options.photos) if options.photos else foolbox_photos()
    chosen, judged = split(photos, min(CALIBRATION_PHOTOS, len(photos) // 2))
    console.print(f"{len(chosen)} photographs calibrate, {len(judged)} others judge")
    source = export(options.output / "efficientnet_lite0.onnx")
    package, calibration, recipe, prepared = _build(source, chosen, options.method, console)
    package.save(options.output / "efficientnet_lite0.int8.ds")
    float_package = compile(prepared, ["cpu"], options=CompileOptions(threads=1))
    float_package.save(options.output / "efficientnet_lite0.fp32.ds")

    with Session(float_package) as float_session, Session(package) as session:
        sessions = {"fp32": float_session, "int8": session}
        logits = {name: _predict(s, judged) for name, s in sessions.items()}
        times = _latency(sessions, judged[0])
        facts = _facts(package, session, chosen, judged, options.method)
    sizes = {name: (options.output / f"efficientnet_lite0.{name}.ds").stat().st_size / 1e6 for name in times}
    figures = _figures(logits, judged, times, sizes)
    summary = _summary(figures)
    page = options.output / "report.html"
    Report(
        summary=summary,
        facts=facts,
        sqnr=_sqnr(prepared, package, chosen),
        latency=times,
        kernels=dict(Counter(_kernels(package)).most_common()),
        ranges=_range_plots(calibration, recipe),
        predictions=[
            Prediction(p.path, p.label, int(a.argmax()), int(b.argmax()))
            for p, a, b in zip(judged[:24], logits["fp32"], logits["int8"], strict=False)
        ],
    ).save(page)
    _print(console, summary, page)
    if options.json:
        with atomic_write(options.json) as file:
            file.write(json.dumps(figures, indent=2).encode())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder with photographs and labels.csv")
    parser.add_argument("--output", type=Path, default=Path("out"), help="where the packages and the page go")
    parser.add_argument("--method", default="entropy", help="calibrator: entropy, minmax, percentile, mse")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args(arguments)


def _build(
    source: Path, photos: Sequence[Photo], method: str, console: Console
) -> tuple[Package, Calibration, Recipe, QuantizedModel]:
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("import", total=1.0)

        def progress(what: str, fraction: float) -> None:
            bars.update(task, description=what, completed=fraction)

        prepared = float_model(source)
        recipe = recipe_for(prepared, ["cpu"], calibrator=CalibratorSpec(method))
        calibration = calibrate(prepared, recipe, samples(photos), progress=progress)
        quantized = apply_recipe(prepared, recipe, calibration)
        package = compile(quantized, ["cpu"], options=CompileOptions(threads=1, progress=progress))
    return package, calibration, recipe, prepared


def _predict(session: Session, photos: Sequence[Photo]) -> NDArray[np.float32]:
    return np.concatenate([session.run(feeds)["logits"] for feeds in samples(photos)])


def _latency(sessions: dict[str, Session], photo: Photo) -> dict[str, list[float]]:
    """Milliseconds of single runs, in blocks that take turns, so that a drifting machine slows all models alike."""
    (feeds,) = samples([photo])
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(LATENCY_BLOCKS):
        for name, session in sessions.items():
            time.sleep(0.02)  # the other session's threads spin on for a while after their last run
            for repeat in range(LATENCY_REPEATS + 2):
                start = time.perf_counter()
                session.run(feeds)
                if repeat >= 2:  # the first runs of a block warm the caches up
                    times[name].append((time.perf_counter() - start) * 1e3)
    return times


def _top1(logits: NDArray[np.float32], photos: Sequence[Photo]) -> float:
    return float(np.mean(logits.argmax(1) == [photo.label for photo in photos]))


def _figures(
    logits: dict[str, NDArray[np.float32]],
    photos: Sequence[Photo],
    times: dict[str, list[float]],
    sizes: dict[str, float],
) -> dict[str, object]:
    same = logits["fp32"].argmax(1) == logits["int8"].argmax(1)
    medians = {name: statistics.median(values) for name, values in times.items()}
    noise = np.square(logits["fp32"] - logits["int8"]).sum()
    return {
        "photographs": len(photos),
        "top1": {name: _top1(values, photos) for name, values in logits.items()},
        "agreement": float(same.mean()),
        "sqnr_db": float(10 * np.log10(np.square(logits["fp32"]).sum() / max(noise, 1e-30))),
        "latency_ms": medians,
        "speedup": medians["fp32"] / medians["int8"],
        "size_mb": sizes,
    }


def _summary(figures: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    top1, latency, size = figures["top1"], figures["latency_ms"], figures["size_mb"]
    return [
        (
            "top-1 accuracy",
            f"{top1['fp32']:.1%}",
            f"{top1['int8']:.1%}",
            f"{figures['photographs']} photographs, {figures['agreement']:.1%} predicted alike",
        ),
        (
            "latency",
            f"{latency['fp32']:.1f} ms",
            f"{latency['int8']:.1f} ms",
            f"{figures['speedup']:.2f}x, one thread, medians of {LATENCY_BLOCKS * LATENCY_REPEATS} runs",
        ),
        (
            "package size",
            f"{size['fp32']:.1f} MB",
            f"{size['int8']:.1f} MB",
            f"{size['fp32'] / size['int8']:.2f}x smaller",
        ),
        ("output SQNR", "", f"{figures['sqnr_db']:.1f} dB", "logits against fp32"),
    ]


def _facts(
    package: Package, session: Session, chosen: Sequence[Photo], judged: Sequence[Photo], method: str
) -> dict[str, str]:
    facts = {
        "device": ", ".join(sorted(set(session.devices))),
        "tier": ", ".join(sorted({str(tier) for tier in session.tiers})),
        "calibration": f"{method} on {len(chosen)} photographs, none of which is among the {len(judged)} judged",
        "toolchain": ", ".join(f"{k} {v}" for a in package.artifacts for k, v in sorted(a.toolchain.items())),
    }
    if package.placement is not None:
        cost = package.placement.cost
        facts["predicted cost"] = f"{cost.seconds * 1e3:.1f} ms ({cost.basis})"
    return facts


def _kernels(package: Package) -> list[str]:
    """Kernel of every unit, from the artifacts' reports."""
    reports: list[Any] = [a.report["kernels"] for a in package.artifacts]
    return [entry["kernel"] for report in reports for entry in report.values()]


def _sqnr(prepared: QuantizedModel, package: Package, photos: Sequence[Photo]) -> list[tuple[str, float]]:
    (feeds,) = samples(photos[:1])
    return [(t.name, t.sqnr) for t in compare(prepared, package.model, [feeds]).tensors]


def _range_plots(calibration: Calibration, recipe: Recipe) -> list[RangePlot]:
    """The activations whose range the calibrator cuts most, beside what min-max would take."""
    found = []
    for name, tensor in recipe.activations.items():
        stats = calibration[name]
        spans = {}
        for method in ("minmax", tensor.calibrator.method):
            params = activation_qparams(stats, TensorRecipe(tensor.scheme, CalibratorSpec(method)))
            codes = np.array([tensor.scheme.qmin, tensor.scheme.qmax]) - float(params.zero_point)
            low, high = codes * float(params.scale)
            spans[method] = (float(low), float(high))
        kept = (spans[tensor.calibrator.method][1] - spans[tensor.calibrator.method][0]) / (
            spans["minmax"][1] - spans["minmax"][0]
        )
        found.append((kept, RangePlot(name, *_histogram(stats), spans)))
    return [plot for _, plot in sorted(found, key=lambda pair: pair[0])[:4]]


def _histogram(stats: TensorStats, bars: int = 128) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(edges, counts) of about `bars` bars over the values that occurred."""
    counts = stats.ascending()
    used = np.flatnonzero(counts)
    step = max(1, (used[-1] - used[0] + 1) // bars)
    starts = np.arange(used[0], used[-1] + 1, step)
    edges = (np.append(starts, starts[-1] + step) - len(counts) // 2) * stats.width
    return edges, np.add.reduceat(counts, starts)


def _print(console: Console, summary: Sequence[tuple[str, str, str, str]], page: Path) -> None:
    table = Table(title="EfficientNet-Lite0 on the CPU", title_justify="left")
    for heading in ("", "fp32", "int8", ""):
        table.add_column(heading)
    for row in summary:
        table.add_row(*row)
    console.print(table)
    console.print(f"report: {page}")


if __name__ == "__main__":
    main()
