"""Calibrators by name, and what is wrong with a name or an option."""

from __future__ import annotations

import pytest

from deepseek_core.calibration import Calibrator, calibrator
from deepseek_core.calibration.entropy import Entropy
from deepseek_core.calibration.percentile import Percentile
from deepseek_core.errors import ConfigError
from deepseek_core.recipe import CalibratorSpec


class Halving:
    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor

    def range(self, stats, scheme):
        return stats.min * self.factor, stats.max * self.factor


@pytest.mark.parametrize("name", ["entropy", "kl", "KL-Divergence", "Entropy"])
def test_names_of_entropy(name):
    assert calibrator(CalibratorSpec(name)) == Entropy()


def test_options_reach_the_calibrator():
    assert calibrator(CalibratorSpec("percentile", (("percentile", 99.5),))) == Percentile(99.5)


def test_a_backends_calibrator_stands_beside_the_cores():
    extra = {"vendor.halving": Halving}
    built = calibrator(CalibratorSpec("vendor.halving", (("factor", 0.25),)), extra)
    assert isinstance(built, Halving)
    assert built.factor == 0.25
    checked: Calibrator = built
    assert checked
    assert calibrator(CalibratorSpec("mse"), {"mse": Halving}) == calibrator(CalibratorSpec("mse"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (CalibratorSpec("maximum"), "unknown calibrator 'maximum'; use one of entropy, fixed, minmax, mse, percentile"),
        (CalibratorSpec("minmax", (("bins", 3),)), "'minmax' has no option 'bins'; leave the options out"),
        (CalibratorSpec("kl", (("bins", 3),)), "'kl' has no option 'bins'; use max_noise"),
        (CalibratorSpec("fixed"), "fixed range nan to nan"),
        (CalibratorSpec("fixed", (("high", 1), ("low", 2))), "fixed range 2 to 1"),
        (CalibratorSpec("fixed", (("high", float("inf")), ("low", 0))), "fixed range 0 to inf"),
        (CalibratorSpec("percentile", (("percentile", 30),)), "percentile is 30"),
        (CalibratorSpec("percentile", (("percentile", "most"),)), "percentile is 'most'"),
        (CalibratorSpec("entropy", (("max_noise", float("nan")),)), "max_noise is nan"),
    ],
)
def test_a_wrong_spec_is_one_line(spec, message):
    with pytest.raises(ConfigError, match=message):
        calibrator(spec)
