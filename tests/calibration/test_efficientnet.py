"""KL calibration of a real depthwise network, the kind that unbounded KL ruins."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from deepseek_core.pipeline import calibrate, compile, float_model, recipe_for
from deepseek_core.quantize import apply_recipe
from deepseek_core.recipe import CalibratorSpec
from deepseek_core.runtime import Session

pytest.importorskip("onnxruntime", reason="the network is too large for the reference backend")
pytest.importorskip("deepseek_backend_cpu", reason="the CPU backend runs the network")
pytest.importorskip("efficientnet_lite_pytorch", reason="the package that describes the network")
efficientnet_lite0 = pytest.importorskip("efficientnet_lite0", reason="the example that exports the network")

UNBOUNDED = CalibratorSpec("entropy", (("max_noise", math.inf),))


@pytest.fixture(scope="module")
def photographs():
    from efficientnet_lite0.photos import foolbox_photos, samples

    feeds = list(samples(foolbox_photos()))
    assert len(feeds) == 20
    return feeds[::2], feeds[1::2]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from efficientnet_lite0.model import export

    return float_model(export(tmp_path_factory.mktemp("network") / "efficientnet_lite0.onnx"))


@pytest.fixture(scope="module")
def calibration(network, photographs):
    return calibrate(network, recipe_for(network, ["cpu"]), photographs[0])


@pytest.fixture(scope="module")
def logits(network, calibration, photographs):
    """`logits(spec)`: outputs on the photographs that calibrated nothing; of the float model for None."""

    def run(spec):
        model = network
        if spec is not None:
            model = apply_recipe(network, recipe_for(network, ["cpu"], calibrator=spec), calibration)
        with Session(compile(model, ["cpu"])) as session:
            return np.concatenate([session.run(feeds)["logits"] for feeds in photographs[1]])

    return run


@pytest.fixture(scope="module")
def exact(logits):
    return logits(None)


def sqnr(exact, found):
    return 10 * math.log10(np.square(exact).sum() / np.square(exact - found).sum())


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_clipping_keeps_the_network(method, logits, exact):
    found = logits(CalibratorSpec(method))
    assert sqnr(exact, found) > 15
    assert np.count_nonzero(found.argmax(1) == exact.argmax(1)) >= 9


def test_kl_without_the_bound_ruins_it(logits, exact):
    assert sqnr(exact, logits(UNBOUNDED)) < 8


def test_shards_and_groups_merge_into_the_same_model(network, calibration, photographs):
    recipe = recipe_for(network, ["cpu"])
    half = len(photographs[0]) // 2
    parts = [calibrate(network, recipe, islice(photographs[0], *bounds)) for bounds in ((half, None), (0, half))]
    merged = parts[0].merge(parts[1])
    assert merged.digest() == calibration.digest()
    assert apply_recipe(network, recipe, merged).digest() == apply_recipe(network, recipe, calibration).digest()
