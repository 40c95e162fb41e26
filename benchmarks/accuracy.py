"""Accuracy of EfficientNet-Lite0 in INT8 against fp32, calibrator by calibrator, on labelled photographs.

A seeded split gives one part to calibration and judges on the rest.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.pipeline import compile, float_model, quantize
from deepseek_core.recipe import CalibratorSpec
from deepseek_core.runtime import Session
from efficientnet_lite0.model import export
from efficientnet_lite0.photos import Photo, load_folder, samples, split
from harness import Figure, Options, main

METHODS = ("entropy", "minmax", "percentile", "mse")
CALIBRATION = 100


def measure(options: Options) -> list[Figure]:
    """Top-1 of fp32 and of each method's int8, judged on photographs that calibrated nothing."""
    chosen, judged = split(load_folder(options.photos), 32 if options.quick else CALIBRATION)
    judged = judged[:100] if options.quick else judged
    model = float_model(export(Path("out/efficientnet_lite0.onnx")))
    labels = np.array([photo.label for photo in judged])
    exact = _logits(model, judged)
    base = float(np.mean(exact.argmax(1) == labels)) * 100
    figures = [Figure("fp32 top-1", base, "%", note=f"{len(judged)} photographs")]
    for method in options.extra.methods:
        quantized = quantize(model, samples(chosen), calibrator=CalibratorSpec(method))
        logits = _logits(quantized, judged)
        drop = base - float(np.mean(logits.argmax(1) == labels)) * 100
        agree = float(np.mean(logits.argmax(1) == exact.argmax(1))) * 100
        sqnr = 10 * np.log10(np.square(exact).sum() / np.square(exact - logits).sum())
        note = f"{agree:.1f} % predicted alike, output SQNR {sqnr:.1f} dB, {len(chosen)} photographs calibrate"
        figures.append(Figure(f"{method}: top-1 lost", drop, "points", "<=", 1.0, note))
    return figures


def _logits(model: QuantizedModel, photos: Sequence[Photo]) -> NDArray[np.float32]:
    with Session(compile(model, ["cpu"])) as session:
        return np.concatenate([session.run(feeds)["logits"] for feeds in samples(photos)])


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="calibrators to judge")


if __name__ == "__main__":
    main("Accuracy of EfficientNet-Lite0, int8 against fp32", measure, ("onnxruntime", "numpy"), _configure)
