"""Profiling: units on real values, launches and links from differences, kept and used by placements."""

import time
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.artifact import Artifact
from deepseek_core.cost import Basis
from deepseek_core.errors import PlacementError
from deepseek_core.hookspecs import HOOK_API, BackendInfo, hookimpl
from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.partition import Profile, place
from deepseek_core.profile import run_profile
from deepseek_core.profile.links import fit
from deepseek_core.registry import Backend, Registry
from deepseek_core.selection import TuningCache
from deepseek_core.target import Availability, Capabilities, Missing, Target, Tier

OPS = {"Relu": lambda x: np.maximum(x, 0), "Neg": np.negative, "Abs": np.abs}
X = np.linspace(-1, 1, 64, dtype=np.float32)


class Executable:
    """Runs a chain of ops in NumPy; each run is noted."""

    tier = Tier.SIMULATED

    def __init__(self, name, payload, runs):
        self.device = f"{name} 0"
        self._steps = [line.split() for line in payload.decode().splitlines()]
        made = {out for _, _, out in self._steps}
        names = dict.fromkeys(source for _, source, _ in self._steps if source not in made)
        self.inputs = tuple(TensorInfo(n, "float32", X.shape) for n in names)
        self.outputs = tuple(TensorInfo(out, "float32", X.shape) for _, _, out in self._steps)
        self._runs, self.closed = runs, 0

    def run(self, feeds):
        values = dict(feeds)
        for op, source, out in self._steps:
            values[out] = OPS[op](values[source])
        self._runs.append(tuple(op for op, _, _ in self._steps))
        return {info.name: values[info.name] for info in self.outputs}

    def close(self):
        self.closed += 1


class Fake:
    def __init__(self, name, ops=tuple(OPS), here=True, broken=()):
        self.name, self.ops, self.here, self.broken = name, ops, here, broken
        self.target, self.runs, self.opened = Target(name, "chip"), [], []

    def backend(self):
        missing = () if self.here else (Missing("the board", "plug it in"),)
        here = Availability(True, self.here, missing, tier=Tier.SIMULATED, devices=(f"{self.name} 0",))

        def claim(model, target, refuse):
            from deepseek_core.placement import Claim

            for unit in model.units():
                if unit.op not in self.ops:
                    refuse(unit, "not mine")
            return [Claim(target, (unit.name,)) for unit in model.units() if unit.op in self.ops]

        def compiled(model, target):
            lines = [f"{n.op_type} {n.inputs[0].name} {n.outputs[0].name}" for n in model.graph]
            return Artifact(target, "\n".join(lines).encode(), "lines")

        def load(artifact):
            if any(op in artifact.payload.decode() for op in self.broken):
                raise OSError("does not load")
            self.opened.append(Executable(self.name, artifact.payload, self.runs))
            return self.opened[-1]

        hooks = {
            "deepseek_backend": lambda: BackendInfo(self.name, HOOK_API, (self.target,), "", "1"),
            "deepseek_capabilities": lambda: Capabilities(self.target, (), any_float=True, launch=1.0),
            "deepseek_probe": lambda: here,
            "deepseek_claim": claim,
            "deepseek_compile": compiled,
            "deepseek_load": load,
        }
        return Backend(SimpleNamespace(**{k: hookimpl(v) for k, v in hooks.items()}))


@pytest.fixture
def model():
    """x → Relu → Neg → Abs → Neg, all of 64 floats."""
    x = ir.Value(name="x", shape=ir.Shape(X.shape), type=ir.TensorType(ir.DataType.FLOAT))
    nodes, value = [], x
    for number, op in enumerate(("Relu", "Neg", "Abs", "Neg")):
        nodes.append(ir.node(op, [value], name=f"{op.lower()}{number}"))
        value = nodes[-1].outputs[0]
        value.name, value.shape, value.type = f"v{number}", ir.Shape(X.shape), ir.TensorType(ir.DataType.FLOAT)
    return QuantizedModel(
        ir.Model(ir.Graph([x], [value], nodes=nodes, opset_imports={"": 21}, name="g"), ir_version=10)
    )


@pytest.fixture
def timer(monkeypatch):
    """Time as the executables' own: each run takes what `seconds(ops)` says, and nothing is waited for."""
    clock = SimpleNamespace(now=0.0)

    def install(fakes, seconds):
        for name, fake in fakes.items():
            real = fake.runs.append

            class Runs(list):
                def append(self, ops, name=name, real=real):
                    clock.now += seconds(name, ops)
                    real(ops)

            fake.runs = Runs()

    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return install


@pytest.fixture
def profile(tmp_path):
    return Profile(TuningCache(tmp_path / "profile.json"))


def resolved(registry, *fakes):
    return [registry.resolve(fake.target) for fake in fakes]


def test_units_launch_and_parts(model, profile, timer):
    npu = Fake("npu")
    timer({"npu": npu}, lambda name, ops: 0.5 + 0.25 * len(ops))
    registry = Registry([npu.backend()])
    found = run_profile(model, resolved(registry, npu), {"x": X}, registry, profile)
    (target,) = found.targets
    assert (target.measured, target.known, target.failed) == (3, 1, {})  # both Neg are alike
    assert target.launch == pytest.approx(0.5)
    (part,) = found.parts
    assert part.predicted == pytest.approx(part.measured) == pytest.approx(1.5)
    placement = place(model, resolved(registry, npu), profile=profile)
    assert placement.cost.bases == {Basis.MEASURED: pytest.approx(1.5)}
    assert all(executable.closed for executable in npu.opened)


def test_units_that_gain_from_company(model, profile, timer):
    npu = Fake("npu")
    timer({"npu": npu}, lambda name, ops: 1.0 if len(ops) == 1 else 1.2)
    registry = Registry([npu.backend()])
    run_profile(model, resolved(registry, npu), {"x": X}, registry, profile)
    device = profile.device(*resolved(registry, npu)[0])
    assert device.launch == pytest.approx((4 - 1.2) / 3)
    assert device.launch + 4 * (1 - device.launch) * device.company == pytest.approx(1.2)


def test_links_are_what_is_beyond_the_sum(model, profile, timer):
    one, other = Fake("one"), Fake("other")
    last = [""]

    def seconds(name, ops):
        crossing = 0.125 if last[0] not in ("", name) else 0.0
        last[0] = name
        return 1.0 + crossing

    timer({"one": one, "other": other}, seconds)
    registry = Registry([one.backend(), other.backend()])
    found = run_profile(model, resolved(registry, one, other), {"x": X}, registry, profile)
    assert {(str(link.source), str(link.to)) for link in found.links} == {
        ("one:chip", "other:chip"),
        ("other:chip", "one:chip"),
    }
    assert all(link.second_per_byte is None for link in found.links)  # 256 bytes tell nothing of bandwidth
    assert set(profile.links(resolved(registry, one, other))) == {
        (one.target, other.target),
        (other.target, one.target),
    }


def test_what_is_known_is_not_measured_again(model, profile, timer, tmp_path):
    npu = Fake("npu")
    timer({"npu": npu}, lambda name, ops: 1.0)
    registry = Registry([npu.backend()])
    targets = resolved(registry, npu)
    run_profile(model, targets, {"x": X}, registry, profile)
    again = Profile(TuningCache(tmp_path / "profile.json"))
    known = run_profile(model, targets, {"x": X}, registry, again).targets[0]
    fresh = run_profile(model, targets, {"x": X}, registry, again, fresh=True).targets[0]
    assert (known.measured, known.known) == (0, 4)
    assert (fresh.measured, fresh.known) == (3, 1)


def test_a_unit_that_fails_is_told_and_the_rest_measured(model, profile, timer):
    npu, cpu = Fake("npu", broken=("Abs",)), Fake("cpu")
    timer({"npu": npu, "cpu": cpu}, lambda name, ops: 1.0)
    registry = Registry([npu.backend(), cpu.backend()])
    found = run_profile(model, resolved(registry, npu), {"x": X}, registry, profile)  # cpu carries
    (target,) = found.targets
    assert target.failed == {"abs2": "OSError: does not load"}
    assert target.measured == 2
    assert [(part.units, part.measured, part.failed) for part in found.parts] == [(4, None, "OSError: does not load")]


def test_units_that_only_a_carrier_runs(model, profile, timer):
    npu, cpu = Fake("npu", ops=("Relu", "Abs")), Fake("cpu")
    timer({"npu": npu, "cpu": cpu}, lambda name, ops: 1.0)
    registry = Registry([npu.backend(), cpu.backend()])
    found = run_profile(model, resolved(registry, npu), {"x": X}, registry, profile)
    assert found.targets[0].measured == 2
    assert found.parts == ()
    alone = Registry([npu.backend()])
    with pytest.raises(PlacementError, match="'neg1' runs on no target here"):
        run_profile(model, resolved(alone, npu), {"x": X}, alone, profile)


def test_targets_that_are_absent(model, profile, timer):
    gone, cpu = Fake("gone", here=False), Fake("cpu")
    timer({"cpu": cpu}, lambda name, ops: 1.0)
    registry = Registry([gone.backend(), cpu.backend()])
    found = run_profile(model, resolved(registry, gone, cpu), {"x": X}, registry, profile)
    assert [t.absent for t in found.targets] == ["the board is missing", ""]
    with pytest.raises(PlacementError, match=r"none of the targets is here \(gone:chip: the board is missing\)"):
        run_profile(model, resolved(registry, gone), {"x": X}, registry, profile)


def test_other_devices_and_threads_are_other_figures(model, tmp_path, timer):
    npu = Fake("npu")
    timer({"npu": npu}, lambda name, ops: 1.0)
    registry = Registry([npu.backend()])
    cache = TuningCache(tmp_path / "p.json")
    run_profile(model, resolved(registry, npu), {"x": X}, registry, Profile(cache, threads=2))
    (pair,) = resolved(registry, npu)
    unit = next(iter(model.units()))
    assert Profile(cache, threads=2).device(*pair).alone(unit) == pytest.approx(1.0)
    assert Profile(cache, threads=1).device(*pair).alone(unit) is None


@pytest.mark.parametrize(
    ("samples", "line"),
    [
        ([(1 << 16, 2.0), (1 << 17, 3.0), (1 << 18, 5.0)], (1.0, 1.0 / (1 << 16))),
        ([(1 << 16, 2.0), (1 << 17, 2.0)], (2.0, 0.0)),
        ([(1 << 16, 3.0), (1 << 17, 1.0)], (2.0, 0.0)),
        ([(1 << 16, 1.0), (1 << 17, 2.4)], (0.0, 2.32 / (1 << 17))),
        ([(100, 2.0), (200, 9.0), (300, 2.0)], (2.0 - 100e-9, None)),
        ([(1 << 20, 5.0)], (5.0 - (1 << 20) * 1e-9, None)),
    ],
)
def test_lines_through_samples(samples, line):
    latency, slope = fit(samples, 1e-9)
    assert latency == pytest.approx(line[0], abs=1e-9)
    assert slope == (None if line[1] is None else pytest.approx(line[1]))
