"""Many inputs through artificial devices of known delays: one by one, and as a stream."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import (
    Artifact,
    Availability,
    Backend,
    BackendInfo,
    Capabilities,
    DType,
    Feeds,
    OpRule,
    QuantizedModel,
    Registry,
    Target,
    TensorInfo,
    Tier,
    hookimpl,
)
from deepseek_core.hookspecs import HOOK_API
from deepseek_core.pipeline import compile
from deepseek_core.runtime import Session
from harness import Figure, Options, main

OPS: Mapping[str, Callable[..., NDArray[Any]]] = {"Relu": lambda x: np.maximum(x, 0), "Neg": np.negative}
X = np.arange(4, dtype=np.float32) - 2


@dataclass
class Device:
    """Runs one op after a delay, one call at a time as hardware does.

    Attributes:
        spans: seconds that each call took; a sleep overshoots a little, and what it really took counts.
    """

    op: str
    delay: float
    takes: str
    gives: str
    device: str
    spans: list[float] = field(default_factory=list)
    tier: Tier = Tier.SIMULATED
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return (TensorInfo(self.takes, "float32", X.shape),)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return (TensorInfo(self.gives, "float32", X.shape),)

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        with self.lock:
            start = time.perf_counter()
            time.sleep(self.delay)
            self.spans.append(time.perf_counter() - start)
            return {self.gives: OPS[self.op](feeds[self.takes])}

    def close(self) -> None:
        return


def artificial(name: str, op: str, delay: float, opened: list[Device]) -> Backend:
    """A backend with a device that runs parts of one `op` node in `delay` seconds; `opened` gets it."""
    target = Target(name, "artificial")
    table = Capabilities(target, (OpRule(op, DType.FLOAT32, DType.FLOAT32),))
    here = Availability(True, True, tier=Tier.SIMULATED, devices=(name,))

    def built(model: QuantizedModel, target: Target, options: object) -> Artifact:
        (node,) = model.graph
        return Artifact(target, f"{node.inputs[0].name} {node.outputs[0].name}".encode(), "names")  # type: ignore[union-attr]

    def load(artifact: Artifact, device: str | None) -> Device:
        takes, gives = artifact.payload.decode().split()
        opened.append(Device(op, delay, takes, gives, name))
        return opened[-1]

    hooks: dict[str, Callable[..., object]] = {
        "deepseek_backend": lambda: BackendInfo(name, HOOK_API, (target,), "", "1"),
        "deepseek_capabilities": lambda: table,
        "deepseek_probe": lambda: here,
        "deepseek_compile": built,
        "deepseek_load": load,
    }
    return Backend(SimpleNamespace(**{hook: hookimpl(function) for hook, function in hooks.items()}))


def graph(nodes: list[tuple[str, str, str]], outputs: list[str]) -> QuantizedModel:
    """A model of one-input nodes (op, input, output) on `x`."""

    def value(name: str) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(X.shape))

    values = {name: value(name) for name in ("x", *(node[2] for node in nodes))}
    made = [ir.Node("", op, [values[a]], outputs=[values[b]], name=f"{op}_{b}") for op, a, b in nodes]
    whole = ir.Graph([values["x"]], [values[o] for o in outputs], nodes=made, opset_imports={"": 21}, name="g")
    return QuantizedModel(ir.Model(whole, ir_version=10))


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` sends fewer inputs."""
    count, rounds = (60, 3) if options.quick else (200, 5)
    figures: list[Figure] = []
    for first, second in ((10e-3, 10e-3), (10e-3, 4e-3), (3e-3, 10e-3)):
        figures += _pipeline(first, second, count, rounds)
    return [*figures, *_branches(10e-3, count // 4, rounds)]


def _pipeline(first: float, second: float, count: int, rounds: int) -> Iterator[Figure]:
    """Two devices in a row: what is lost against a slower one that never waits."""
    devices: list[Device] = []
    registry = Registry([artificial("a", "Relu", first, devices), artificial("b", "Neg", second, devices)])
    model = graph([("Relu", "x", "r"), ("Neg", "r", "y")], ["y"])
    with Session(compile(model, ["a", "b"], registry=registry), registry) as session:
        share = statistics.median(_busy_share(session, devices, count) for _ in range(rounds))
        streamed = statistics.median(_timed(lambda: _stream(session, count)) for _ in range(rounds)) / count
        one_by_one = _timed(lambda: [session.run({"x": X}) for _ in range(count // 4)]) / (count // 4)
    name = f"{first * 1e3:g} ms then {second * 1e3:g} ms"
    note = f"{count} inputs, median of {rounds}"
    yield Figure(f"{name}: of the bottleneck's bound", share, "", ">=", 0.95, note)
    yield Figure(f"{name}: stream over one by one", one_by_one / streamed, "×", note="throughput")


def _busy_share(session: Session, devices: list[Device], count: int) -> float:
    """The least time (the slower device always busy, the other one filling or draining once) over the time taken."""
    for device in devices:
        device.spans.clear()
    taken = _timed(lambda: _stream(session, count))
    slower, faster = sorted((sum(device.spans) for device in devices), reverse=True)
    return (slower + faster / count) / taken


def _branches(delay: float, count: int, rounds: int) -> Iterator[Figure]:
    """Two devices side by side on one input."""
    devices: list[Device] = []
    registry = Registry([artificial("a", "Relu", delay, devices), artificial("b", "Neg", delay, devices)])
    model = graph([("Relu", "x", "r"), ("Neg", "x", "n")], ["r", "n"])
    with Session(compile(model, ["a", "b"], registry=registry), registry) as session:
        over = statistics.median(_over_the_slower(session, devices, count) for _ in range(rounds))
    note = f"Session.run, {delay * 1e3:g} ms each, {count} inputs, median of {rounds}"
    yield Figure("two branches: over the slower alone", over, "×", "<=", 1.1, note)


def _over_the_slower(session: Session, devices: list[Device], count: int) -> float:
    """The time taken over the least time: of each input, the branch that took longer."""
    for device in devices:
        device.spans.clear()
    taken = _timed(lambda: [session.run({"x": X}) for _ in range(count)])
    one, other = devices
    return taken / sum(map(max, zip(one.spans, other.spans, strict=True)))


def _stream(session: Session, count: int) -> None:
    for result in session.stream(itertools.repeat({"x": X}, count)):
        assert result["y"][3] == -1


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    main("Streams over two artificial devices", measure, ("deepseek-core",))
