"""`deepseek diff`: where two models drift apart."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import dims, finite
from deepseek_core.cli.options import FILE, feeds_of, inputs_option, samples_of, samples_options
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.diff import Diff, TensorDiff
    from deepseek_core.executable import Feeds
    from deepseek_core.ir import TensorInfo

__all__ = ["command"]


@click.command(name="diff")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@inputs_option
@click.option("--samples", type=FILE, metavar="DIR", help="Compare on a folder or file of .npy, .npz or images.")
@samples_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of made-up inputs, where nothing is given.")
@click.option(
    "--threshold",
    type=float,
    metavar="DB",
    help="SQNR below which a tensor has diverged.  [default: any other code, or 20]",
)
@reporting
def command(a: Path, b: Path, threshold: float | None, **chosen: Any) -> Report:
    """Compare A and B tensor by tensor: two packages, or a package and its float model."""
    from deepseek_core.diff import compare
    from deepseek_core.files import open_file

    first, second = open_file(a), open_file(b)
    with progress_bar() as progress:
        feeds = _feeds(first.model.inputs, chosen)
        found = compare(first, second, feeds, threshold=threshold, progress=progress)
    made_up = not (chosen["samples"] or chosen["inputs"])
    data = {
        "first": None if found.first is None else found.first.name,
        "threshold": threshold,
        "samples": found.samples,
        "made_up": made_up,
        "tensors": [_tensor_json(tensor, found) for tensor in found.tensors],
        "unmatched": list(found.unmatched),
    }
    return Report(data, partial(_render, found, made_up), exit_code=0 if found.first is None else 1)


def _feeds(infos: tuple[TensorInfo, ...], chosen: dict[str, Any]) -> Feeds | Iterable[Feeds]:
    if chosen["samples"] is None:
        return feeds_of(chosen["inputs"], infos, chosen["seed"])
    if chosen["inputs"]:
        raise click.UsageError("--samples and --input exclude each other")
    return samples_of(chosen["samples"], infos, chosen)


def _tensor_json(tensor: TensorDiff, found: Diff) -> dict[str, object]:
    return {
        "name": tensor.name,
        "unit": tensor.unit,
        "op": tensor.op,
        "shape": list(tensor.shape),
        "sqnr_db": finite(tensor.sqnr),
        "max_error": finite(tensor.max_error),
        "lsb": tensor.lsb,
        "equal": tensor.max_error == 0,
        "diverges": tensor.diverges(found.threshold),
    }


def _render(found: Diff, made_up: bool, console: Console) -> None:
    rows = table("tensor", "op", "shape", ">SQNR", ">max error", ">LSB", "")
    for tensor in found.tensors:
        ratio = "equal" if tensor.max_error == 0 else f"{tensor.sqnr:.1f} dB"
        lsb = "" if tensor.lsb is None else str(tensor.lsb)
        mark = "← first" if tensor is found.first else "✗" if tensor.diverges(found.threshold) else ""
        rows.add_row(tensor.name, tensor.op, dims(tensor.shape), ratio, f"{tensor.max_error:.3g}", lsb, mark)
    console.print(rows)
    first = found.first
    if first is None:
        console.print(f"no divergence in {len(found.tensors)} tensors")
    else:
        console.print(f"first divergence: {first.name}, computed by {first.unit} ({first.op})")
    if found.unmatched:
        console.print(f"{len(found.unmatched)} tensors are in one of the models only")
    if made_up:
        console.print("the inputs were made up; real ones (--samples, --input) give figures that mean more")
