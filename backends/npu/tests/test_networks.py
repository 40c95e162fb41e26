"""Whole networks: every layer of the emulator equals Arm's reference model, on every variant."""

from dataclasses import replace

import numpy as np
import pytest

from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.verification.networks import residual_network
from deepseek_backend_npu.versions import reference_version

pytestmark = pytest.mark.skipif(reference_version() is None, reason="Arm's TOSA model is not installed")


@pytest.mark.parametrize("device", DEVICES)
def test_every_layer_equals_arms_model(device, compiled, random_feeds) -> None:
    model = residual_network(1, size=20, width=20)
    container = compiled(model, device, every_tensor=True)
    feeds = random_feeds(model)
    emulated = NpuExecutable(container).run(feeds)
    expected = NpuExecutable(replace(container, tier="reference")).run(feeds)
    assert len(expected) == len(model.units())
    for name, array in expected.items():
        np.testing.assert_array_equal(emulated[name], array, err_msg=name)


@pytest.mark.parametrize("extra", [{"optimize": "size"}, {"cascading": "off"}, {"buffering": "off"}, {"sram": "16K"}])
def test_options_change_the_program_and_not_its_results(extra, network, compiled, random_feeds) -> None:
    feeds = random_feeds(network)
    plain = NpuExecutable(compiled(network)).run(feeds)
    other = NpuExecutable(compiled(network, **extra)).run(feeds)
    for name, array in plain.items():
        np.testing.assert_array_equal(other[name], array)


@pytest.mark.parametrize("memory", ["Sram_Only", "Shared_Sram"])
@pytest.mark.parametrize("system", ["Ethos_U55_Deep_Embedded", "Ethos_U55_High_End_Embedded"])
def test_systems_differ_in_estimates_alone(system, memory, network, compiled, random_feeds) -> None:
    container = compiled(network, system=system, memory=memory)
    plain = compiled(network)
    feeds = random_feeds(network)
    for name, array in NpuExecutable(plain).run(feeds).items():
        np.testing.assert_array_equal(NpuExecutable(container).run(feeds)[name], array)
    assert container.estimate is not None
    assert plain.estimate is not None
    assert container.estimate.macs == plain.estimate.macs
    assert (container.estimate.seconds > plain.estimate.seconds) == (system == "Ethos_U55_Deep_Embedded")
