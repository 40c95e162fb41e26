"""Labelled ImageNet photographs: twenty that the foolbox wheel carries, or a folder with `labels.csv`."""

from __future__ import annotations

import csv
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Photo", "foolbox_photos", "load_folder", "preprocess", "samples", "split"]

SIZE = 224
CROP_FRACTION = 0.875
"""Share of the resized short side that the centre crop keeps (Tan & Le's evaluation protocol)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture file and its ImageNet class index."""

    path: Path
    label: int


def foolbox_photos() -> list[Photo]:
    """The 20 photographs (MIT licence) inside the installed `foolbox` distribution; foolbox is not imported.

    Raises:
        importlib.metadata.PackageNotFoundError: foolbox is not installed.
    """
    files = importlib.metadata.files("foolbox") or []
    found = [Path(str(f.locate())) for f in files if f.name.startswith("imagenet_")]
    return [Photo(path, int(path.stem.split("_")[-1])) for path in sorted(found)]


def load_folder(folder: Path) -> list[Photo]:
    """Photographs of `folder`, whose `labels.csv` has the columns `file` and `class_index`."""
    with (folder / "labels.csv").open(newline="") as file:
        return [Photo(folder / row["file"], int(row["class_index"])) for row in csv.DictReader(file)]


def split(photos: Sequence[Photo], calibration: int, seed: int = 0) -> tuple[list[Photo], list[Photo]]:
    """(calibration, evaluation): disjoint, drawn with a fixed seed."""
    order = np.random.default_rng(seed).permutation(len(photos))
    return [photos[i] for i in order[:calibration]], [photos[i] for i in order[calibration:]]


def preprocess(path: Path) -> NDArray[np.float32]:
    """One photograph as float32 [1, 3, 224, 224]: resize, centre crop, (x − 127) / 128."""
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
        side = round(SIZE / CROP_FRACTION)
        scale = side / min(rgb.size)
        resized = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - SIZE) // 2, (resized.height - SIZE) // 2
    pixels = np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)), np.float32)
    return np.ascontiguousarray(((pixels - 127.0) / 128.0).transpose(2, 0, 1)[None])


def samples(photos: Sequence[Photo], batch: int = 1) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Feeds of the network, `batch` photographs each (the last may be smaller)."""
    for start in range(0, len(photos), batch):
        yield {"image": np.concatenate([preprocess(p.path) for p in photos[start : start + batch]])}
