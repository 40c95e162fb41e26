"""What every benchmark shares: figures with targets, a table, `--json`, `--quick` and `--check`."""

from __future__ import annotations

import argparse
import json
import math
import operator
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deepseek_core.atomic import atomic_write

__all__ = ["PHOTOS", "Figure", "Options", "console", "main"]

PHOTOS = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "imagenet_photos"
"""Where a checkout may have 500 labelled photographs beside it; `--photos` names another place."""

_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "==": operator.eq}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number a benchmark stands for.

    Attributes:
        name: unique within the benchmark.
        value: as measured, in `unit`.
        target: bound that `--check` enforces with `relation`; None for a figure that is only shown.
        note: how it was obtained.
    """

    name: str
    value: float
    unit: str = ""
    relation: str = "<="
    target: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.target is None or bool(_COMPARE[self.relation](self.value, self.target))


@dataclass(frozen=True, slots=True)
class Options:
    """Common options.

    Attributes:
        quick: a subset that ends within a minute once set up.
        photos: folder with `labels.csv`.
        extra: the benchmark's own options.
    """

    quick: bool
    photos: Path
    extra: argparse.Namespace


def main(
    description: str,
    measure: Callable[[Options], Sequence[Figure]],
    packages: Sequence[str] = (),
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
    details: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Run a benchmark from the command line.

    Args:
        description: one line.
        measure: gives the figures.
        packages: distributions whose versions belong to the result.
        configure: adds the benchmark's own options.
        details: what else `--json` holds, asked for after `measure`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="a subset, under a minute")
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure misses its target")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photographs with labels.csv")
    if configure is not None:
        configure(parser)
    arguments = parser.parse_args()
    figures = measure(Options(arguments.quick, arguments.photos, arguments))
    console().print(_table(description, figures))
    if arguments.json is not None:
        with atomic_write(arguments.json) as file:
            document = {**_document(description, figures, packages, quick=arguments.quick), **details()}
            file.write(json.dumps(_strict(document), indent=2, allow_nan=False).encode())
    missed = [figure for figure in figures if not figure.holds]
    if arguments.check and missed:
        for figure in missed:
            wanted = f"{figure.relation} {figure.target:g}"
            print(f"missed: {figure.name} is {figure.value:.4g} {figure.unit}, wanted {wanted}", file=sys.stderr)
        raise SystemExit(1)


def console() -> Console:
    """Where tables go: as wide as the terminal, wide enough for whole lines in a file."""
    return Console() if sys.stdout.isatty() else Console(width=140)


def _table(title: str, figures: Sequence[Figure]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("figure", "value", "target", "how"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for figure in figures:
        target = "" if figure.target is None else f"{figure.relation} {figure.target:g}"
        style = "" if figure.target is None else "green" if figure.holds else "bold red"
        table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}".rstrip(), target, figure.note, style=style)
    return table


def _document(title: str, figures: Sequence[Figure], packages: Sequence[str], *, quick: bool) -> dict[str, object]:
    return {
        "benchmark": title,
        "date": datetime.now(UTC).date().isoformat(),
        "quick": quick,
        "machine": _cpu(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
        "figures": [{**asdict(figure), "holds": figure.holds} for figure in figures],
    }


def _strict(value: object) -> object:
    """`value` with None for numbers that JSON lacks: NaN and infinity."""
    if isinstance(value, dict):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
