"""`deepseek bench`: latency of a package on this machine."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deepseek_core.cli.formats import seconds
from deepseek_core.cli.options import FILE, feeds_of, inputs_option
from deepseek_core.cli.output import Report, reporting, table
from deepseek_core.cli.progress import progress_bar
from deepseek_core.cli.run import part_json

if TYPE_CHECKING:
    from rich.console import Console

    from deepseek_core.bench import Latency, Throughput
    from deepseek_core.package import Package
    from deepseek_core.runtime import PartInfo

__all__ = ["command"]

PERCENTILES = (50, 90, 99)


@click.command(name="bench")
@click.argument("file", type=FILE)
@inputs_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of made-up inputs, where no file is given.")
@click.option("--repeat", type=int, default=100, show_default=True, metavar="N", help="Timed runs.")
@click.option("--warmup", type=int, default=10, show_default=True, metavar="N", help="Runs before them.")
@click.option(
    "--threads", type=click.IntRange(0), metavar="N", help="Compile again for N threads.  [default: as it is]"
)
@click.option("--stream", is_flag=True, help="Time a stream of inputs too, every device busy with another one.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Inputs under way.  [default: two for each device]")
@reporting
def command(file: Path, repeat: int, warmup: int, threads: int | None, **chosen: Any) -> Report:
    """Time FILE, a compiled .ds package: median latency and percentiles, and the throughput of a stream."""
    from deepseek_core.bench import measure, measure_stream
    from deepseek_core.files import open_file
    from deepseek_core.runtime import Session

    package = open_file(file)
    if threads is not None and package.is_compiled and threads != package.options.threads:
        package = _with_threads(package, threads)
    with Session(package) as session, progress_bar() as progress:
        feeds = feeds_of(chosen["inputs"], session.inputs, chosen["seed"])
        latency = measure(lambda: session.run(feeds), repeat=repeat, warmup=warmup, progress=progress)
        streamed = measure_stream(session, feeds, repeat, chosen["depth"], progress) if chosen["stream"] else None
        parts = session.describe()
    data = {
        "repeat": repeat,
        "threads": package.options.threads,
        "seconds": {
            "min": latency.minimum,
            "mean": latency.mean,
            **{f"p{q}": latency.percentile(q) for q in PERCENTILES},
        },
        "stream": None if streamed is None else _stream_json(streamed, latency),
        "parts": [part_json(part) for part in parts],
    }
    return Report(data, partial(_render, latency, streamed, parts))


def _stream_json(streamed: Throughput, latency: Latency) -> dict[str, object]:
    return {
        "inputs": streamed.inputs,
        "depth": streamed.depth,
        "seconds": streamed.seconds,
        "per_second": streamed.per_second,
        "speedup": latency.median * streamed.per_second,
    }


def _with_threads(package: Package, threads: int) -> Package:
    from deepseek_core.pipeline import compile as compile_model

    assert package.placement is not None
    pins = package.placement.units
    options = replace(package.options, threads=threads)
    return compile_model(package.model, tuple(dict.fromkeys(pins.values())), options=options, pins=pins)


def _render(latency: Latency, streamed: Throughput | None, parts: tuple[PartInfo, ...], console: Console) -> None:
    rows = table(">median", ">min", ">mean", ">p90", ">p99", ">runs")
    figures = (latency.median, latency.minimum, latency.mean, latency.percentile(90), latency.percentile(99))
    rows.add_row(*map(seconds, figures), str(len(latency.seconds)))
    console.print(rows)
    if streamed is not None:
        console.print(
            f"stream of {streamed.inputs}, {streamed.depth} under way: {streamed.per_second:.1f} a second, one in "
            f"{seconds(1 / streamed.per_second)}; {latency.median * streamed.per_second:.2f} × one by one"
        )
    for part in parts:
        console.print(f"{len(part.units)} units on {part.target}, {part.device} ({part.tier})")
