from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepseek_core.data import ImageOptions, Samples
from deepseek_core.errors import CalibrationError, ConfigError
from deepseek_core.ir import TensorInfo

NCHW = TensorInfo("image", "float32", (1, 3, 16, 16))
NHWC = TensorInfo("image", "float32", ("N", 16, 16, 3))
RAW = TensorInfo("image", "uint8", (1, 16, 16, 3))
PIXELS = ImageOptions(mean=(0.0,), std=(1.0,))


def _read(path: Path, info: TensorInfo, options: ImageOptions = PIXELS) -> np.ndarray:
    (feeds,) = Samples(path, [info], options)
    return feeds["image"]


def test_layouts_hold_the_same_pixels(photo: Path) -> None:
    nchw, nhwc, raw = (_read(photo, info) for info in (NCHW, NHWC, RAW))
    assert nchw.shape == (1, 3, 16, 16)
    assert (nchw.dtype, raw.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(nchw.transpose(0, 2, 3, 1), nhwc)
    np.testing.assert_array_equal(nhwc, raw)


def test_the_crop_is_the_centre_of_the_resized_photo(photo: Path) -> None:
    image = Image.open(photo)
    short = round(16 / 0.875)
    whole = np.asarray(image.resize((round(40 * short / 30), short), Image.Resampling.BICUBIC))
    top, left = (short - 16) // 2, (whole.shape[1] - 16) // 2
    np.testing.assert_array_equal(_read(photo, RAW)[0], whole[top : top + 16, left : left + 16])


def test_mean_and_std_apply_per_channel(photo: Path) -> None:
    plain = _read(photo, NCHW)
    scaled = _read(photo, NCHW, ImageOptions(mean=(1.0, 2.0, 3.0), std=(10.0, 20.0, 30.0)))
    expected = (plain - np.float32([1, 2, 3]).reshape(3, 1, 1)) / np.float32([10, 20, 30]).reshape(3, 1, 1)
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)


def test_grey_and_transparent_photos_become_what_the_model_reads(tmp_path: Path, photo: Path) -> None:
    Image.open(photo).convert("RGBA").save(tmp_path / "alpha.png")
    assert _read(tmp_path / "alpha.png", NCHW).shape == (1, 3, 16, 16)
    assert _read(photo, TensorInfo("image", "float32", (1, 1, 16, 16))).shape == (1, 1, 16, 16)


def test_a_photo_far_from_square_still_fills_a_crop_that_is_not(tmp_path: Path) -> None:
    Image.new("RGB", (10, 300)).save(tmp_path / "tall.png")
    assert _read(tmp_path / "tall.png", TensorInfo("image", "float32", (1, 3, 8, 32))).shape == (1, 3, 8, 32)


@pytest.mark.parametrize(
    ("info", "options", "message"),
    [
        (NCHW, ImageOptions(), "mean and std"),
        (NCHW, ImageOptions(mean=(1.0, 2.0), std=(1.0,)), "2 and 1 values for 3 channels"),
        (TensorInfo("x", "float32", (1, 10)), PIXELS, "takes no images"),
        (TensorInfo("x", "int64", (1, 3, 8, 8)), PIXELS, "takes no images"),
        (TensorInfo("x", "float32", (1, 3, 3, 3)), PIXELS, "where its 1 or 3 channels are"),
        (TensorInfo("x", "float32", (1, 3, "H", "W")), PIXELS, "leaves the image's size open"),
        (NCHW, ImageOptions((0.0,), (1.0,), size=20), "20 pixels do not fit"),
        (NCHW, ImageOptions((0.0,), (1.0,), resize=4), "smaller than the crop"),
    ],
)
def test_what_is_left_open_is_asked_for(photo: Path, info: TensorInfo, options: ImageOptions, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        list(Samples(photo, [info], options))


def test_size_fills_a_symbolic_shape(photo: Path) -> None:
    info = TensorInfo("image", "float32", ("N", 3, "H", "W"))
    assert _read(photo, info, ImageOptions((0.0,), (1.0,), size=12)).shape == (1, 3, 12, 12)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n cut"])
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(CalibrationError, match="no readable image"):
        _read(tmp_path / "a.png", NCHW)


def test_a_photo_that_is_cut_off(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    with pytest.raises(CalibrationError, match="no readable image"):
        _read(tmp_path / "cut.png", NCHW)


@pytest.mark.parametrize("options", [{"size": 0}, {"resize": -1}, {"std": (0.0,)}])
def test_impossible_options(options) -> None:
    with pytest.raises(ConfigError):
        ImageOptions(**options)
