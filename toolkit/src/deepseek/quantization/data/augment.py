"""More calibration images from the ones there are: flips, crops, colours, noise as the deployment will see them.

Whatever is drawn depends on a seed, the number of the sample and the number of the copy alone, so that samples may be
iterated as often as needed and are the same every time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core import Feeds, TensorInfo
from deepseek_core.errors import CalibrationError, ConfigError

__all__ = ["Augmented", "Deployment"]

Images = NDArray[np.float32]

_SHARES = ("flip", "crop", "brightness", "contrast", "saturation")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What images look like where the network is used, compared with the calibration images.

    Colours and noise are in units of the pixel range: 0.1 is a tenth of the way from black to white.

    Attributes:
        flip: how often an image is mirrored left to right, from 0 to 1.
        crop: share of the height and width that may be cut away; the rest is stretched to the old size.
        brightness: largest shift of all pixels, either way.
        contrast: largest relative change of the distance from the image's mean.
        saturation: largest relative change of the distance from grey; needs three channels.
        noise: largest standard deviation of the sensor's noise (Gaussian, independent for each value).
        mean: what was subtracted from pixels when the images were made into tensors: one number, or one a channel.
        std: what they were divided by then; both on the scale `peak`. Without them the range of an image's pixels is
            estimated from all images of its sample.
        peak: value of a white pixel before that.
    """

    flip: float = 0.5
    crop: float = 0.125
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    noise: float = 0.02
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    peak: float = 255.0

    def __post_init__(self) -> None:
        for entry in fields(self)[: len(_SHARES)]:
            value = getattr(self, entry.name)
            if not 0 <= value <= 1 or (entry.name == "crop" and value == 1):
                raise ConfigError(f"{entry.name} of {value}", fix="give a share from 0 to 1 (crop: below 1)")
        if not 0 <= self.noise <= 1 or not self.peak > 0:
            raise ConfigError(
                f"noise of {self.noise} and peak of {self.peak}", fix="give noise from 0 to 1, a positive peak"
            )
        if bool(self.mean) != bool(self.std) or (self.std and min(self.std) <= 0):
            raise ConfigError("mean and std do not go together", fix="give both, the std positive, or neither")


class Augmented(Collection[Feeds]):
    """Samples, each followed by changed copies of itself.

    Args:
        samples: feeds of a network.
        inputs: what the network takes.
        name: of the input that takes images; empty for the only one that could.
        copies: changed copies of each sample.
        deployment: how they are changed.
        seed: of everything random.

    Raises:
        CalibrationError: the input takes no float images.
        ConfigError: mean and std do not fit its channels.
    """

    def __init__(
        self,
        samples: Collection[Feeds],
        inputs: tuple[TensorInfo, ...],
        deployment: Deployment,
        *,
        name: str = "",
        copies: int = 1,
        seed: int = 0,
    ) -> None:
        self._samples, self._deployment, self._copies, self._seed = samples, deployment, copies, seed
        info = _image_input(inputs, name)
        self._name, self._last = info.name, _channels_last(info)
        channels = (info.shape or ())[3 if self._last else 1]
        for numbers in (deployment.mean, deployment.std):
            if len(numbers) not in (0, 1, channels):
                raise ConfigError(
                    f"{len(numbers)} numbers of mean or std for {channels} channels", fix="give one, or one a channel"
                )

    def __len__(self) -> int:
        return len(self._samples) * (1 + self._copies)

    def __contains__(self, item: object) -> bool:
        return any(item is sample for sample in self)

    def __iter__(self) -> Iterator[Feeds]:
        for number, sample in enumerate(self._samples):
            yield sample
            for copy in range(self._copies):
                yield {**sample, self._name: self._changed(sample[self._name], (self._seed, number, copy))}

    def _changed(self, array: NDArray[Any], seed: tuple[int, ...]) -> NDArray[Any]:
        """A copy of images [N, C, H, W] or [N, H, W, C], of the same shape and dtype."""
        images = array.astype(np.float32)
        images = images if self._last else np.moveaxis(images, 1, -1)
        if not images.size:
            return array
        black, white = self._range(images)
        random, span = np.random.default_rng(seed), white - black
        changed = [_changed((image - black) / span, self._deployment, random) for image in images]
        result = np.stack(changed) * span + black
        result = result if self._last else np.moveaxis(result, -1, 1)
        return np.ascontiguousarray(result, array.dtype)

    def _range(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Black and white as the tensor has them, for each channel (or for all)."""
        if not self._deployment.mean:
            low, high = images.min(), images.max()
            return np.asarray(low), np.asarray(high if high > low else low + 1)
        mean, std = (np.asarray(numbers, np.float32) for numbers in (self._deployment.mean, self._deployment.std))
        return -mean / std, (np.float32(self._deployment.peak) - mean) / std


def _image_input(inputs: tuple[TensorInfo, ...], name: str) -> TensorInfo:
    candidates = [info for info in inputs if (info.name == name if name else _problem(info) is None)]
    if len(candidates) != 1:
        listed = "; ".join(f"'{info.name}' {_problem(info) or 'takes images'}" for info in inputs)
        what = f"the network has no input '{name}'" if name else f"{len(candidates)} inputs take images"
        raise CalibrationError(f"{what} ({listed})", fix="name one with input=, or leave the step augment out")
    problem = _problem(candidates[0])
    if problem is not None:
        raise CalibrationError(f"input '{candidates[0].name}' {problem}", fix="leave the step augment out")
    return candidates[0]


def _problem(info: TensorInfo) -> str | None:
    """Why an input takes no images; None when it does."""
    if info.dtype not in ("float32", "float16"):
        return f"takes {info.dtype}, not float images"
    if info.shape is None or len(info.shape) != 4:
        return "does not have the four axes of images"
    if (info.shape[1] in (1, 3)) == (info.shape[3] in (1, 3)):
        return "does not say where its 1 or 3 channels are"
    return None


def _channels_last(info: TensorInfo) -> bool:
    return info.shape is not None and info.shape[3] in (1, 3)


def _changed(image: Images, deployment: Deployment, random: np.random.Generator) -> Images:
    """One image [H, W, C] of pixels from 0 to 1. Every number is drawn, used or not, so options do not interfere."""
    flip, top, left, height, width, bright, contrast, colour, level = random.uniform(size=9)
    noise = random.standard_normal(image.shape, np.float32)
    if flip < deployment.flip:
        image = image[:, ::-1]
    image = _cropped(image, deployment.crop, (top, left), (height, width))
    image = image + np.float32(deployment.brightness * (2 * bright - 1))
    image = image.mean() + (image - image.mean()) * np.float32(1 + deployment.contrast * (2 * contrast - 1))
    if image.shape[2] == 3:
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * np.float32(1 + deployment.saturation * (2 * colour - 1))
    return np.asarray(np.clip(image + noise * np.float32(deployment.noise * level), 0, 1), np.float32)


def _cropped(image: Images, most: float, place: tuple[float, float], share: tuple[float, float]) -> Images:
    """A window of the image, stretched back to its size by bilinear interpolation."""
    for axis in (0, 1):
        size = image.shape[axis]
        kept = (size - 1) * (1 - most * share[axis])
        at = (size - 1 - kept) * place[axis] + np.linspace(0, kept, size)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        weight = (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        high = np.minimum(low + 1, size - 1)
        image = image.take(low, axis) * (1 - weight) + image.take(high, axis) * weight
    return image
