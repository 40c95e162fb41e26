"""Quantizers on real networks: accuracy, agreement with fp32, output SQNR, time and memory, ours beside its peers.

Every quantization runs in a process of its own on one core; peers in environments of their own. All results are judged
by one ONNX Runtime set-up on data that calibrated nothing. What was obtained once is kept in a cache folder outside the
repository and not run again until a version, a setting or a network changes.

`--model my.onnx --calib DIR --eval DIR` judges a network of your own: agreement and SQNR against its float outputs, and
top-1 where DIR has a `labels.csv`.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import Figure, Options, console, main
from quantization.board import Board, summary
from quantization.environments import ENVIRONMENTS
from quantization.judge import exact
from quantization.methods import METHODS, Method
from quantization.networks import NETWORKS, prepared
from quantization.networks.base import Network, Prepared
from quantization.networks.custom import Custom
from quantization.networks.efficientnet_lite0 import EfficientNetLite0
from quantization.result import Limits, Result, known, obtain

QUICK = (["mnist"], ["deepseek/int8", "onnxruntime/minmax"])

_details: dict[str, object] = {}


def measure(options: Options) -> list[Figure]:
    """All networks with all methods; a table for each as soon as it is complete."""
    screen, figures, boards = console(), list[Figure](), list[Board]()
    for network in _networks(options):
        try:
            ready = _prepared(network, screen)
        except RuntimeError as error:
            screen.print(f"[red]{network.title} is left out: {error}[/]")
            figures.append(Figure(f"{network.title}: prepared", 0, "", ">=", 1, str(error)))
            continue
        base = network.scores(exact(network, ready), ready.labels())
        methods = [m for m in _methods(options) if not options.extra.cached or known(network, ready, m)]
        found = [_obtained(network, ready, method, options.extra, screen) for method in methods]
        boards.append(Board(network, base, found))
        screen.print(boards[-1].table())
        figures += boards[-1].figures()
    _details["fp32"] = {board.network.name: list(board.base) for board in boards}
    _details["environments"] = {name: [*chain(*steps)] for name, steps in ENVIRONMENTS.items()}
    _details["results"] = [asdict(result) for board in boards for result in board.results]
    return [*figures, *summary(figures)]


def _prepared(network: Network, screen: Console) -> Prepared:
    with screen.status(f"{network.title}: weights and data"):
        return prepared(network)


def _obtained(network: Network, ready: Prepared, method: Method, extra: argparse.Namespace, screen: Console) -> Result:
    with screen.status(f"{network.title}: {method.name}") as status:

        def watch(seconds: float) -> None:
            status.update(f"{network.title}: {method.name}, {seconds:.0f} s")

        return obtain(network, ready, method, Limits(extra.timeout), fresh=extra.fresh, watch=watch)


def _networks(options: Options) -> list[Network]:
    extra = options.extra
    if extra.model is not None:
        if extra.calib is None or extra.eval is None:
            raise SystemExit("--model needs --calib and --eval")
        return [Custom(extra.model, extra.calib, extra.eval)]
    names = extra.networks or (QUICK[0] if options.quick else list(NETWORKS))
    chosen = _matching(NETWORKS, names, "network")
    return [
        EfficientNetLite0(options.photos) if name == EfficientNetLite0.name else NETWORKS[name]() for name in chosen
    ]


def _methods(options: Options) -> list[Method]:
    names = options.extra.methods or (QUICK[1] if options.quick else [m.name for m in METHODS.values() if m.default])
    return [METHODS[name] for name in _matching(METHODS, names, "method")]


def _matching(known: dict[str, Any], patterns: Sequence[str], what: str) -> list[str]:
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise SystemExit(f"no {what} is called '{pattern}'; there are {', '.join(known)}")
    return [name for name in known if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", metavar="NAME", help=f"of {', '.join(NETWORKS)}; * and ? match")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="such as deepseek/int8 or 'onnxruntime/*'")
    parser.add_argument("--fresh", action="store_true", help="quantize again what the cache has")
    parser.add_argument("--cached", action="store_true", help="show what the cache has and quantize nothing")
    parser.add_argument("--timeout", type=float, default=Limits().seconds, help="CPU seconds that stop a quantization")
    parser.add_argument("--model", type=Path, help="a float ONNX file to judge instead, with --calib and --eval")
    parser.add_argument("--calib", type=Path, metavar="DIR", help="samples that calibrate --model")
    parser.add_argument("--eval", type=Path, metavar="DIR", help="other samples that judge it, perhaps with labels.csv")


if __name__ == "__main__":
    main("Quantizers on real networks", measure, ("onnxruntime", "numpy"), _configure, lambda: _details)
