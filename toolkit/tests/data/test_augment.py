"""Augmented images: seeded, within the pixel range, of any layout; other inputs are refused."""

from __future__ import annotations

import numpy as np
import pytest
from deepseek.quantization.data.augment import Augmented, Deployment
from deepseek.quantization.steps import StepSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core import TensorInfo
from deepseek_core.errors import CalibrationError, ConfigError

STILL = dict.fromkeys(("flip", "crop", "brightness", "contrast", "saturation", "noise"), 0.0)
NCHW = (TensorInfo("image", "float32", ("n", 3, 8, 10)),)
NHWC = (TensorInfo("image", "float32", ("n", 8, 10, 3)),)


def images(count, seed=0, shape=(2, 3, 8, 10)):
    random = np.random.default_rng(seed)
    return [{"image": random.uniform(-1, 1, shape).astype(np.float32)} for _ in range(count)]


def test_every_sample_is_followed_by_its_copies_and_comes_out_the_same_twice():
    samples = images(3)
    augmented = Augmented(samples, NCHW, Deployment(), copies=2, seed=7)
    first, second = list(augmented), list(augmented)
    assert len(first) == len(augmented) == 9
    assert [first[i] is sample for i, sample in zip((0, 3, 6), samples, strict=True)] == [True] * 3
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
    assert not np.array_equal(first[1]["image"], first[2]["image"])
    again = list(Augmented(samples, NCHW, Deployment(), copies=2, seed=8))
    assert not np.array_equal(first[1]["image"], again[1]["image"])


@settings(max_examples=40, deadline=None)
@given(
    shares=st.lists(st.floats(0, 0.9), min_size=6, max_size=6),
    seed=st.integers(0, 99),
    channels=st.sampled_from([1, 3]),
)
def test_pixels_stay_between_black_and_white(shares, seed, channels):
    mean, std = (127.0,), (128.0,)
    inputs = (TensorInfo("image", "float32", ("n", channels, 8, 10)),)
    samples = images(1, seed, (2, channels, 8, 10))
    _, copy = Augmented(samples, inputs, Deployment(*shares, mean=mean, std=std), seed=seed)
    assert copy["image"].shape == samples[0]["image"].shape
    assert copy["image"].dtype == np.float32
    assert copy["image"].min() >= -127 / 128 - 1e-5
    assert copy["image"].max() <= 1 + 1e-5


def test_layouts_give_the_same_images():
    samples = images(1)
    turned = [{"image": np.ascontiguousarray(samples[0]["image"].transpose(0, 2, 3, 1))}]
    _, one = Augmented(samples, NCHW, Deployment(), seed=3)
    _, other = Augmented(turned, NHWC, Deployment(), seed=3)
    np.testing.assert_allclose(one["image"].transpose(0, 2, 3, 1), other["image"], atol=1e-5)


def test_nothing_changes_where_the_deployment_changes_nothing():
    (original,) = samples = images(1)
    _, copy = Augmented(samples, NCHW, Deployment(**STILL))
    np.testing.assert_allclose(copy["image"], original["image"], atol=1e-5)


def test_a_flip_mirrors_left_to_right():
    (original,) = samples = images(1)
    _, copy = Augmented(samples, NCHW, Deployment(**{**STILL, "flip": 1.0}))
    np.testing.assert_allclose(copy["image"], original["image"][..., ::-1], atol=1e-5)


@pytest.mark.parametrize("name", ["crop", "brightness", "contrast", "saturation", "noise"])
def test_each_change_changes_something(name):
    (original,) = samples = images(1)
    _, copy = Augmented(samples, NCHW, Deployment(**{**STILL, name: 0.5}))
    assert np.abs(copy["image"] - original["image"]).max() > 0.01


def test_constant_and_empty_images():
    flat, empty = np.full((1, 3, 8, 10), 0.5, np.float32), np.zeros((0, 3, 8, 10), np.float32)
    for array in (flat, empty):
        _, copy = Augmented([{"image": array}], NCHW, Deployment())
        assert copy["image"].shape == array.shape
        assert np.isfinite(copy["image"]).all()


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (TensorInfo("ids", "int64", ("n", 8)), "takes int64, not float images"),
        (TensorInfo("x", "float32", ("n", 8)), "does not have the four axes of images"),
        (TensorInfo("x", "float32", ("n", 7, 8, 9)), "does not say where its 1 or 3 channels are"),
    ],
)
def test_what_is_no_image_is_refused(info, message):
    with pytest.raises(CalibrationError, match=message):
        Augmented([], (info,), Deployment())
    with pytest.raises(CalibrationError, match=message):
        Augmented([], (info,), Deployment(), name=info.name)


def test_the_input_is_named_where_several_take_images():
    two = (*NCHW, TensorInfo("other", "float32", ("n", 1, 8, 8)))
    with pytest.raises(CalibrationError, match="2 inputs take images"):
        Augmented([], two, Deployment())
    sample = {**images(1)[0], "other": np.ones((2, 1, 8, 8), np.float32)}
    _, copy = Augmented([sample], two, Deployment(), name="image")
    assert copy["other"] is sample["other"]


@pytest.mark.parametrize(
    "options", [{"flip": 2.0}, {"crop": 1.0}, {"noise": -1.0}, {"peak": 0.0}, {"mean": [127.0]}, {"copies": 0}]
)
def test_impossible_options_are_refused_when_the_recipe_is_read(options):
    with pytest.raises(ConfigError):
        StepSpec("augment", options).build()


def test_mean_and_std_fit_the_channels():
    with pytest.raises(ConfigError, match="2 numbers of mean or std for 3 channels"):
        Augmented([], NCHW, Deployment(mean=(1.0, 2.0), std=(1.0, 2.0)))
