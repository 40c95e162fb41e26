"""`deepseek quantize` of the toolkit: the core's, with a search for the recipe, a report and an accuracy budget."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import size
from deepseek_core.cli.options import FILE, key_bytes
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.quantize import calibrator_options, quantize_options, render_skipped, result_json

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek.quantization import QuantizedNetwork
    from deepseek_core.data import ImageOptions

__all__ = ["command"]

SHORT = 3
"""Exit code of a result that misses the budget."""

_PRECISIONS = ("int8", "int4", "w4a8", "w8a16", "fp8", "mixed")


@click.command(name="quantize")
@quantize_options(calib_required=False, method_default=None)
@click.option("--bits", type=click.Choice(["8", "4"]), default="8", show_default=True, help="Of the weights.")
@click.option(
    "--precision", type=click.Choice(_PRECISIONS), help="Types of weights and activations.  [default: by --bits]"
)
@click.option(
    "--recipe",
    metavar="auto|plain|FILE",
    help="Search for a recipe, do without steps, or run the one in a .toml or .json file.  [default: auto]",
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="Of the search, where no limit says when to stop.",
)
@click.option("--save-recipe", type=FILE, metavar="FILE", help="Write the recipe that was used, .toml or .json.")
@click.option("--config", metavar="JSON", help="Settings of the result, over those of DS_CONFIG.")
@click.option("--evaluate", type=FILE, metavar="DIR", help="Labelled samples to measure accuracy on.")
@click.option("--max-drop", type=float, metavar="PERCENT", help="Accuracy that may be lost, in points.")
@click.option("--min-sqnr", type=float, metavar="DB", help="Least signal-to-noise ratio of the outputs.")
@click.option("--min-agreement", type=float, metavar="PERCENT", help="Least share of decisions as in float.")
@click.option("--resume", type=FILE, metavar="DIR", help="Keep results of trials there, and go on from them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@click.option("--report", type=FILE, metavar="FILE", help="Write the report, .html or .json.")
@click.option("--onnx", type=FILE, metavar="FILE", help="Write the model as ONNX with Q and DQ nodes, too.")
@reporting
def command(model: Path, output: Path, sign: Path | None, **options: Any) -> Report:
    """Quantize MODEL, a float ONNX model, calibrated on what is in DIR; without, on made-up data."""
    from deepseek_core.atomic import check_writable
    from deepseek_core.package import Package

    further = {"report": options["report"], "onnx": options["onnx"], "recipe": options["save_recipe"]}
    for path in (output, *filter(None, further.values())):
        check_writable(path)
    key = key_bytes(sign)
    result = _quantized(model, options)
    Package(result.model).save(output, key)
    if further["report"] is not None:
        result.report.save(further["report"])
    if further["onnx"] is not None:
        result.to_onnx(further["onnx"])
    if further["recipe"] is not None:
        result.recipe.save(further["recipe"])
    written = {name: str(path) for name, path in further.items() if path is not None}
    return _report(model, output, result, written)


def _quantized(model: Path, options: dict[str, Any]) -> QuantizedNetwork:
    from deepseek.quantization import Folder, Quantizer, QuantizerConfig
    from deepseek_core.ir.frontend import load_model

    source = load_model(model)
    images = _images(options)
    calibration = None if options["calib"] is None else Folder(options["calib"], images, options["limit"])
    drop, agreement = options["max_drop"], options["min_agreement"]
    return Quantizer(
        source,
        int(options["bits"]),
        options["method"],
        calibration=calibration,
        precision=options["precision"],
        targets=options["targets"] or None,
        max_drop=None if drop is None else drop / 100,
        evaluate=_measure(source.inputs, images, options),
        min_sqnr=options["min_sqnr"],
        min_agreement=None if agreement is None else agreement / 100,
        effort=options["effort"],
        recipe=options["recipe"],
        config=None if options["config"] is None else QuantizerConfig.parse(options["config"]),
        method_options=calibrator_options(options["settings"]),
        resume=options["resume"],
        seed=options["seed"],
        name=model.stem,
    ).optimize()


def _images(options: dict[str, Any]) -> ImageOptions:
    from deepseek_core.data import ImageOptions

    return ImageOptions(*(options[name] for name in ("mean", "std", "size", "resize", "layout")))


def _measure(inputs: Any, images: ImageOptions, options: dict[str, Any]) -> Any:
    from deepseek.quantization import Folder
    from deepseek.quantization.data.labelled import Labelled, refuse_overlap

    if options["evaluate"] is None:
        return None
    if options["calib"] is not None:
        refuse_overlap(options["calib"], options["evaluate"], inputs)
    return Labelled(Folder(options["evaluate"], images)).accuracy(inputs)


def _report(model: Path, output: Path, result: QuantizedNetwork, written: dict[str, str]) -> Report:
    report = result.report
    figures = report.to_json()
    shown = ("sqnr", "outputs", "agreement", "precision", "reference", "value", "shortfall", "notes", "seconds")
    data = {
        **result_json(model, output, result.model, report.samples),
        **{name: figures[name] for name in shown},
        "recipe": result.recipe.to_json(),
        "attempts": figures["attempts"],
        "layers": figures["layers"],
        "written": written,
    }
    return Report(data, partial(_render, data, result), SHORT if report.shortfall else 0)


def _render(data: dict[str, Any], result: QuantizedNetwork, console: Console) -> None:
    from deepseek.quantization.report.figures import decibels

    report = result.report
    console.print(
        f"{data['output']}: {data['quantized_units']} of {data['units']} units quantized on {data['samples']} samples, "
        f"{size(data['source_bytes'])} → {size(data['bytes'])}"
    )
    steps = ", ".join(report.steps) or "none"
    console.print(f"ranges by {result.recipe.calibrator.method}; steps: {steps}; {report.seconds:.0f} s")
    outputs = ", ".join(f"{name} {decibels(sqnr, ' dB')}" for name, sqnr in report.outputs.items())
    console.print(f"against float: {outputs or 'no float output'}, {report.agreement:.1%} equal decisions")
    if report.value is not None and report.reference is not None:
        console.print(f"accuracy: {report.reference:.2%} in float, {report.value:.2%} quantized")
    for note in report.notes:
        console.print(f"note: {note}")
    for name, path in data["written"].items():
        console.print(f"{name}: {path}")
    _render_attempts(report, console)
    render_skipped(data["skipped"], console)
    if report.shortfall:
        console.print(f"the budget is missed: {report.shortfall}; this is the best that was found")


def _render_attempts(report: Any, console: Console) -> None:
    if not report.attempts:
        return
    from deepseek.quantization.report.figures import decibels

    rows = table("tried", "options", ">seconds", ">SQNR", "verdict")
    for attempt in report.attempts:
        after = attempt.sqnr[1]
        rows.add_row(
            attempt.step,
            attempt.options,
            f"{attempt.seconds:.1f}",
            decibels(after, " dB") if after is not None else "",
            attempt.verdict,
        )
    console.print(rows)
