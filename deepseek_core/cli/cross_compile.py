"""`deepseek-cross-compile`: one stand-alone image of a whole model for another machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core import __version__
from deepseek_core.cli.formats import size
from deepseek_core.cli.guard import run_command
from deepseek_core.cli.options import FILE, assignment
from deepseek_core.cli.output import Report, reporting
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.artifact import Artifact

__all__ = ["command", "main"]

_ELF = b"\x7fELF"
"""A file that starts like this is a program."""


def _warn(text: str) -> None:
    click.echo(f"warning: {text}", err=True)


def _shapes(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`x=1,3,224,224` → sizes by input name; the name may be left out."""
    found: dict[str, tuple[int, ...]] = {}
    for value in values:
        name, _, sizes = value.rpartition("=")
        parts = sizes.split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise click.BadParameter(f"'{value}' is no shape; write it as INPUT=1,3,224,224")
        found[name] = tuple(int(part) for part in parts)
    return found


@click.command(name="deepseek-cross-compile", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="deepseek-cross-compile", message="%(prog)s %(version)s")
@click.option("--target", required=True, metavar="TARGET", help="What to build for, such as tensorrt:sm_89.")
@click.option("--model", type=FILE, required=True, metavar="FILE", help="A .ds, an ONNX or a torch model (.pt, .pt2).")
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The image to write.")
@click.option("--format", metavar="NAME", help="Of the formats the target offers.  [default: the first]")
@click.option("--calib", "calibration", type=FILE, metavar="PATH", help="Samples to quantize a float model on.")
@click.option("--float", "keep_float", is_flag=True, help="Build a float model as it is, without quantizing it.")
@click.option(
    "--shape", "shapes", multiple=True, metavar="[INPUT=]N,…", callback=_shapes, help="Fix the shape of an input."
)
@click.option("--optimize", type=click.IntRange(0, 1), default=1, show_default=True, help="0: no search for kernels.")
@click.option(
    "--min-int8", type=click.FloatRange(0, 1), metavar="SHARE", help="Least share of quantized units that run on codes."
)
@click.option(
    "--set", "extra", multiple=True, metavar="BACKEND.KEY=VALUE", callback=assignment, help="Option of the backend."
)
@reporting
def command(target: str, model: Path, output: Path, **chosen: Any) -> Report:
    """Build a stand-alone image of a model for another machine."""
    from deepseek_core.atomic import atomic_write, check_writable
    from deepseek_core.cross import cross_compile
    from deepseek_core.cross_source import prepared_source
    from deepseek_core.options import CompileOptions
    from deepseek_core.readers import read_model
    from deepseek_core.registry import discover

    check_writable(output)
    registry = discover()
    backend, resolved = registry.resolve(target)
    extra = dict(chosen["extra"])
    if chosen["min_int8"] is not None:
        extra[f"{backend.name}.min_int8"] = str(chosen["min_int8"])
    with progress_bar() as progress:
        asked = {name: chosen[name] for name in ("shapes", "calibration", "keep_float")}
        read = read_model(model, chosen["shapes"])
        source = prepared_source(read, resolved, registry, progress=progress, warn=_warn, **asked)
        options = CompileOptions(chosen["optimize"], extra=extra, progress=progress)
        image = cross_compile(source, resolved, registry=registry, format=chosen["format"], options=options)
    with atomic_write(output) as file:
        file.write(image.payload)
    if image.payload.startswith(_ELF):
        output.chmod(output.stat().st_mode | 0o111)
    return Report(_json(image, output), partial(_render, image, output))


def _json(image: Artifact, output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "target": str(image.target),
        "format": image.format,
        "bytes": len(image.payload),
        "sha256": image.sha256,
        "toolchain": dict(image.toolchain),
        "report": dict(image.report),
    }


def _render(image: Artifact, output: Path, console: Console) -> None:
    built = ", ".join(f"{name} {version}" for name, version in image.toolchain.items()) or "no toolchain named"
    console.print(f"{output}  {size(len(image.payload))}: {image.format} for {image.target}, built with {built}")
    proof = image.report.get("int8")
    if isinstance(proof, dict):
        console.print(
            f"{100 * proof['share']:.1f} % of {proof['units']} quantized units run on codes ({proof['source']})"
        )
        for name, reason in {**proof["missed"], **proof["opaque"]}.items():
            console.print(f"  not {name}: {reason}")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; exit codes as for `deepseek`."""
    return run_command(command, "deepseek-cross-compile", args)
