from __future__ import annotations

import json
import math

import numpy as np
import pytest
from deepseek.quantization import QuantizationRecipe
from deepseek.quantization.execution import Runner
from deepseek.quantization.run import start
from deepseek.quantization.search.formats import menu
from deepseek.quantization.search.sensitivity import Sensitivity, measure
from deepseek.quantization.search.sensitivity.noise import Disturbed

from deepseek_core import CalibratorSpec, QuantizedModel
from deepseek_core.errors import ConfigError

from .conftest import perceptron, samples_of, transformer

MINMAX = QuantizationRecipe(calibrator=CalibratorSpec("minmax"))


def surveyed(model: QuantizedModel, **options: object) -> Sensitivity:
    work = start(model, samples_of(model), MINMAX)
    return measure(work, menu(work, ["int8"]), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x", "q", "weights", "mixed", "residual", "active", "y"])
def test_a_disturbance_enters_where_it_is_put(name: str) -> None:
    model = transformer(sharp=1.0, outlier=1.0)
    (feeds,) = samples_of(model, 1)
    values = {value.name: value for node in model.graph for value in node.outputs}
    with Disturbed(model, [name]) as disturbed:
        clean = disturbed.begin(feeds)["y"]
        shape = feeds["x"].shape if name == "x" else tuple(values[name].shape or ())
        error = np.full(shape, 0.25, np.float32)
        got = disturbed.outputs({name: error})["y"]
        np.testing.assert_array_equal(disturbed.outputs({})["y"], clean)
    if name == "x":
        with Runner(model) as runner:
            np.testing.assert_allclose(got, runner({"x": feeds["x"] + error})["y"], rtol=1e-5, atol=1e-5)
    elif name == "y":
        np.testing.assert_allclose(got, clean + 0.25, rtol=1e-5, atol=1e-5)
    elif name == "weights":  # rows that all grow by the same add the same to what they mix
        assert np.abs(got - clean).max() > 1e-3


def test_noises_of_single_sources_add_up_to_that_of_all() -> None:
    found = surveyed(perceptron(4, 32), samples=8)
    total = sum(own.get("int8", 0.0) for own in found.units.values())
    total += sum(sum(own.values()) for own in found.values.values())
    assert found.joint["int8"] == pytest.approx(total, rel=0.5)


def test_the_sensitive_place_stands_out() -> None:
    sharp = surveyed(transformer(sharp=40.0, outlier=1.0))
    even = surveyed(transformer(sharp=1.0, outlier=50.0))
    assert max(sharp.values, key=lambda name: sum(sharp.values[name].values())) in ("q", "kt", "k", "scores", "x")
    assert max(even.values, key=lambda name: sum(even.values[name].values())) in ("hidden", "active")


def test_a_finer_format_makes_less_noise() -> None:
    model = perceptron()
    work = start(model, samples_of(model), MINMAX)
    found = measure(work, menu(work, ["int8", "w4a8", "w8a16"]))
    for own in found.units.values():
        assert own["w4a8"] > 50 * own["int8"]
        assert own["w8a16"] == pytest.approx(own["int8"], rel=0.05)
    for name, own in found.values.items():
        wide = {kind: noise for kind, noise in own.items() if "16" in kind}
        assert all(noise < 1e-3 * own.get("uint8 per_tensor asymmetric", math.inf) for noise in wide.values()), name


def test_it_is_data() -> None:
    found = surveyed(perceptron(2))
    assert Sensitivity.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(ConfigError, match="not a sensitivity"):
        Sensitivity.from_json({"values": {}})
