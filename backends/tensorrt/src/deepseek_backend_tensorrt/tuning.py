"""Choose between codes and float for each unit, from what the device took for the layers of whole engines.

A unit alone tells little here: TensorRT fuses over its borders. So the model is built on codes, in float, and with only
the units that have weights on codes. Each engine's layers are timed, a layer's time is shared among the units in it,
and the cheapest labelling of the graph is a minimum cut in which a border between labels costs a pass over its tensor.
What comes out is built too, and the fastest whole is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deepseek_backend_tensorrt.build import Built, Job, build
from deepseek_backend_tensorrt.child import shared
from deepseek_backend_tensorrt.shapes import profiles
from deepseek_backend_tensorrt.toolchain import Gpu, toolchain
from deepseek_core import QuantizedModel, Role, Target, Unit
from deepseek_core.selection import Border, TuningCache, assign, cache_folder, unit_signature

__all__ = ["FLOAT", "INT8", "choose", "is_choice", "known_latencies", "preset"]

INT8, WEIGHTS, FLOAT = "int8", "weights", "float"
_ACCUMULATE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ROUNDS = 20


def is_choice(unit: Unit) -> bool:
    """Whether a unit has both kernels: it accumulates, and its data are codes."""
    data = unit.operands(Role.DATA)
    return unit.op in _ACCUMULATE and bool(data) and all(operand.qparams is not None for operand in data)


def known_latencies(unit: Unit, target: Target) -> Mapping[str, float]:
    """Seconds by kernel name, of any device of the target that was measured; empty where none was."""
    return _cache().get(str(target), unit_signature(unit))


def preset(model: QuantizedModel, kernels: str) -> frozenset[str]:
    """Names of the quantized units that a fixed choice runs in float."""
    if kernels == FLOAT:
        return frozenset(unit.name for unit in model.units() if unit.is_quantized)
    if kernels == WEIGHTS:
        open_choices = [unit for unit in model.units() if is_choice(unit)]
        return frozenset(unit.name for unit in open_choices if not unit.operands(Role.WEIGHT))
    return frozenset()


def choose(job: Job) -> frozenset[str]:
    """Names of the quantized units that are faster in float; none where no device can tell."""
    gpu = toolchain().gpu(job.architecture)
    if not any(is_choice(unit) for unit in job.model.units()):
        return frozenset()
    if gpu is None:
        return _remembered(job)
    plans = {kernels: preset(job.model, kernels) for kernels in (INT8, FLOAT, WEIGHTS)}
    built = {label: build(replace(job, plain=plan)) for label, plan in plans.items()}
    _remember(job, {label: _unit_seconds(job, built[label], gpu) for label in (INT8, FLOAT)})
    mixed = _remembered(job)
    if mixed not in plans.values():
        plans["mixed"] = mixed
        built["mixed"] = build(replace(job, plain=mixed))
    seconds = {label: _whole_seconds(job, built[label], gpu) for label in plans}
    return plans[min(seconds, key=lambda label: seconds[label])]


def _remembered(job: Job) -> frozenset[str]:
    """The cheapest labelling by what is known; units that were never measured stay on codes."""
    costs = {unit.name: _costs(unit, job.target) for unit in job.model.units()}
    labels = assign(costs, _borders(job), (INT8, FLOAT))
    return frozenset(name for name, label in labels.items() if label == FLOAT)


def _costs(unit: Unit, target: Target) -> dict[str, float]:
    """Seconds by label; what does not accumulate costs the same on both sides, and goes with its neighbours."""
    if not is_choice(unit):
        return dict.fromkeys((INT8, FLOAT) if unit.is_quantized else (INT8,), 0.0)
    found = known_latencies(unit, target)
    return {label: found[label] for label in (INT8, FLOAT)} if len(found) > 1 else {INT8: 0.0}


def _borders(job: Job) -> list[Border]:
    """A change of type is a pass over the tensor, read and written."""
    makers = {operand.value: unit for unit in job.model.units() for operand in unit.outputs}
    found = []
    for unit in job.model.units():
        for operand in unit.operands(Role.DATA):
            maker, shape = makers.get(operand.value), operand.shape
            if maker is None or shape is None or None in shape:
                continue
            size = 1
            for extent in shape:
                size *= extent or 1
            found.append(Border(maker.name, unit.name, 3 * size / job.architecture.bandwidth))
    return found


def _unit_seconds(job: Job, built: Built, gpu: Gpu) -> dict[str, float]:
    """Unit → its share of the time of the layers that hold it."""
    layers = {layer["name"]: layer for layer in built.layers}
    owners = {node.name: unit.name for unit in job.model.units() for node in unit.nodes}
    seconds: dict[str, float] = {}
    for name, taken in _profile(job, built, gpu):
        nodes = layers.get(name, {"nodes": []})["nodes"] or name.split(" + ")
        units = list(dict.fromkeys(owners[node] for node in nodes if node in owners))
        heavy = [unit for unit in units if unit in _heavy(job.model)] or units
        for unit in heavy:
            seconds[unit] = seconds.get(unit, 0.0) + taken / len(heavy)
    return seconds


def _heavy(model: QuantizedModel) -> set[str]:
    return {unit.name for unit in model.units() if unit.op in _ACCUMULATE}


def _profile(job: Job, built: Built, gpu: Gpu) -> list[tuple[str, float]]:
    with _Opened(job, built, gpu) as opened:
        found, _ = shared().ask({"do": "profile", **opened, "rounds": _ROUNDS})
    return [(name, seconds) for name, seconds in found]


def _whole_seconds(job: Job, built: Built, gpu: Gpu) -> float:
    with _Opened(job, built, gpu) as opened:
        found, _ = shared().ask({"do": "time", **opened, "rounds": _ROUNDS, "warm": 3, "copies": False})
    return float(sorted(found["seconds"])[_ROUNDS // 2])


class _Opened:
    """An engine opened in the child, with the usual shapes of its inputs."""

    def __init__(self, job: Job, built: Built, gpu: Gpu) -> None:
        usual = profiles(job.model, job.settings.profile)
        shapes = {info.name: list(info.shape or ()) for info in job.model.inputs}
        self._shapes = {**shapes, **{name: entry[1] for name, entry in (usual[0] if usual else {}).items()}}
        self._request = {"do": "open", "product": job.product, "device": gpu.number, "lanes": 1}
        self._engine, self._number = built.engine, 0

    def __enter__(self) -> dict[str, object]:
        opened, _ = shared().ask(self._request, [self._engine])
        self._number = opened["engine"]
        return {"engine": self._number, "shapes": self._shapes}

    def __exit__(self, *_: object) -> None:
        shared().ask({"do": "close", "engine": self._number})


def _remember(job: Job, seconds: Mapping[str, Mapping[str, float]]) -> None:
    cache = _cache()
    for unit in job.model.units():
        found = {label: times[unit.name] for label, times in seconds.items() if unit.name in times}
        if is_choice(unit) and found:
            cache.put(str(job.target), unit_signature(unit), found)
    cache.save()


def _cache() -> TuningCache:
    return TuningCache(cache_folder() / "tensorrt-tuning.json")
