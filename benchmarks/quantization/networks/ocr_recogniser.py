"""PP-OCRv4's recogniser: a line of text to characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantization.metrics import edit_distance
from quantization.networks import texts
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Feeds,
    Metric,
    Network,
    save_samples,
)
from quantization.networks.export import upgrade
from quantization.networks.lettering import CALIBRATION_FONTS, FONTS, line, phrases
from quantization.sources import wheel

__all__ = ["OcrRecogniser"]

HEIGHT, WIDTH, LONGEST = 48, 320, 20
CALIBRATION_LINES, LINES = 64, 250


class OcrRecogniser(Network):
    """Convolutions, then attention over columns, decoded by CTC; judged in other fonts on other texts."""

    name = "ocr_recogniser"
    title = "PP-OCRv4 recogniser"
    metrics = (Metric("lines right %"), Metric("characters right %"))
    helpers = ("texts", "export", "lettering")

    def prepare(self, folder: Path) -> None:
        models = wheel("rapidocr-onnxruntime", "1.4.4") / "rapidocr_onnxruntime" / "models"
        upgrade(models / "ch_PP-OCRv4_rec_infer.onnx", folder / MODEL)
        random = np.random.default_rng(0)
        known = phrases(texts.background(), LONGEST, CALIBRATION_LINES, random)
        judged = phrases([*texts.lee()[0], *texts.encyclopedia()], LONGEST, LINES, random)
        save_samples(folder / CALIBRATION, _samples(known, CALIBRATION_FONTS, random))
        save_samples(folder / EVALUATION, _samples(judged, FONTS, random))
        np.savez(folder / TRUTH, lines=np.array(judged), alphabet=np.array(_alphabet(folder / MODEL)))

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        read = [_text(answer[0], truth["alphabet"]).strip() for answer in answers]
        lines = [str(text) for text in truth["lines"]]
        wrong = sum(edit_distance(a, b) for a, b in zip(read, lines, strict=True))
        whole = float(np.mean([a == b for a, b in zip(read, lines, strict=True)]))
        return 100 * whole, 100 * (1 - wrong / sum(map(len, lines)))

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of lines read alike, spaces at their ends included."""
        pairs = zip(exact, got, strict=True)
        return float(np.mean([_collapsed(a[0]).tolist() == _collapsed(b[0]).tolist() for a, b in pairs]))


def _samples(lines: Sequence[str], fonts: Sequence[str], random: np.random.Generator) -> Iterator[Feeds]:
    for index, text in enumerate(lines):
        pixels = line(text, fonts[index % len(fonts)], random)
        width = min(WIDTH, -(-pixels.shape[1] * HEIGHT // pixels.shape[0]))
        scaled = Image.fromarray(pixels.astype(np.uint8)).resize((width, HEIGHT), Image.Resampling.BILINEAR)
        sample = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        sample[0, :, :, :width] = (np.asarray(scaled, np.float32)[:, :, ::-1].transpose(2, 0, 1) / 255 - 0.5) / 0.5
        yield {"x": sample}


def _alphabet(model: Path) -> list[str]:
    """Character of each class: blank, those that the file's metadata lists, a space."""
    import onnx

    properties = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    return ["", *properties["character"].split("\n"), " "]


def _collapsed(probabilities: Array) -> NDArray[np.int64]:
    """Classes after repetitions and blanks are taken out (Graves et al., 2006)."""
    best = probabilities.argmax(1)
    first = np.append(True, best[1:] != best[:-1])
    return np.asarray(best[first & (best != 0)], np.int64)


def _text(probabilities: Array, alphabet: Array) -> str:
    return "".join(str(alphabet[index]) for index in _collapsed(probabilities))
