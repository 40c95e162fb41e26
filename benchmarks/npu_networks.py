"""Networks for the NPU benchmark: trained weights, fixed shapes, samples that calibrate and others that judge."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import npu_training
from deepseek_core import QuantizedModel
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import float_model
from efficientnet_lite0.model import export as export_efficientnet
from efficientnet_lite0.photos import Photo, foolbox_photos, samples, split
from quantization.networks import prepared
from quantization.networks.base import Network, load_arrays
from quantization.networks.ocr_detector import OcrDetector
from quantization.networks.ocr_recogniser import OcrRecogniser
from quantization.networks.silero_vad import SileroVad16k

__all__ = ["NETWORKS", "Case", "Feeds"]

Feeds = Mapping[str, NDArray[Any]]
CALIBRATION, JUDGED = 10, 4
PAGE = 224


@dataclass(frozen=True, slots=True)
class Case:
    """A network to quantize, compile and run.

    Attributes:
        name: as figures show it.
        model: float, every shape fixed.
        calibration, judged: feeds.
    """

    name: str
    model: QuantizedModel
    calibration: tuple[Feeds, ...]
    judged: tuple[Feeds, ...]


def _efficientnet(side: int) -> Case:
    chosen, judged = split(foolbox_photos(), CALIBRATION)
    with tempfile.TemporaryDirectory() as folder:
        source = float_model(export_efficientnet(Path(folder) / "efficientnet.onnx"))
    model = with_input_shapes(source, {"image": (1, 3, side, side)})
    feeds = (tuple(_crops(photos, side)) for photos in (chosen, judged))
    return Case(f"EfficientNet-Lite0-{side}", model, *feeds)


def _crops(photos: list[Photo], side: int) -> Iterator[Feeds]:
    for sample in samples(photos):
        (image,) = sample.values()
        start = (image.shape[2] - side) // 2
        yield {"image": np.ascontiguousarray(image[:1, :, start : start + side, start : start + side])}


def _digits(name: str, title: str) -> Case:
    trained = npu_training.NETWORKS[name]()
    feeds = (
        tuple({"x": each[None]} for each in images) for images in (trained.train[:CALIBRATION], trained.judged[:JUDGED])
    )
    return Case(title, float_model(trained.model), *feeds)


def _of(network: Network, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Case:
    """A network of the accuracy benchmark, at fixed shapes, with its first samples."""
    files = prepared(network)
    model = float_model(with_input_shapes(load_model(files.model), dict(shapes)))
    calibration = tuple(load_arrays(file) for file in sorted(files.calibration.glob("*.npz"))[:CALIBRATION])
    return Case(name, model, calibration, tuple(itertools.islice(files.feeds(), JUDGED)))


def _silero() -> Case:
    """The detector's convolutions, from the padded frame to what enters its recurrent cell."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor

    files = prepared(SileroVad16k())
    extractor = Extractor(onnx.shape_inference.infer_shapes(onnx.load(files.model)))
    front, encoder = (extractor.extract_model([a], [b]) for a, b in (("input", _PADDED), (_PADDED, _ENCODED)))
    session = onnxruntime.InferenceSession(front.SerializeToString(), providers=["CPUExecutionProvider"])
    known = [load_arrays(file)["input"] for file in sorted(files.calibration.glob("*.npz"))[:CALIBRATION]]
    judged = [row[None] for clip in itertools.islice(files.feeds(), JUDGED) for row in clip["input"][100:101]]
    feeds = (
        tuple({_PADDED: session.run([_PADDED], {"input": frame})[0]} for frame in frames) for frames in (known, judged)
    )
    calibration, others = feeds
    model = with_input_shapes(load_model(encoder), {_PADDED: calibration[0][_PADDED].shape})
    return Case("silero-vad encoder", float_model(model), calibration, others)


_PADDED, _ENCODED = "/model/stft/padding/Pad_output_0", "/model/encoder/3/activation/Relu_output_0"


def _detector() -> Case:
    shape = (1, 3, PAGE, PAGE)
    case = _of(OcrDetector(), "PP-OCRv4 detector", {"x": shape})
    calibration, judged = (
        tuple({"x": np.ascontiguousarray(feed["x"][..., :PAGE, :PAGE])} for feed in feeds)
        for feeds in (case.calibration, case.judged)
    )
    return Case(case.name, case.model, calibration, judged)


def _recogniser() -> Case:
    return _of(OcrRecogniser(), "PP-OCRv4 recogniser", {"x": (1, 3, 48, 320)})


NETWORKS: dict[str, Callable[[], Case]] = {
    "resnet8": lambda: _digits("resnet8", "ResNet-8"),
    "mobilenet": lambda: _digits("mobilenet", "MobileNetV2-96"),
    "efficientnet96": lambda: _efficientnet(96),
    "efficientnet224": lambda: _efficientnet(224),
    "silero": _silero,
    "recogniser": _recogniser,
    "detector": _detector,
}
"""Name → the network; the first are the quickest."""
