"""The hooks as the core calls them."""

import subprocess
import sys

import numpy as np
import pytest

from deepseek_backend_npu.capabilities import TARGETS
from deepseek_core import Basis, CompileOptions, Tier, discover
from deepseek_core.errors import BackendError, ConfigError


@pytest.fixture(scope="module")
def backend():
    return discover().resolve("npu")[0]


def test_targets_are_every_variant(backend) -> None:
    devices = {target.device for target in TARGETS}
    assert {f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)} <= devices
    assert {"ethos-u65-256", "ethos-u65-512", "ethos-u85-128", "ethos-u85-2048"} <= devices


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_tier_is_never_more_than_what_runs(backend, target) -> None:
    availability = backend.probe(target)
    assert availability.tier in (Tier.EMULATED, None)
    assert all(missing.fix for missing in availability.missing)


def test_probing_imports_no_vendor_package() -> None:
    code = """
import sys
from deepseek_core import discover
backend, target = discover().resolve("npu")
backend.probe(target), backend.capabilities(target)
print(sorted(sys.modules))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ethosu" not in answer.stdout
    assert "tosa" not in answer.stdout
    assert "flatbuffers" not in answer.stdout


def test_costs_rest_on_the_compiler(backend, network) -> None:
    (target,) = (t for t in TARGETS if t.device == "ethos-u55-128")
    cost = backend.cost(network.units(), target)
    assert set(cost.bases) == {Basis.COMPILER_ESTIMATE}
    assert cost.seconds > 0
    assert cost.bytes > 0


def test_a_larger_variant_costs_less(backend, network) -> None:
    by_device = {t.device: backend.cost(network.units(), t).seconds for t in TARGETS if "u55" in t.device}
    assert by_device["ethos-u55-32"] > by_device["ethos-u55-256"]


def test_the_choice_of_options_is_remembered_and_never_worse(backend, network) -> None:
    target = TARGETS[0]
    plain = backend.compile(network, target, CompileOptions(optimize=0))
    first = backend.compile(network, target, CompileOptions(optimize=1))
    again = backend.compile(network, target, CompileOptions(optimize=1))
    assert first.payload == again.payload
    assert first.report["estimate"]["cycles"] <= plain.report["estimate"]["cycles"]


def test_the_header_holds_the_payload_and_the_constants(backend, network) -> None:
    header = backend.cross_compile(network, TARGETS[0], "c-header", CompileOptions(optimize=0))
    text = header.payload.decode("ascii")
    assert "static const uint8_t deepseek_model_payload[" in text
    assert "67, 79, 80, 49," in text, "the payload starts with COP1"
    assert "ethosu_invoke_v3" in text
    assert backend.cross_compile(network, TARGETS[0], "elf", CompileOptions()) is None


def test_taps_and_unknown_options_are_refused(backend, network) -> None:
    with pytest.raises(BackendError, match="values from inside"):
        backend.compile(network, TARGETS[0], CompileOptions(taps=("conv3.y",)))
    with pytest.raises(ConfigError, match="no option 'speed'"):
        backend.compile(network, TARGETS[0], CompileOptions(extra={"speed": "fast"}))


def test_a_run_is_repeatable_and_a_closed_executable_says_so(backend, network, random_feeds) -> None:
    executable = backend.load(backend.compile(network, TARGETS[0], CompileOptions(optimize=0)))
    feeds = random_feeds(network)
    one, other = executable.run(feeds), executable.run(feeds)
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array)
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        executable.run(feeds)
