"""`deepseek compile`: place a model on targets and build an artifact for each part."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import seconds, size, units_by_target
from deepseek_core.cli.options import FILE, assignment, key_bytes
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.placing import gates_of, placement_options, profile_of, solver_of
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.package import Package

__all__ = ["command"]

SHOWN_REFUSALS = 12


@click.command(name="compile")
@click.argument("file", type=FILE)
@placement_options
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The .ds file to write.")
@click.option("--optimize", type=click.IntRange(0, 1), default=1, show_default=True, help="0: no search for kernels.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, metavar="N", help="Threads to run with.  [default: the runtime's]"
)
@click.option(
    "--set", "extra", multiple=True, metavar="BACKEND.KEY=VALUE", callback=assignment, help="Option of one backend."
)
@click.option("--sign", type=FILE, metavar="PEM", help="Ed25519 private key to sign the package with.")
@reporting
def command(file: Path, output: Path, sign: Path | None, **chosen: Any) -> Report:
    """Compile FILE, a quantized .ds or an ONNX model, for one target or several."""
    from deepseek_core.atomic import check_writable
    from deepseek_core.files import open_file
    from deepseek_core.options import CompileOptions
    from deepseek_core.pipeline import compile as compile_model
    from deepseek_core.registry import discover

    check_writable(output)
    key = key_bytes(sign)
    registry = discover()
    gates, solver = gates_of(chosen, registry), solver_of(chosen, registry)
    model = open_file(file).model
    with progress_bar() as progress:
        options = CompileOptions(chosen["optimize"], chosen["threads"], extra=chosen["extra"], progress=progress)
        package = compile_model(
            model,
            chosen["targets"],
            options=options,
            pins=chosen["pins"],
            solver=solver,
            gates=gates,
            profile=profile_of(chosen, chosen["threads"]),
        )
    package.save(output, key)
    return Report(_json(package, output), partial(_render, package, output))


def _json(package: Package, output: Path) -> dict[str, object]:
    placement = package.placement
    assert placement is not None
    cost = placement.cost
    return {
        "output": str(output),
        "bytes": output.stat().st_size,
        "units": {name: str(target) for name, target in placement.units.items()},
        "parts": [
            {"target": str(a.target), "units": list(units), "bytes": len(a.payload), "report": dict(a.report)}
            for units, a in zip(placement.parts, package.artifacts, strict=True)
        ],
        "refusals": [
            {"target": str(r.target), "unit": r.unit, "reason": r.reason, "change": r.change or None}
            for r in placement.refusals
        ],
        "optimality": None if placement.optimality is None else asdict(placement.optimality),
        "cost": {"seconds": cost.seconds, "bytes": cost.bytes, "basis": cost.basis, "gap": placement.gap},
    }


def _render(package: Package, output: Path, console: Console) -> None:
    placement = package.placement
    assert placement is not None
    shares = ", ".join(f"{number} units on {target}" for target, number in units_by_target(placement).items())
    cost = placement.cost
    console.print(
        f"{output}  {size(output.stat().st_size)}: {shares}; predicted {seconds(cost.seconds)} ({cost.basis})"
    )
    rows = table("part", "target", ">units", "format", ">size")
    for number, (units, artifact) in enumerate(zip(placement.parts, package.artifacts, strict=True)):
        rows.add_row(str(number), str(artifact.target), str(len(units)), artifact.format, size(len(artifact.payload)))
    console.print(rows)
    found = placement.optimality
    if found is not None and found.gap is not None:
        near = "no placement is better" if found.gap <= 1e-9 else f"at most {100 * found.gap:.2g} % above the best"
        console.print(f"{found.objective} {near} under these costs ({found.proof}); `deepseek plan` explains it")
    for refusal in placement.refusals[:SHOWN_REFUSALS]:
        console.print(f"  {refusal.target} refuses {refusal.unit}: {refusal.reason}")
    if len(placement.refusals) > SHOWN_REFUSALS:
        console.print(f"  … and {len(placement.refusals) - SHOWN_REFUSALS} more; --json has all")
