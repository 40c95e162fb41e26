"""Memory and time of KL calibration on EfficientNet-Lite0, ours against ONNX Runtime's at equal histogram resolution.

Each run quantizes the float model from file to file in a process of its own. Ours streams; ONNX Runtime's Entropy holds
every activation of every photograph: at 256 photographs the full benchmark needs some 17 GB.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from rich.console import Console

from efficientnet_lite0.model import export
from efficientnet_lite0.photos import Photo, load_folder, preprocess, split
from harness import Figure, Options, main

JOB = Path(__file__).with_name("calibration_job.py")
REPEATS = 3
"""Runs of ours whose median counts; ONNX Runtime's takes minutes and runs once."""

Run = dict[str, float]


def measure(options: Options) -> list[Figure]:
    """All figures; `--quick` takes the first blocks of the network and fewer photographs."""
    counts = (8, 32) if options.quick else (16, 64, 256)
    chosen, judged = split(load_folder(options.photos), counts[-1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export(Path("out/efficientnet_lite0.onnx"))
        if options.quick:
            model = _first_blocks(model, folder / "first_blocks.onnx")
        samples = _store(chosen, folder / "samples")
        ours = {n: [_run("ours", model, samples, n, folder) for _ in range(REPEATS)] for n in counts}
        peer = {n: [_run("onnxruntime", model, samples, n, folder)] for n in counts}
        figures = [*_absolute(ours, "ours"), *_absolute(peer, "ONNX Runtime"), *_ratios(ours, peer, options.quick)]
        return figures if options.quick else [*figures, *_accuracy(model, judged, folder)]


def _first_blocks(model: Path, part: Path, nodes: int = 16) -> Path:
    last = onnx.load(model).graph.node[nodes - 1].output[0]
    onnx.utils.extract_model(model, part, ["image"], [last])
    return part


def _store(photos: Sequence[Photo], folder: Path) -> Path:
    """Preprocessed photographs, one file each: decoding is no part of the comparison."""
    folder.mkdir()
    for index, photo in enumerate(photos):
        np.save(folder / f"{index:04}.npy", preprocess(photo.path))
    return folder


def _run(job: str, model: Path, samples: Path, count: int, folder: Path) -> Run:
    output, result = folder / f"{job}.onnx", folder / "result.json"
    command = [sys.executable, str(JOB), job, str(model), str(samples), str(count), str(output), str(result)]
    with Console(stderr=True).status(f"{job}, {count} photographs"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = "killed, probably for lack of memory" if done.returncode < 0 else done.stderr[-2000:]
        raise SystemExit(f"{job} with {count} photographs ended with {done.returncode}: {why}")
    found: Run = json.loads(result.read_text())
    return found


def _absolute(runs: dict[int, list[Run]], who: str) -> list[Figure]:
    figures = []
    for count, repeats in runs.items():
        peak, added, seconds = _peak(repeats), _added(repeats), _seconds(repeats)
        note = f"{added / 1e6:.0f} MB above the process before calibration"
        figures.append(Figure(f"{who}, {count}: peak memory", peak / 1e6, "MB", note=note))
        figures.append(Figure(f"{who}, {count}: time", seconds, "s", note="float ONNX file to int8 ONNX file"))
    return figures


def _ratios(ours: dict[int, list[Run]], peer: dict[int, list[Run]], quick: bool) -> list[Figure]:
    few, many = min(ours), max(ours)
    growth = _added(ours[many]) / _added(ours[few]) - 1
    less, less_added = _peak(peer[many]) / _peak(ours[many]), _added(peer[many]) / _added(ours[many])
    faster = _seconds(peer[many]) / _seconds(ours[many])
    resident = f"{_peak(ours[many]) / _peak(ours[few]) - 1:+.1%} of all resident memory"
    above = f"{less_added:.0f} times above the process before calibration"
    return [
        Figure(
            f"our memory growth, {few} → {many}", 100 * growth, "%", "<=", 10, f"of what calibration adds; {resident}"
        ),
        Figure(f"peak memory, theirs / ours at {many}", less, "×", ">=", None if quick else 10, above),
        Figure(f"time, theirs / ours at {many}", faster, "×", ">=", 3, "whole quantization"),
    ]


def _peak(runs: list[Run]) -> float:
    return statistics.median(run["peak"] for run in runs)


def _added(runs: list[Run]) -> float:
    return statistics.median(run["peak"] - run["before"] for run in runs)


def _seconds(runs: list[Run]) -> float:
    return statistics.median(run["seconds"] for run in runs)


def _accuracy(model: Path, judged: Sequence[Photo], folder: Path) -> list[Figure]:
    """Top-1 that each calibration's model loses, all run by ONNX Runtime on photographs that calibrated nothing."""
    images = [preprocess(photo.path) for photo in judged]
    labels = np.array([photo.label for photo in judged])
    exact = _logits(model, images)
    base = 100 * float(np.mean(exact.argmax(1) == labels))
    figures = [Figure("fp32 top-1", base, "%", note=f"{len(judged)} photographs")]
    for job, who, target in (("ours", "our", 1.0), ("onnxruntime", "ONNX Runtime's", None)):
        logits = _logits(folder / f"{job}.onnx", images)
        lost = base - 100 * float(np.mean(logits.argmax(1) == labels))
        sqnr = 10 * np.log10(np.square(exact).sum() / np.square(exact - logits).sum())
        alike = float(np.mean(exact.argmax(1) == logits.argmax(1)))
        note = f"{alike:.1%} predicted alike, output SQNR {sqnr:.1f} dB"
        figures.append(Figure(f"{who} int8: top-1 lost", lost, "points", "<=", target, note))
    return figures


def _logits(model: Path, images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image})[0] for image in images])


if __name__ == "__main__":
    main("KL calibration of EfficientNet-Lite0", measure, ("deepseek-core", "onnxruntime", "numpy"))
