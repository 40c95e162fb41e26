"""Run, rebuild or refuse."""

from dataclasses import replace

import pytest

from deepseek_core.package import Action, Package, verdict, verdicts
from deepseek_core.registry import BrokenBackend, Registry
from deepseek_core.target import Availability, Missing

GOOD_NPU = Availability(True, True, toolchain={"npu-cc": "1.2"})
GOOD_CPU = Availability(True, True, features=("avx2", "fma"), toolchain={"runtime": "3.4", "other": "9"})


def test_run(package, registry_with):
    found = verdict(package, registry_with(npu=GOOD_NPU, cpu=GOOD_CPU))
    assert found.action is Action.RUN
    assert str(found.action) == "run"


def test_model_alone_is_not_compiled(model, registry_with):
    found = verdict(Package(model()), registry_with())
    assert (found.action, found.fix) == (Action.REFUSE, "run `deepseek compile` on it")


def test_missing_backend(package, registry_with):
    found = verdict(package, registry_with(cpu=GOOD_CPU))
    assert found.action is Action.REFUSE
    assert found.fix == "pip install deepseek-backend-npu"


def test_broken_backend(package, registry_with):
    registry = registry_with(cpu=GOOD_CPU)
    broken = Registry(registry.backends.values(), [BrokenBackend("npu", "d", "ImportError: x", "reinstall it")])
    found = verdict(package, broken)
    assert (found.action, found.fix) == (Action.REFUSE, "reinstall it")


def test_no_device(package, registry_with):
    gone = Availability(True, False, (Missing("the driver", "apt install npu-driver"),))
    found = verdict(package, registry_with(npu=gone, cpu=GOOD_CPU))
    assert found.action is Action.REFUSE
    assert found.reason == "npu:x1 cannot run here (the driver)"
    assert found.fix == "apt install npu-driver"


@pytest.mark.parametrize(
    ("npu", "cpu", "reason"),
    [
        (replace(GOOD_NPU, toolchain={"npu-cc": "1.3"}), GOOD_CPU, "built with npu-cc 1.2, and 1.3 is installed here"),
        (GOOD_NPU, replace(GOOD_CPU, features=("sse",)), "it needs avx2, which this machine lacks"),
    ],
)
def test_rebuild(package, registry_with, npu, cpu, reason):
    registry = registry_with(npu=npu, cpu=cpu)
    found = verdict(package, registry)
    assert found.action is Action.REBUILD
    assert reason in found.reason
    assert sorted(v.action for v in verdicts(package, registry)) == [Action.RUN, Action.REBUILD]
    cannot = {name: replace(report, can_compile=False) for name, report in (("npu", npu), ("cpu", cpu))}
    assert verdict(package, registry_with(**cannot)).action is Action.REFUSE


def test_toolchain_that_the_probe_does_not_report_is_not_compared(package, registry_with):
    assert verdict(package, registry_with(npu=Availability(True, True), cpu=GOOD_CPU)).action is Action.RUN


def test_hook_api_of_another_major(package, registry_with):
    old = replace(package, manifest=replace(package.manifest, hook_api=(0, 9)))
    found = verdict(old, registry_with(npu=GOOD_NPU, cpu=GOOD_CPU))
    assert found.action is Action.REBUILD
    assert "hook API 0" in found.reason
    minor = replace(package, manifest=replace(package.manifest, hook_api=(1, 99)))
    assert verdict(minor, registry_with(npu=GOOD_NPU, cpu=GOOD_CPU)).action is Action.RUN


def test_unknown_device(package, registry_with):
    moved = replace(package.artifacts[0], target=replace(package.artifacts[0].target, device="x9"))
    found = verdict(replace(package, artifacts=(moved,)), registry_with(npu=GOOD_NPU))
    assert found.action is Action.REFUSE
    assert "choose one of: npu:x1" in found.fix
