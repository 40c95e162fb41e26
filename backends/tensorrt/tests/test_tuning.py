"""Kernels chosen from what a device took: on a fake one, whose layers on codes take half the time."""

import json

import numpy as np
import pytest

from deepseek_backend_tensorrt import tuning
from deepseek_backend_tensorrt.build import Built, Job
from deepseek_backend_tensorrt.devices import architecture_of
from deepseek_backend_tensorrt.lowering import Lowering, lower
from deepseek_backend_tensorrt.settings import Settings
from deepseek_backend_tensorrt.toolchain import Toolchain
from deepseek_backend_tensorrt.tuning import choose, preset
from deepseek_core import Basis, CompileOptions, Target

TARGET = Target("tensorrt", "sm_90")


@pytest.fixture
def job(gpu, network) -> Job:
    return Job(network, TARGET, architecture_of(TARGET), "tensorrt", Settings())


@pytest.fixture
def slow_codes(monkeypatch):
    """Let whole engines take longer the more units run on codes, and each layer on codes longer than in float."""
    built: list[frozenset[str]] = []

    def fake_build(job: Job) -> Built:
        built.append(job.plain)
        return Built(json.dumps(sorted(job.plain)).encode(), "8.6.0", 0.0, (), "test")

    def seconds(job: Job, built: Built, gpu: object) -> float:
        plain = json.loads(built.engine)
        return 1.0 - 0.1 * len(set(plain) & {"first", "head"}) + 0.05 * len(set(plain) - {"first", "head"})

    def units(job: Job, built: Built, gpu: object) -> dict[str, float]:
        plain = json.loads(built.engine)
        slow = {"first", "head"}
        return {u.name: (3e-3 if (u.name in slow) != (u.name in plain) else 1e-3) for u in job.model.units()}

    monkeypatch.setattr(tuning, "build", fake_build)
    monkeypatch.setattr(tuning, "_whole_seconds", seconds)
    monkeypatch.setattr(tuning, "_unit_seconds", units)
    return built


def test_units_for_which_codes_do_not_pay_run_in_float(job, slow_codes) -> None:
    assert choose(job) == {"first", "head"}
    assert slow_codes[-1] == {"first", "head"}, "the mixture that the times suggest is built and timed too"


def test_what_was_measured_is_known_afterwards(job, slow_codes, registry, network, monkeypatch) -> None:
    choose(job)
    backend = registry.backend("tensorrt")
    unit = next(unit for unit in network.units() if unit.name == "first")
    candidates = backend.kernels(unit, TARGET)
    assert [candidate.name for candidate in candidates] == ["float", "int8"]
    assert set(backend.cost([unit], TARGET).bases) == {Basis.MEASURED}
    assert backend.cost([unit], TARGET).seconds == pytest.approx(1e-3)
    assert backend.cost([unit], Target("tensorrt", "sm_80")).basis == "analytic"
    monkeypatch.setattr(tuning, "toolchain", Toolchain)
    count = len(slow_codes)
    assert choose(job) == {"first", "head"}, "without a device the measurements decide"
    assert len(slow_codes) == count


def test_the_whole_way_on_a_device_keeps_the_fastest(gpu, registry, network) -> None:
    artifact = registry.backend("tensorrt").compile(network, TARGET, CompileOptions())
    assert artifact.report["kernels"] == {}, "all take the same time there, so the first stays"


def test_without_choices_nothing_is_built(job, slow_codes, monkeypatch) -> None:
    monkeypatch.setattr(tuning, "is_choice", {}.get)
    assert choose(job) == frozenset()
    assert slow_codes == []


def test_presets(network) -> None:
    accumulating = {"stem", "first", "second", "left", "right", "head"}
    assert preset(network, "float") > accumulating
    assert preset(network, "float") == {unit.name for unit in network.units() if unit.is_quantized}
    assert preset(network, "weights") == preset(network, "int8") == frozenset(), "no product of two activations here"


def test_all_in_float_leaves_no_codes(gpu, registry, network, feeds) -> None:
    plain = preset(network, "float")
    assert not lower(network, Lowering(17, typed=False, plain=plain)).has_codes
    backend = registry.backend("tensorrt")
    artifact = backend.compile(network, TARGET, CompileOptions(extra={"kernels": "float"}))
    assert set(artifact.report["kernels"]) == plain
    assert artifact.report["int8"]["share"] == 0.0
    executable = backend.load(artifact)
    assert all(np.isfinite(output).all() for output in executable.run(feeds).values())
    executable.close()


def test_units_that_do_not_accumulate_go_with_their_neighbours(job, slow_codes, monkeypatch) -> None:
    def all_slow(job: Job, built: Built, gpu: object) -> dict[str, float]:
        plain = json.loads(built.engine)
        return {unit.name: (1e-3 if unit.name in plain else 3e-3) for unit in job.model.units()}

    def whole(job: Job, built: Built, gpu: object) -> float:
        return 1.0 / (1 + len(json.loads(built.engine)))

    monkeypatch.setattr(tuning, "_unit_seconds", all_slow)
    monkeypatch.setattr(tuning, "_whole_seconds", whole)
    assert choose(job) == preset(job.model, "float")
