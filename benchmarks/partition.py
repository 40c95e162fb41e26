"""Placement: exactness against brute force, regret, peers' policies, large graphs, and graphs of real networks."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np

from deepseek_core import Capabilities, QuantizedModel, Target
from deepseek_core.ir.frontend import load_model
from deepseek_core.partition import roofline
from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.optimize import (
    Method,
    Objective,
    Outcome,
    PartitionProblem,
    Plan,
    Tensors,
    broken_rule,
    evaluate,
    optimise,
)
from deepseek_core.partition.optimize.parts import form_parts
from deepseek_core.partition.optimize.policies import hetero, onnxruntime
from deepseek_core.partition.roofline import value_bytes
from deepseek_core.passes import prepare
from harness import Figure, Options, main

NPU_OPS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool")
"""What the artificial NPU of the real networks' section runs."""

DEVICES = tuple(
    Capabilities(Target(name, "artificial"), (), any_float=True, peak_macs=macs, bandwidth=bandwidth, launch=launch)
    for name, macs, bandwidth, launch in (
        ("npu", 2e12, 8e9, 50e-6),
        ("gpu", 1e12, 100e9, 20e-6),
        ("cpu", 5e10, 20e9, 2e-6),
    )
)
"""Round figures of the size that such devices have; in the order in which people name them."""

MACHINES = (DEVICES, (DEVICES[0], DEVICES[2]))
"""What the real networks are placed on: all three devices, and an NPU beside a CPU."""


def series_parallel(rng: np.random.Generator, units: int) -> list[tuple[int, list[int]]]:
    """Edges of a random series-parallel graph: an edge is replaced by a path, or doubled, until it is large."""
    edges, count = [(0, 1)], 2
    while count < units:
        source, reader = edges[int(rng.integers(len(edges)))]
        if rng.random() < 0.5:
            edges.remove((source, reader))
        edges += [(source, count), (count, reader)]
        count += 1
    return _sorted(count, edges)


def layered(rng: np.random.Generator, units: int) -> list[tuple[int, list[int]]]:
    """Edges of a random layered graph: units read from the layer before, and one in five from two before."""
    width = max(2, round(units**0.5 / 2))
    layer = np.cumsum(rng.random(units) < 1 / width)
    starts = np.searchsorted(layer, np.arange(layer[-1] + 2))
    edges = []
    for unit in range(units):
        for _ in range(int(rng.integers(1, 3))):
            from_layer = layer[unit] - (2 if rng.random() < 0.2 else 1)
            if from_layer >= 0 and starts[from_layer + 1] > starts[from_layer]:
                edges.append((int(rng.integers(starts[from_layer], starts[from_layer + 1])), unit))
    return _sorted(units, edges)


def _sorted(count: int, edges: list[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Producers with their readers, numbered in topological order."""
    readers: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, reader in set(edges):
        readers[source].append(reader)
        waiting[reader] += 1
    order, position = [unit for unit in range(count) if not waiting[unit]], 0
    while position < len(order):
        for reader in readers[order[position]]:
            waiting[reader] -= 1
            if not waiting[reader]:
                order.append(reader)
        position += 1
    number = {unit: i for i, unit in enumerate(order)}
    return [(number[unit], sorted(number[r] for r in readers[unit])) for unit in order]


def random_problem(seed: int, units: int, devices: int) -> PartitionProblem:
    """Faster devices launch slower, refuse units, and are reached over links; the last device takes everything."""
    rng = np.random.default_rng(seed)
    shape = series_parallel if seed % 2 else layered
    speed = np.geomspace(1.0, 3.0, devices)
    cost = rng.lognormal(0.0, 1.0, (units, 1)) * speed * rng.lognormal(0.0, 0.6, (units, devices))
    refused = rng.random((units, devices - 1)) < rng.uniform(0.1, 0.5)
    cost[:, :-1][refused] = np.inf
    launch = np.linspace(1.0, 0.1, devices) * rng.uniform(0.1, 1.0)
    tensors = Tensors.of([(p, readers, float(rng.lognormal(0.0, 0.7))) for p, readers in shape(rng, units)])
    per_byte = rng.uniform(0.2, 1.0) * rng.uniform(0.5, 1.0, (devices, devices))
    return PartitionProblem(cost, launch, tensors, np.full((devices, devices), 0.05), per_byte)


def brute_force(problem: PartitionProblem) -> float:
    """Least additive value over every assignment, each with the fewest launches that any parts of it need."""
    units, devices = problem.cost.shape
    options = [np.flatnonzero(np.isfinite(row)).astype(np.int8) for row in problem.cost]
    every = np.stack(np.meshgrid(*options, indexing="ij"), -1).reshape(-1, units)
    total, tensors = np.zeros(len(every)), problem.tensors
    for unit in range(units):
        total += problem.cost[unit][every[:, unit]]
    for tensor in range(len(tensors)):
        source = every[:, tensors.producer[tensor]]
        readers = every[:, tensors.reader[tensors.start[tensor] : tensors.start[tensor + 1]]]
        for device in range(devices):
            total += np.where((readers == device).any(axis=1), problem.transfer[tensor][source, device], 0.0)
    least = total + sum(np.where((every == d).any(axis=1), problem.launch[d], 0.0) for d in range(devices))
    best = np.inf
    for row in np.argsort(least, kind="stable"):
        if least[row] >= best:  # one launch a device in use is the least, so nothing further is better
            break
        chosen = every[row].astype(np.int64)
        parts = form_parts(problem, chosen)
        best = min(best, float(total[row] + sum(problem.launch[chosen[part[0]]] for part in parts)))
    return best


def small_problems(count: int) -> Iterator[PartitionProblem]:
    """8 to 14 units on 2 to 4 devices, of no more than two million assignments each."""
    seed = 0
    while count:
        units, devices = 8 + seed % 7, 2 + seed // 7 % 3
        problem = random_problem(seed, units, devices)
        seed += 1
        if np.isfinite(problem.cost).sum(axis=1).astype(float).prod() <= 2e6:
            count -= 1
            yield problem


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` takes fewer small graphs, no graph of 100,000 units, and one network."""
    only, figures = options.extra.only, list[Figure]()
    if only == "networks":
        pass
    elif options.quick:
        figures = [*_small(20), *_other_objectives(2, 0.5), *_large((Objective.ADDITIVE,), (1_000, 10_000))]
    else:
        both = (Objective.ADDITIVE, Objective.LATENCY)
        figures = [*_small(500), *_other_objectives(60, 5.0), *_large(both, (1_000, 10_000, 100_000))]
    for name, model in _networks(options.extra.model, quick=options.quick) if only != "graphs" else ():
        sizes = {size for info in model.inputs for size in info.shape or () if isinstance(size, str)}
        about = f"; {', '.join(sorted(sizes))} taken as 1" if sizes else ""
        for devices in MACHINES:
            figures += _network(name, network_problem(model, devices), 0.5 if options.quick else 10.0, about)
    return figures


def _small(count: int) -> list[Figure]:
    wrong, unproven, times = 0, 0, []
    regrets: dict[str, list[float]] = {"fast": [], "HETERO": [], "ONNX Runtime": []}
    parts: dict[str, list[int]] = {"optimal": [], "HETERO": [], "ONNX Runtime": []}
    for problem in small_problems(count):
        best = brute_force(problem)
        start = time.perf_counter()
        exact = optimise(problem, Objective.ADDITIVE, Method.EXACT, seconds=60.0)
        times.append(time.perf_counter() - start)
        fast = optimise(problem, Objective.ADDITIVE, Method.FAST)
        _valid(problem, exact.plan, fast.plan)
        wrong += abs(exact.value - best) > 1e-6 * best
        unproven += exact.gap > 1e-6
        regrets["fast"].append(fast.value / best - 1)
        parts["optimal"].append(len(exact.plan.parts))
        for name, plan in (("HETERO", hetero(problem)), ("ONNX Runtime", onnxruntime(problem))):
            _valid(problem, plan)
            regrets[name].append(evaluate(problem, plan, Objective.ADDITIVE) / best - 1)
            parts[name].append(len(plan.parts))
    note = f"{count} graphs of 8–14 units, 2–4 devices, additive"
    return [
        Figure("exact differs from brute force", wrong, "graphs", "==", 0, note),
        Figure("exact without a proof", unproven, "graphs", "==", 0, note),
        Figure("exact, median time", float(np.median(times)), "s", note=f"worst {max(times):.2f} s"),
        Figure("fast, mean regret", 100 * float(np.mean(regrets["fast"])), "%", "<=", 1.0, note),
        Figure("fast, worst regret", 100 * float(np.max(regrets["fast"])), "%", "<=", 5.0, note),
        *(
            Figure(f"{name} policy, mean regret", 100 * float(np.mean(regrets[name])), "%", note=_worst(regrets[name]))
            for name in ("HETERO", "ONNX Runtime")
        ),
        *(Figure(f"parts, {name}", float(np.mean(numbers)), "mean", note=note) for name, numbers in parts.items()),
    ]


def _worst(values: list[float]) -> str:
    return f"worst {100 * max(values):.1f} %"


def _other_objectives(count: int, seconds: float) -> Iterator[Figure]:
    for objective in (Objective.LATENCY, Objective.THROUGHPUT):
        regret, gaps, policy = [], [], []
        for problem in small_problems(count):
            exact = optimise(problem, objective, Method.EXACT, seconds=seconds)
            fast = optimise(problem, objective, Method.FAST)
            _valid(problem, exact.plan, fast.plan)
            regret.append(fast.value / exact.value - 1)
            gaps.append(exact.gap)
            policy.append(evaluate(problem, onnxruntime(problem), objective) / exact.value - 1)
        proven = sum(gap < 1e-6 for gap in gaps)
        note = f"{count} graphs, against the program after at most {seconds:g} s; {proven} proven optimal"
        yield Figure(f"fast, mean regret, {objective}", 100 * float(np.mean(regret)), "%", "<=", 1.0, note)
        yield Figure(f"fast, worst regret, {objective}", 100 * float(np.max(regret)), "%", "<=", 5.0, note)
        yield Figure(f"exact, mean proven gap, {objective}", 100 * float(np.mean(gaps)), "%", note=_worst(gaps))
        yield Figure(f"priority policies, mean regret, {objective}", 100 * float(np.mean(policy)), "%")


def _valid(problem: PartitionProblem, *plans: Plan) -> None:
    for plan in plans:
        broken = broken_rule(problem, plan)
        if broken is not None:
            raise AssertionError(f"an invalid plan: {broken}")


def large_graph(units: int, objective: str) -> None:
    """Print seconds of CPU time, peak MiB beyond the problem, gap, regret of the policy and parts, as JSON."""
    problem = random_problem(units + 1, units, 3)
    _ = problem.successors, problem.predecessors
    before = _peak_memory()
    start = time.process_time()
    found: Outcome = optimise(problem, Objective(objective), Method.FAST)
    seconds = time.process_time() - start
    memory = _peak_memory() - before
    _valid(problem, found.plan)
    policy = evaluate(problem, onnxruntime(problem), Objective(objective)) / found.value - 1
    print(json.dumps([seconds, memory, found.gap, policy, len(found.plan.parts)]))


def _peak_memory() -> float:
    """MiB that this process had at most; of this program alone, where `getrusage` remembers the parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return float(line.split()[1]) / 1024


def _large(objectives: tuple[Objective, ...], sizes: tuple[int, ...]) -> Iterator[Figure]:
    limits = {10_000: 2.0, 100_000: 30.0}
    for objective in objectives:
        times = []
        for units in sizes:
            command = [sys.executable, __file__, "--large-graph", str(units), str(objective)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, memory, gap, policy, parts = json.loads(done.stdout)
            times.append(seconds)
            note = f"CPU time, bound included; {parts} parts"
            yield Figure(f"{units:,} units, {objective}", seconds, "s", "<=", limits.get(units), note)
            yield Figure(f"{units:,} units, {objective}, memory", memory, "MiB", note="peak, beyond the problem's own")
            note = f"greedy by priority costs {100 * policy:.0f} % more"
            yield Figure(f"{units:,} units, {objective}, proven gap", 100 * gap, "%", note=note)
        growth = np.log(times[-1] / times[-2]) / np.log(sizes[-1] / sizes[-2])
        note = f"exponent of time from {sizes[-2]:,} units to {sizes[-1]:,}"
        yield Figure(f"growth, {objective}", float(growth), "", "<=", 1.3, note)


def _networks(extra: list[tuple[str, Path]], *, quick: bool) -> Iterator[tuple[str, QuantizedModel]]:
    with tempfile.TemporaryDirectory() as folder:
        made = [(path.stem, path) for path in _exported(Path(folder), quick=quick) if path is not None]
        for name, path in (*made, *extra):
            model = load_model(path)
            prepare(model)
            yield name, model


def _exported(folder: Path, *, quick: bool) -> Iterator[Path | None]:
    """EfficientNet-Lite0, and the networks that `latency.py` times; None for what cannot be made here."""
    yield _or_none(lambda: _efficientnet(folder / "EfficientNet-Lite0.onnx"))
    if not quick:
        for number, name in enumerate(("ResNet-18", "MobileNetV2", "Transformer")):
            yield _or_none(lambda number=number, name=name: _architecture(number, folder / f"{name}.onnx"))  # type: ignore[misc]


def _efficientnet(path: Path) -> Path:
    from efficientnet_lite0.model import export

    return export(path)


def _architecture(number: int, path: Path) -> Path:
    from architectures import ARCHITECTURES

    return ARCHITECTURES[number].export(path)


def _or_none(export: Callable[[], Path]) -> Path | None:
    try:
        return export()
    except ImportError as error:
        print(f"a network is left out: {error}", file=sys.stderr)
        return None


def network_problem(model: QuantizedModel, devices: tuple[Capabilities, ...]) -> PartitionProblem:
    """Roofline costs of a model's units on artificial devices, of which the NPU knows a few ops."""
    graph = UnitGraph(model)
    cost = np.empty((len(graph.units), len(devices)))
    for position, unit in enumerate(graph.units):
        for number, device in enumerate(devices):
            refused = device.target.backend == "npu" and unit.op not in NPU_OPS
            cost[position, number] = np.inf if refused else roofline([unit], device).seconds - device.launch
    readers: dict[object, tuple[int, list[int], float]] = {}
    for position, values in enumerate(graph.reads):
        for value in values:
            producer = value.producer()
            if producer is not None and producer in graph.owner:
                readers.setdefault(value, (graph.owner[producer], [], value_bytes(value)))[1].append(position)
    count = len(devices)
    return PartitionProblem(
        cost=np.maximum(cost, 0.0),
        launch=np.array([device.launch for device in devices]),
        tensors=Tensors.of(list(readers.values())),
        latency=np.full((count, count), 10e-6),
        second_per_byte=np.array([[1 / min(a.bandwidth, b.bandwidth) for b in devices] for a in devices]),
        devices=tuple(device.target.backend for device in devices),
    )


def _network(name: str, problem: PartitionProblem, limit: float, about: str) -> Iterator[Figure]:
    devices = ", ".join(problem.devices)
    for objective in (Objective.LATENCY, Objective.ADDITIVE, Objective.THROUGHPUT):
        start = time.perf_counter()
        found = optimise(problem, objective, seconds=limit)
        seconds = time.perf_counter() - start
        _valid(problem, found.plan)
        label = f"{name} on {devices}, {objective}"
        note = f"{problem.size} units, {len(found.plan.parts)} parts, gap {100 * found.gap:.2f} % ({found.proof}), "
        yield Figure(label, 1e3 * found.value, "ms", note=f"{note}{seconds:.1f} s{about}")
        for peer, policy in (("HETERO", hetero), ("ONNX Runtime", onnxruntime)):
            plan = policy(problem)
            value, best = evaluate(problem, plan, objective), _best_order(problem, policy, objective)
            note = f"{1e3 * value:.4g} ms, {len(plan.parts)} parts; in its best order {best / found.value:.3g} ×"
            yield Figure(f"{label}, {peer} over ours", value / found.value, "×", ">=", 1.0, note)


def _best_order(problem: PartitionProblem, policy: Callable[[PartitionProblem], Plan], objective: Objective) -> float:
    """Value of a policy's placement with the priority list that suits this graph best, which its user must guess."""
    values = []
    for order in map(list, permutations(range(len(problem.launch)))):
        square = np.ix_(order, order)
        other = replace(
            problem,
            cost=problem.cost[:, order],
            launch=problem.launch[order],
            latency=problem.latency[square],
            second_per_byte=problem.second_per_byte[square],
            devices=tuple(problem.devices[device] for device in order),
        )
        values.append(evaluate(other, policy(other), objective))
    return min(values)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=("graphs", "networks"), help="leave out the other half")
    parser.add_argument(
        "--model", type=_named, action="append", default=[], metavar="NAME=FILE", help="place this ONNX model too"
    )


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--large-graph"]:
        large_graph(int(sys.argv[2]), sys.argv[3])
    else:
        main("Placement on several devices", measure, ("numpy", "highspy"), _configure)
