"""What the NPU benchmark asks of one network: layers against Arm's model, the whole against the CPU, options, times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.compiler import build, variations
from deepseek_backend_npu.container import Container
from deepseek_backend_npu.devices import DEVICES
from deepseek_backend_npu.lowering import lower
from deepseek_backend_npu.lowering.fusion import kept_apart
from deepseek_backend_npu.runtime import NpuExecutable
from deepseek_backend_npu.settings import Settings
from deepseek_backend_npu.single import unit_model
from deepseek_backend_npu.tosa.serialize import serialize
from deepseek_backend_npu.tuning import best
from deepseek_core import CompileOptions, Executable, QuantizedModel, discover
from deepseek_core.package import Package
from deepseek_core.partition import PreferenceSolver, coverage, place, split
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.pipeline import compile as compile_package
from deepseek_core.runtime import Session
from harness import Figure
from npu_networks import Case

__all__ = ["DEVICE", "Distance", "compiled", "figures", "options_figures", "whole"]

DEVICE = "ethos-u55-128"
_OPTIONS = CompileOptions(optimize=0, threads=1)
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far codes are from others.

    Attributes:
        most: largest difference.
        equal, near: shares that are equal, and that differ by one at most.
        count: how many there are.
    """

    most: float
    equal: float
    near: float
    count: int

    @classmethod
    def of(cls, differences: Sequence[Array]) -> Distance:
        every = np.concatenate([np.abs(each.astype(np.float64)).reshape(-1) for each in differences])
        return cls(float(every.max()), float((every == 0).mean()), float((every <= 1).mean()), every.size)

    @property
    def text(self) -> str:
        return f"{self.equal:.3%} of {self.count:,} equal, {self.near:.3%} within 1"


def figures(case: Case, model: QuantizedModel) -> Iterator[Figure]:
    """Figures of a network on one variant, in the placement that gives the NPU all it claims."""
    name = case.name
    parts = [part.model for part in _parts(model) if part.target.backend == "npu"]
    seen = {**case.judged[0], **_on_cpu(model).run(case.judged[0])}
    layers, different = _layers(parts, seen)
    yield Figure(f"{name}: layers that differ from Arm's model", different, "", "==", 0, f"of {layers}")
    alone = [unit for part in parts for unit in _unit_by_unit(part, seen)]
    single = Distance.of([difference for difference, _, _ in alone])
    npu, cpu = sum(each[1] for each in alone), sum(each[2] for each in alone)
    title = f"{name}: largest difference of a layer from the CPU's, given its inputs"
    blame = f"where they differ the NPU has another code than the IR in {npu}, the CPU in {cpu}"
    yield Figure(title, single.most, "LSB", "<=", 1, f"{single.text}; {blame}")
    yield from whole(case, model, f"npu:{DEVICE}")
    compiling, containers = _timed(lambda: [compiled(part) for part in parts])
    yield Figure(f"{name}: compile", compiling, "s", note=f"{len(parts)} parts, one set of options")
    executables = [NpuExecutable(container) for container in containers]
    feeds = [_feeds(part, seen) for part in parts]
    for _ in range(2):  # the first run decodes the weights
        running, _ = _timed(lambda: [e.run(f) for e, f in zip(executables, feeds, strict=True)])
    yield Figure(f"{name}: emulate", running, "s", note="processor time, weights decoded before")


def whole(case: Case, model: QuantizedModel, target: str) -> Iterator[Figure]:
    """End to end with the CPU, against the CPU alone."""
    package = compile_package(model, [target, "cpu"], options=_OPTIONS, solver=PreferenceSolver())
    placement = package.placement
    assert placement is not None
    share = 100 * sum(v for t, v in coverage(UnitGraph(model), placement).items() if t.backend == "npu")
    title = f"{case.name}: share of multiply-accumulates on {target}"
    yield Figure(title, share, "%", note=f"{len(placement.parts)} parts")
    found = _distance(case, model, package)
    title = f"{case.name}: largest difference from the CPU, end to end on {target}"
    yield Figure(title, found.most, "LSB", note=found.text)


def options_figures(case: Case, model: QuantizedModel, device: str) -> tuple[list[Figure], bool]:
    """Estimated cycles and SRAM of the chosen options against the compiler's defaults; whether either is better."""
    cycles, memory, tried = [0, 0], [0, 0], 0
    settings = Settings.read({}, DEVICES[device])
    for part in _parts(model, device):
        lowered = lower(part.model) if part.target.backend == "npu" else None
        if lowered is None or not lowered.graph.outputs:
            continue
        tosa = serialize(kept_apart(lowered.graph, DEVICES[device]))
        found = variations(tosa, DEVICES[device], settings, CompileOptions())
        tried += len(found)
        for side, (attempt, _) in enumerate((found[0], best(found))):
            cycles[side] += attempt.estimate.cycles
            memory[side] = max(memory[side], attempt.estimate.sram)
    saved, spared = (100 * (1 - chosen / default) for default, chosen in (cycles, memory))
    notes = (f"{cycles[0]:,} → {cycles[1]:,}; {tried} compilations", f"{memory[0]:,} → {memory[1]:,} bytes")
    shown = [
        Figure(f"{case.name}: fewer {what} than Vela's defaults, {device}", value, "%", ">=", 0, note)
        for what, value, note in zip(("cycles", "bytes of SRAM"), (saved, spared), notes, strict=True)
    ]
    return shown, saved > 0 or spared > 0


def compiled(model: QuantizedModel, device: str = DEVICE, *, every_tensor: bool = False) -> Container:
    """A model compiled with the compiler's defaults, without a look at the capability table."""
    settings = Settings.read({}, DEVICES[device])
    return build(lower(model, every_tensor=every_tensor), device, DEVICES[device], settings, _OPTIONS)[0]


def _parts(model: QuantizedModel, device: str = DEVICE) -> Any:
    targets = [discover().resolve(name) for name in (f"npu:{device}", "cpu")]
    return split(model, place(model, targets, solver=PreferenceSolver()))


def _on_cpu(model: QuantizedModel) -> Executable:
    """The model on the CPU alone, with every code at hand."""
    backend, target = discover().resolve("cpu")
    values = (o.value for unit in model.units() for o in unit.outputs if not o.value.is_graph_output())
    taps = tuple(dict.fromkeys(value.name or "" for value in values))
    return backend.load(backend.compile(model, target, replace(_OPTIONS, taps=taps)))


def _feeds(part: QuantizedModel, seen: Mapping[str, Array]) -> dict[str, Array]:
    return {info.name: seen[info.name] for info in part.inputs}


def _layers(parts: Sequence[QuantizedModel], seen: Mapping[str, Array]) -> tuple[int, int]:
    count = different = 0
    for part in parts:
        container = compiled(part, every_tensor=True)
        feeds = _feeds(part, seen)
        emulated = NpuExecutable(container).run(feeds)
        expected = NpuExecutable(replace(container, tier="reference")).run(feeds)
        count += len(expected)
        different += sum(not np.array_equal(emulated[key], array) for key, array in expected.items())
    return count, different


def _unit_by_unit(part: QuantizedModel, seen: Mapping[str, Array]) -> Iterator[tuple[Array, int, int]]:
    """For each unit its distance from the CPU's codes, and in how many codes either is not the IR's."""
    reference, target = discover().resolve("reference")
    for unit in part.units():
        if unit.op in _CONVERSIONS:
            continue
        model = unit_model(unit)
        feeds = _feeds(model, seen)
        for name, codes in NpuExecutable(compiled(model)).run(feeds).items():
            if name not in seen:
                continue
            difference = codes.astype(np.int64) - seen[name].astype(np.int64)
            if not difference.any():
                yield difference, 0, 0
                continue
            exact = reference.load(reference.compile(model, target, CompileOptions())).run(feeds)[name]
            yield difference, int((codes != exact).sum()), int((seen[name] != exact).sum())


def _distance(case: Case, model: QuantizedModel, package: Package) -> Distance:
    cpu, target = discover().resolve("cpu")
    alone = cpu.load(cpu.compile(model, target, _OPTIONS))
    steps = {value.name or "": _step(model, value.name) for value in model.graph.outputs}
    found = []
    with Session(package) as session:
        for feeds in case.judged:
            actual = session.run(feeds)
            for name, expected in alone.run(feeds).items():
                difference = actual[name].astype(np.float64) - expected
                found.append(np.rint(difference / (steps[name] or _range(expected))))
    return Distance.of(found)


def _step(model: QuantizedModel, name: str | None) -> float | None:
    """Scale of an output's codes; None where it is computed in float."""
    for unit in model.units():
        if unit.op == "DequantizeLinear" and unit.node.outputs[0].name == name:
            qparams = unit.inputs[0].qparams if unit.inputs[0] else None
            return None if qparams is None else float(qparams.scale.reshape(-1)[0])
    return None


def _range(array: Array) -> float:
    """A step of 8 bits over the values, for outputs that never had codes."""
    return float(np.ptp(array)) / 255 or 1.0


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result
