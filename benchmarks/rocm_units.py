"""The ROCm backend's int8 kernels: seeded units of odd sizes, strides and pads, emulated against the reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from deepseek_backend_rocm.verification.checking import check
from deepseek_backend_rocm.verification.sampling import KINDS
from harness import Figure, Options, console, main

ARCHITECTURES = ("gfx90a", "gfx942", "gfx1100")
_DETAILS: dict[str, list[str]] = {"wrong": []}


def measure(options: Options) -> list[Figure]:
    """A figure for each kind and architecture."""
    quick = options.quick
    seeds, architectures = (4, ARCHITECTURES[:1]) if quick else (options.extra.shapes, ARCHITECTURES)
    found = []
    for figure in _figures(seeds, architectures):
        console().print(f"{figure.name}: {figure.value:.4g} {figure.note}", highlight=False)
        found.append(figure)
    return found


def _figures(seeds: int, architectures: Sequence[str]) -> Iterator[Figure]:
    for name in architectures:
        for kind in KINDS:
            verdicts = [check(kind, seed, name) for seed in range(seeds)]
            wrong = [verdict.text for verdict in verdicts if verdict.wrong]
            near = sum(bool(verdict.different) for verdict in verdicts) - len(wrong)
            refused = sum(bool(verdict.refused) for verdict in verdicts)
            _DETAILS["wrong"] += wrong
            note = f"of {seeds} shapes, {refused} refused, {near} within what is declared, emulated"
            yield Figure(f"{kind} on {name}: units that differ", len(wrong), "", "==", 0, note)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shapes", type=int, default=300, help="seeded units of each kind and architecture")


if __name__ == "__main__":
    assert __doc__ is not None
    main(__doc__, measure, ("deepseek-backend-rocm", "triton", "numpy"), _configure, lambda: _DETAILS)
