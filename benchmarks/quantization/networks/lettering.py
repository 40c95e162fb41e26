"""Text set in fonts, with what it says: lines for a recogniser, pages for a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["CALIBRATION_FONTS", "FONTS", "line", "page", "phrases"]

CALIBRATION_FONTS = tuple(
    f"dejavu/{name}.ttf" for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold")
)
FONTS = tuple(
    f"liberation/Liberation{name}.ttf"
    for name in ("Sans-Regular", "Serif-Regular", "Serif-Italic", "Sans-Bold", "Mono-Regular", "SansNarrow-Regular")
)
_FOLDER = Path("/usr/share/fonts/truetype")
_PACKAGES = {"dejavu": "fonts-dejavu", "liberation": "fonts-liberation"}

Pixels = NDArray[np.float32]


def phrases(texts: Sequence[str], longest: int, count: int, random: np.random.Generator) -> list[str]:
    """`count` runs of whole words, each of at most `longest` characters, from random places of the texts."""
    found: list[str] = []
    while len(found) < count:
        words = texts[int(random.integers(len(texts)))].split()
        place = int(random.integers(len(words)))
        phrase = ""
        for word in words[place:]:
            if len(phrase) + len(word) >= longest:
                break
            phrase = f"{phrase} {word}".strip()
        if len(phrase) >= longest // 3 and phrase.isascii():
            found.append(phrase)
    return found


def line(text: str, font: str, random: np.random.Generator) -> Pixels:
    """A slightly turned, blurred and noisy line of text, cut to its outline: RGB, 0 … 255, [height, width, 3]."""
    face = _font(font, int(random.integers(24, 44)))
    left, top, right, bottom = face.getbbox(text)
    margin = int(random.integers(3, 10))
    ink, paper = _colours(random)
    size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    picture = Image.new("RGB", size, paper)
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, font=face, fill=ink)
    turned = picture.rotate(random.uniform(-1.5, 1.5), Image.Resampling.BICUBIC, fillcolor=paper)
    return _worn(turned, random)


def page(
    texts: Sequence[str], fonts: Sequence[str], side: int, random: np.random.Generator
) -> tuple[Pixels, NDArray[np.float64]]:
    """A square page of separate lines, and their boxes [n, 4] as (left, top, right, bottom)."""
    ink, paper = _colours(random)
    picture, boxes = Image.new("RGB", (side, side), paper), []
    draw, place = ImageDraw.Draw(picture), int(random.integers(8, 40))
    for text in texts:
        face = _font(fonts[int(random.integers(len(fonts)))], int(random.integers(14, 40)))
        left, top, right, bottom = face.getbbox(text)
        width, height = int(right - left), int(bottom - top)
        if width > side - 20:
            continue
        if place + height > side - 8:
            break
        start = int(random.integers(10, side - width - 9))
        draw.text((start - left, place - top), text, font=face, fill=ink)
        boxes.append((start, place, start + width, place + height))
        place += height + int(random.integers(12, 50))
    return _worn(picture, random), np.array(boxes, np.float64).reshape(-1, 4)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(_FOLDER / name, size)
    except OSError:
        package = _PACKAGES[Path(name).parent.name]
        raise RuntimeError(f"the font {name} is not installed: apt-get install {package}") from None


def _colours(random: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ink and paper that can be told apart; sometimes light on dark."""
    dark, light = random.integers(0, 110, 3), random.integers(150, 256, 3)
    pair = (tuple(map(int, dark)), tuple(map(int, light)))
    return pair if random.random() < 0.8 else (pair[1], pair[0])


def _worn(picture: Image.Image, random: np.random.Generator) -> Pixels:
    blurred = picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2)))
    pixels = np.asarray(blurred, np.float32)
    noise = random.normal(0, random.uniform(2, 14), pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.float32)
