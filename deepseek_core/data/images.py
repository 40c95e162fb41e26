"""Images as model input: short side resized, centre crop, mean and standard deviation, NCHW or NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek_core.errors import CalibrationError, ConfigError
from deepseek_core.ir.model import TensorInfo, signature

__all__ = ["IMAGE_SUFFIXES", "ImageOptions", "ImageReader"]

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"))
CROP_FRACTION = 0.875
"""Crop size ÷ short side, as ImageNet classifiers are evaluated (224 of 256)."""

Layout = Literal["NCHW", "NHWC"]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How an image becomes a tensor.

    Attributes:
        mean: subtracted from pixel values 0…255, one number or one per channel.
        std: divides afterwards, likewise. Both are needed where the model's input is float: a guess would cost
            accuracy without a word.
        size: side of the square crop in pixels, default the model's own height and width.
        resize: length of the short side before the crop, default crop ÷ 0.875.
        layout: order of the axes, default what the model's shape says.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: int | None = None
    resize: int | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} of {value} pixels", fix="give a positive number of pixels")
        if self.std is not None and min(self.std) <= 0:
            raise ConfigError(f"std of {min(self.std)}", fix="give positive numbers, for example 128")


class ImageReader:
    """Reads images for one input of a model.

    Raises:
        CalibrationError: the input is no image, or something it leaves open is not given.
    """

    def __init__(self, info: TensorInfo, options: ImageOptions) -> None:
        layout, channels, height, width = _geometry(info, options)
        self._channels_last = layout == "NHWC"
        self._mode = "L" if channels == 1 else "RGB"
        self._crop = (height, width)
        self._short = options.resize or round(min(height, width) / CROP_FRACTION)
        self._dtype = np.dtype(info.dtype)
        self._affine = None if self._dtype == np.uint8 else _affine(info, options, channels)
        if self._short < min(height, width):
            raise CalibrationError(
                f"a short side of {self._short} pixels is smaller than the crop of {height} × {width}",
                fix="give a larger --resize",
            )

    def read(self, path: Path) -> NDArray[Any]:
        """One image, [1, C, H, W] or [1, H, W, C] in the input's dtype.

        Raises:
            CalibrationError: the file is no image Pillow can read, or Pillow is missing.
        """
        pixels = self._pixels(path)
        if self._affine is not None:
            mean, std = self._affine
            pixels = ((pixels.astype(np.float32) - mean) / std).astype(self._dtype)
        return (pixels if self._channels_last else np.ascontiguousarray(pixels.transpose(2, 0, 1)))[np.newaxis]

    def _pixels(self, path: Path) -> NDArray[np.uint8]:
        image_module = _pillow()
        try:
            with image_module.open(path) as opened:
                image = opened.convert(self._mode)
        except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as problem:
            raise CalibrationError(
                f"{path} is no readable image ({problem})", fix="leave it out, or repair it"
            ) from None
        height, width = self._crop
        scale = max(self._short / min(image.size), width / image.size[0], height / image.size[1])
        resized = (max(width, round(image.size[0] * scale)), max(height, round(image.size[1] * scale)))
        image = image.resize(resized, image_module.Resampling.BICUBIC)
        left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
        pixels = np.asarray(image.crop((left, top, left + width, top + height)))
        return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _geometry(info: TensorInfo, options: ImageOptions) -> tuple[Layout, int, int, int]:
    shape = info.shape
    if shape is None or len(shape) != 4:
        raise CalibrationError(f"input {signature((info,))} takes no images", fix="give .npy or .npz files")
    layout = options.layout or _layout(shape)
    channels, height, width = (
        (shape[1:] if layout == "NCHW" else (shape[3], shape[1], shape[2])) if layout else (0,) * 3
    )
    if layout is None or channels not in (1, 3):
        raise CalibrationError(
            f"input {signature((info,))} does not say where its 1 or 3 channels are", fix="give --layout NCHW or NHWC"
        )
    sides = [options.size if options.size is not None else side for side in (height, width)]
    for side, own in zip(sides, (height, width), strict=True):
        if not isinstance(side, int):
            raise CalibrationError(f"input {signature((info,))} leaves the image's size open", fix="give --size PIXELS")
        if isinstance(own, int) and own != side:
            raise CalibrationError(
                f"images of {side} pixels do not fit input {signature((info,))}", fix="leave --size out"
            )
    return layout, channels, sides[0], sides[1]  # type: ignore[return-value]


def _layout(shape: Sequence[int | str | None]) -> Layout | None:
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        return None
    return "NCHW" if first else "NHWC"


def _affine(info: TensorInfo, options: ImageOptions, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if info.dtype not in ("float32", "float16"):
        raise CalibrationError(f"input {signature((info,))} takes no images", fix="give .npy or .npz files")
    if options.mean is None or options.std is None:
        raise CalibrationError(
            "images for a float input need the mean and std of the model's training, on the scale 0…255",
            fix="give --mean and --std, for example --mean 127 --std 128",
        )
    if {len(options.mean), len(options.std)} - {1, channels}:
        raise CalibrationError(
            f"mean and std have {len(options.mean)} and {len(options.std)} values for {channels} channels",
            fix="give one value, or one per channel",
        )
    return np.asarray(options.mean, np.float32), np.asarray(options.std, np.float32)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise CalibrationError(
            "images need Pillow, which is not installed", fix="pip install 'deepseek-core[images]'"
        ) from None
    return Image
