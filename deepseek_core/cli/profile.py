"""`deepseek profile`: measure a model's units, parts and transfers here, for `plan` and `compile` to rest on."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.options import FILE, inputs_option
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from deepseek_core.ir import QuantizedModel
    from deepseek_core.profile import Findings, LinkFinding

__all__ = ["command"]


@click.command(name="profile")
@click.argument("file", type=FILE)
@click.option("--targets", required=True, metavar="A,B,…", help="What to measure.")
@inputs_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of made-up inputs, where no file is given.")
@click.option("--threads", type=click.IntRange(0), default=0, metavar="N", help="Threads to measure with.")
@click.option("--fresh", is_flag=True, help="Measure again what was measured before.")
@reporting
def command(file: Path, targets: str, threads: int, fresh: bool, **chosen: Any) -> Report:
    """Time the units of FILE, a model or .ds package, on each target that is here, and the transfers between them."""
    from deepseek_core.files import open_file
    from deepseek_core.options import CompileOptions
    from deepseek_core.partition import Profile
    from deepseek_core.profile import run_profile
    from deepseek_core.registry import discover

    registry = discover()
    resolved = [registry.resolve(target) for target in targets.split(",") if target.strip()]
    model = open_file(file).model
    feeds = _feeds(model, chosen)
    profile = Profile.of_user(threads)
    with progress_bar() as progress:
        options = CompileOptions(threads=threads, progress=progress)
        found = run_profile(model, resolved, feeds, registry, profile, options=options, fresh=fresh)
    return Report(_json(found), partial(_render, found))


def _feeds(model: QuantizedModel, chosen: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """What is given, or made-up inputs of the shapes that calibration saw."""
    from deepseek_core.data import random_feeds, read_feeds

    if chosen["inputs"]:
        return read_feeds(chosen["inputs"], model.inputs)
    shapes = model.metadata.get("sample_shapes")
    seen = shapes if isinstance(shapes, dict) else {}
    infos = [replace(i, shape=tuple(seen[i.name])) if i.name in seen else i for i in model.inputs]
    return random_feeds(infos, chosen["seed"])


def _json(found: Findings) -> dict[str, object]:
    return {
        "targets": [{**asdict(t), "target": str(t.target)} for t in found.targets],
        "links": [
            {
                "from": str(link.source),
                "to": str(link.to),
                "latency": link.latency,
                "second_per_byte": link.second_per_byte,
                "samples": [list(sample) for sample in link.samples],
            }
            for link in found.links
        ],
        "parts": [{**asdict(p), "target": str(p.target)} for p in found.parts],
    }


def _speed(link: LinkFinding) -> str:
    if link.second_per_byte is None:
        return "not measured: small tensors only"
    return f"{1e-9 / link.second_per_byte:.3g} GB/s" if link.second_per_byte > 0 else "not limiting"


def _render(found: Findings, console: Console) -> None:
    from deepseek_core.plan.words import amount

    rows = table("target", ">measured", ">known", ">failed", ">launch", "")
    for t in found.targets:
        launch = "–" if t.launch is None else amount(t.launch)
        failed = t.failed or {}
        first = next((f"{unit}: {reason}" for unit, reason in failed.items()), "")
        rows.add_row(str(t.target), str(t.measured), str(t.known), str(len(failed)), launch, t.absent or first)
    console.print(rows)
    if found.links:
        rows = table("from", "to", ">latency", ">bandwidth", ">tensors")
        for link in found.links:
            rows.add_row(str(link.source), str(link.to), amount(link.latency), _speed(link), str(len(link.samples)))
        console.print(rows)
    rows = table("part", "target", ">units", ">predicted", ">measured")
    for number, part in enumerate(found.parts):
        measured = amount(part.measured) if part.measured is not None else f"failed: {part.failed}"
        figures = (str(part.units), amount(part.predicted), measured)
        rows.add_row(str(number), str(part.target), *figures)
    console.print(rows)
    console.print("kept for this user; `deepseek plan` and `deepseek compile` rest on it from now on")
