"""What the SDK itself costs: importing it in a fresh process, and `Session.run` over a bare ONNX Runtime session."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime

from deepseek_core import CompileOptions, QuantizedModel
from deepseek_core.pipeline import compile
from deepseek_core.runtime import Session
from deepseek_core.selection import measure as interleave
from harness import Figure, Options, main

VENDORS = ("torch", "onnxruntime", "tensorrt", "ethosu")
"""Must not be imported by the core, or by discovering every installed backend."""

IMPORT = """
import json, sys, time
start = time.perf_counter()
import deepseek_core
imported = time.perf_counter() - start
deepseek_core.discover()
print(json.dumps([imported, time.perf_counter() - start, sorted(sys.modules)]))
"""


def measure(options: Options) -> list[Figure]:
    """Every figure; `--quick` starts fewer processes."""
    return [*_imports(5 if options.quick else 21), *_session(15 if options.quick else 60)]


def _imports(processes: int) -> list[Figure]:
    runs = [_fresh_import() for _ in range(processes)]
    imported = statistics.median(run[0] for run in runs) * 1e3
    discovered = statistics.median(run[1] for run in runs) * 1e3
    loaded = sorted({module for run in runs for module in VENDORS if module in run[2]})
    note = f"median of {processes} fresh processes"
    return [
        Figure("import deepseek_core", imported, "ms", "<", 250.0, note),
        Figure("import and discover every backend", discovered, "ms", "<", 1000.0, note),
        Figure("vendor packages imported by that", len(loaded), "", "==", 0, ", ".join(loaded) or "none"),
    ]


def _fresh_import() -> tuple[float, float, list[str]]:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    imported, discovered, modules = json.loads(done.stdout)
    return imported, discovered, modules


def _session(rounds: int) -> list[Figure]:
    """One Add of one element: what is left is the way there and back."""
    model = _tiny()
    feeds = {"x": np.ones(1, np.float32)}
    bare = onnxruntime.InferenceSession(_bytes(model), _one_thread(), providers=["CPUExecutionProvider"])
    with Session(compile(model, options=CompileOptions(threads=1))) as session:
        runners: dict[str, Callable[[], object]] = {
            "bare": lambda: bare.run(["y"], feeds),
            "session": lambda: session.run(feeds),
        }
        found = interleave(runners, rounds=rounds, budget=30.0, sample=5e-3, threads=1)
    added = (found["session"] - found["bare"]) * 1e6
    return [
        Figure("bare ONNX Runtime session", found["bare"] * 1e6, "µs", note="one Add of one element"),
        Figure("Session.run adds", added, "µs", "<", 30.0, "to the same graph on the CPU backend"),
    ]


def _tiny() -> QuantizedModel:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1,)))
    node = ir.node("Add", [x, x], name="add")
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape((1,))
    graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": 21}, name="tiny")
    return QuantizedModel(ir.Model(graph, ir_version=10))


def _bytes(model: QuantizedModel) -> bytes:
    return bytes(ir.to_proto(model.model).SerializeToString())


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


if __name__ == "__main__":
    main("Overhead of the SDK", measure, ("deepseek-core", "deepseek-backend-cpu", "onnxruntime"))
