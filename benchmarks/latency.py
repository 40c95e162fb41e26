"""Latency of int8 on the CPU backend against ONNX Runtime's own int8 and fp32, interleaved in one process.

The peers are ONNX Runtime's `quantize_static` at its default settings and at those its guide recommends for x86
(graph prepared, uint8 activations, int8 weights per channel), each as QDQ and as QOperator; the fastest counts.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from rich.console import Console

from architectures import ARCHITECTURES
from deepseek_core import CalibratorSpec, CompileOptions
from deepseek_core.pipeline import compile, quantize
from deepseek_core.runtime import Session
from deepseek_core.selection import measure as interleave
from efficientnet_lite0.model import export
from harness import Figure, Options, main

NOISE = 0.03
"""How much slower a figure may be before it counts: two sessions of one model differ by up to this much."""

Feeds = dict[str, NDArray[np.float32]]
SAMPLES = 4
OURS, AGAIN, FP32 = "ours", "ours again", "fp32"


@dataclass(frozen=True, slots=True)
class Network:
    """A float model on disk and the shape of its only input."""

    name: str
    path: Path
    input: str
    shape: tuple[int, ...]

    def samples(self) -> list[Feeds]:
        """Random feeds: they decide scales, not speed."""
        generator = np.random.default_rng(0)
        return [{self.input: generator.standard_normal(self.shape, np.float32)} for _ in range(SAMPLES)]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Samples in the form ONNX Runtime's quantizer reads."""

    def __init__(self, samples: list[Feeds]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Feeds | None:
        return next(self._samples, None)


def networks(*, quick: bool) -> list[Network]:
    """EfficientNet-Lite0, trained, and architectures with random weights; `quick` leaves out two of them."""
    folder = Path("out")
    found = [Network("EfficientNet-Lite0", export(folder / "efficientnet_lite0.onnx"), "image", (1, 3, 224, 224))]
    for entry in ARCHITECTURES:
        if not quick or entry.name == "Transformer":
            path = entry.export(folder / f"{entry.name.lower()}.onnx")
            found.append(Network(entry.name, path, "x", entry.shape))
    return found


def measure(options: Options) -> list[Figure]:
    """Median latencies and ratios of every network."""
    figures = []
    for network in networks(quick=options.quick):
        with Console(stderr=True).status(f"{network.name}: quantize and time"), tempfile.TemporaryDirectory() as name:
            found = _latencies(network, Path(name), options.extra.threads, rounds=15 if options.quick else 60)
        figures += _figures(network.name, found)
    return figures


def _latencies(network: Network, folder: Path, threads: int, *, rounds: int) -> dict[str, float]:
    """Seconds by variant."""
    feeds = network.samples()[0]
    with contextlib.ExitStack() as stack:
        quantized = quantize(network.path, network.samples(), calibrator=CalibratorSpec("minmax"))
        package = compile(quantized, options=CompileOptions(threads=threads))
        runners: dict[str, Callable[[], object]] = {}
        for name in (OURS, AGAIN):
            session = stack.enter_context(Session(package))
            runners[name] = lambda session=session: session.run(feeds)  # type: ignore[misc]
        for name, path in {FP32: network.path, **dict(_peers(network, folder))}.items():
            runners[name] = _onnxruntime(path, feeds, threads)
        return interleave(runners, rounds=rounds, budget=60.0, sample=2e-3, threads=threads)


def _peers(network: Network, folder: Path) -> Iterator[tuple[str, Path]]:
    """ONNX Runtime's int8 variants."""
    prepared = folder / "prepared.onnx"
    quant_pre_process(network.path, prepared, skip_symbolic_shape=True)
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    settings: dict[str, tuple[Path, dict[str, Any]]] = {
        "default": (network.path, {}),
        "recommended": (prepared, {"per_channel": True, **types}),
        "recommended, QOperator": (prepared, {"per_channel": True, "quant_format": QuantFormat.QOperator, **types}),
    }
    for name, (source, chosen) in settings.items():
        path = folder / f"{name}.onnx"
        quantize_static(source, path, Reader(network.samples()), **chosen)
        yield name, path


def _onnxruntime(path: Path, feeds: Feeds, threads: int) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def _figures(network: str, seconds: dict[str, float]) -> list[Figure]:
    ours, again = seconds[OURS], seconds[AGAIN]
    peers = {name: s for name, s in seconds.items() if name not in (OURS, AGAIN, FP32)}
    best = min(peers, key=lambda name: peers[name])
    listed = ", ".join(f"{name} {s * 1e3:.2f}" for name, s in peers.items())
    fraction = abs(again / ours - 1)
    bound = 1 - NOISE
    return [
        Figure(f"{network}: ours", ours * 1e3, "ms", note=f"a second session of it differs by {fraction:.1%}"),
        Figure(f"{network}: ONNX Runtime int8", peers[best] * 1e3, "ms", note=f"{best} ({listed} ms)"),
        Figure(f"{network}: ONNX Runtime fp32", seconds[FP32] * 1e3, "ms"),
        Figure(f"{network}: int8 speed-up", peers[best] / ours, "×", ">=", bound, "against its best int8"),
        Figure(f"{network}: fp32 speed-up", seconds[FP32] / ours, "×", ">=", bound, "against its fp32"),
    ]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="threads of every session (default 1)")


if __name__ == "__main__":
    main("Latency on this CPU", measure, ("deepseek-backend-cpu", "onnxruntime", "numpy"), _configure)
