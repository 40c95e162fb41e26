"""`deepseek quantize`: a float model and calibration data become a quantized model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import size
from deepseek_core.cli.options import FILE, assignment, key_bytes, samples_of, samples_options
from deepseek_core.cli.output import Report, reporting
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.ir import QuantizedModel

__all__ = ["calibrator_options", "command", "quantize_options", "render_skipped", "result_json"]

METHODS = ("entropy", "kl_divergence", "minmax", "mse", "percentile")

_NAMED = 3
"""Units that are named of those that share a reason."""

_Command = Callable[..., Any]


def quantize_options(*, calib_required: bool, method_default: str | None) -> Callable[[_Command], _Command]:
    """What every `deepseek quantize` takes: the model, its samples, the method, the targets, and where to write."""
    options = (
        click.argument("model", type=FILE),
        click.option(
            "--calib", type=FILE, required=calib_required, metavar="DIR", help="Folder or file of .npy, .npz or images."
        ),
        click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The .ds file to write."),
        click.option(
            "--method",
            default=method_default,
            show_default=method_default is not None,
            metavar="NAME",
            help=f"{', '.join(METHODS)}, or a backend's.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", callback=assignment, help="Option of the method."
        ),
        click.option(
            "--target",
            "targets",
            multiple=True,
            metavar="T",
            help="Whose rules decide, preferred first.  [default: cpu]",
        ),
        samples_options,
        click.option("--sign", type=FILE, metavar="PEM", help="Ed25519 private key to sign the package with."),
    )

    def decorate(function: _Command) -> _Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def calibrator_options(settings: dict[str, str]) -> dict[str, float | int | str]:
    """Options of a calibrator from `--set`: numbers where they are some."""
    return {key: _number(value) for key, value in settings.items()}


@click.command(name="quantize")
@quantize_options(calib_required=True, method_default="entropy")
@reporting
def command(model: Path, output: Path, sign: Path | None, **options: Any) -> Report:
    """Quantize MODEL, a float ONNX model, calibrated on what is in DIR."""
    from deepseek_core.atomic import check_writable
    from deepseek_core.package import Package
    from deepseek_core.pipeline import float_model, quantize
    from deepseek_core.recipe import CalibratorSpec

    check_writable(output)
    key = key_bytes(sign)
    prepared = float_model(model)
    samples = samples_of(options["calib"], prepared.inputs, options)
    spec = CalibratorSpec(options["method"], tuple(sorted(calibrator_options(options["settings"]).items())))
    with progress_bar() as progress:
        targets = options["targets"] or ("cpu",)
        result = quantize(prepared, samples, targets=targets, calibrator=spec, progress=progress)
    Package(result).save(output, key)
    data = result_json(model, output, result, len(samples))
    return Report(data, partial(_render, data))


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def result_json(model: Path, output: Path, result: QuantizedModel, samples: int) -> dict[str, Any]:
    """What a quantization gave, for programs.

    Args:
        model: the source, a file.
        output: the package, a file.
        samples: how many it was calibrated on.
    """
    from deepseek_core.summary import summarize

    summary = summarize(result)
    units = summary.units - summary.conversions
    recipe: Any = result.metadata.get("recipe", {})
    skipped = dict(recipe.get("skipped", {}))
    return {
        "output": str(output),
        "bytes": output.stat().st_size,
        "source_bytes": model.stat().st_size,
        "samples": samples,
        "units": units,
        "quantized_units": units - len(skipped),
        "skipped": skipped,
    }


def _render(data: dict[str, Any], console: Console) -> None:
    console.print(
        f"{data['output']}: {data['quantized_units']} of {data['units']} units quantized on {data['samples']} samples, "
        f"{size(data['source_bytes'])} → {size(data['bytes'])}"
    )
    render_skipped(data["skipped"], console)


def render_skipped(skipped: Mapping[str, str], console: Console) -> None:
    """What stays in float, a line for each reason; `--json` and the report have every name."""
    reasons: dict[str, list[str]] = {}
    for unit, reason in skipped.items():
        reasons.setdefault(reason, []).append(unit)
    for reason, units in reasons.items():
        others = f" and {len(units) - _NAMED} more" if len(units) > _NAMED else ""
        stay = "stays" if len(units) == 1 else "stay"
        console.print(f"  {', '.join(units[:_NAMED])}{others} {stay} in float: {reason}")
