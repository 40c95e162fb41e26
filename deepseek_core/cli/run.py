"""`deepseek run`: one inference."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import dims, tensor_json
from deepseek_core.cli.options import FILE, inputs_option, key_bytes, public_key_option
from deepseek_core.cli.output import Report, reporting, table

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.runtime import Fallback, PartInfo

__all__ = ["command", "part_json"]


@click.command(name="run")
@click.argument("file", type=FILE)
@inputs_option
@click.option("--random", is_flag=True, help="Make inputs up where no file is given.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of made-up inputs.")
@click.option("-o", "--output", type=FILE, metavar="PATH", help="A folder, a .npz, or a .npy for a single output.")
@click.option("--device", metavar="NAME", help="Which of several devices.  [default: each backend's own choice]")
@click.option(
    "--fallback",
    metavar="A,B,…",
    help="Where units of an absent or failing device may go.",
)
@public_key_option
@reporting
def command(file: Path, output: Path | None, public_key: Path | None, **chosen: Any) -> Report:
    """Run FILE, a compiled .ds package or an image of deepseek-cross-compile, and say where each part really ran."""
    from deepseek_core.data import random_feeds, read_feeds, save_outputs
    from deepseek_core.files import open_file
    from deepseek_core.image_file import is_program
    from deepseek_core.runtime import Session

    if is_program(file):
        return _image(file, output, **chosen)
    package = open_file(file, key_bytes(public_key))
    fallback = None if chosen["fallback"] is None else [t for t in chosen["fallback"].split(",") if t.strip()]
    with Session(package, device=chosen["device"], fallback=fallback) as session:
        files = chosen["inputs"]
        made_up = chosen["random"] and not files
        feeds = random_feeds(session.inputs, chosen["seed"]) if made_up else read_feeds(files, session.inputs)
        outputs = session.run(feeds)
        parts, lost = session.describe(), session.fallbacks
    written = [] if output is None else save_outputs(outputs, output)
    data = {
        "outputs": [_output_json(name, array) for name, array in outputs.items()],
        "parts": [part_json(part) for part in parts],
        "fallbacks": [_fallback_json(record) for record in lost],
        "written": [str(path) for path in written],
    }
    return Report(data, partial(_render, outputs, parts, lost, written))


def _image(file: Path, output: Path | None, **chosen: Any) -> Report:
    """A stand-alone program, on this machine or on an emulator."""
    from deepseek_core.data import random_feeds, read_feeds, save_outputs
    from deepseek_core.image_file import open_image
    from deepseek_core.registry import discover

    artifact, executable = open_image(file, discover(), chosen["device"])
    try:
        files = chosen["inputs"]
        made_up = chosen["random"] and not files
        feeds = random_feeds(executable.inputs, chosen["seed"]) if made_up else read_feeds(files, executable.inputs)
        outputs = executable.run(feeds)
    finally:
        executable.close()
    where = {"target": str(artifact.target), "device": executable.device, "tier": str(executable.tier)}
    written = [] if output is None else save_outputs(outputs, output)
    data = {
        "outputs": [_output_json(name, array) for name, array in outputs.items()],
        "image": where,
        "written": [str(path) for path in written],
    }
    return Report(data, partial(_render_image, outputs, where, written))


def _render_image(outputs: dict[str, Any], where: dict[str, str], written: list[Path], console: Console) -> None:
    _render(outputs, (), (), [], console)
    console.print(f"image for {where['target']}, {where['device']} ({where['tier']})")
    for path in written:
        console.print(f"wrote {path}")


def _fallback_json(record: Fallback) -> dict[str, object]:
    return {
        "part": record.part,
        "lost": str(record.lost),
        "device": record.device or None,
        "reason": record.reason,
        "units": {unit: str(target) for unit, target in record.units.items()},
    }


def part_json(part: PartInfo) -> dict[str, object]:
    """One part of a session: where it runs, and how its results are obtained."""
    return {
        "target": str(part.target),
        "device": part.device,
        "tier": str(part.tier),
        "units": list(part.units),
        "inputs": [tensor_json(info) for info in part.inputs],
        "outputs": [tensor_json(info) for info in part.outputs],
        "rebuilt": part.rebuilt,
        "moved": part.moved,
    }


def _output_json(name: str, array: Any) -> dict[str, object]:
    return {"name": name, "dtype": str(array.dtype), "shape": list(array.shape), **_range(array)}


def _range(array: Any) -> dict[str, float | None]:
    from deepseek_core.cli.formats import finite

    if array.size == 0 or array.dtype.kind not in "fiuV":
        return {"min": None, "max": None}
    return {"min": finite(float(array.min())), "max": finite(float(array.max()))}


def _render(
    outputs: dict[str, Any],
    parts: tuple[PartInfo, ...],
    lost: tuple[Fallback, ...],
    written: list[Path],
    console: Console,
) -> None:
    rows = table("output", "type", ">min", ">max")
    for name, array in outputs.items():
        found = _range(array)
        row = ("–" if found[key] is None else f"{found[key]:.6g}" for key in ("min", "max"))
        rows.add_row(name, f"{array.dtype}{dims(array.shape)}", *row)
    console.print(rows)
    for number, part in enumerate(parts):
        console.print(f"part {number}: {len(part.units)} units on {part.target}, {part.device} ({part.tier})")
    for record in lost:
        console.print(f"fallback: {record}")
    for path in written:
        console.print(f"wrote {path}")
