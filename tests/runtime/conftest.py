"""Backends on ONNX Runtime that can be told to lie, and small placed models."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from deepseek_core.artifact import Artifact
from deepseek_core.hookspecs import HOOK_API, BackendInfo, hookimpl
from deepseek_core.ir.model import QuantizedModel, TensorInfo
from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.registry import Backend, Registry
from deepseek_core.scheme import DType
from deepseek_core.target import Availability, Capabilities, OpRule, Target, Tier

NUMPY = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool", "tensor(int8)": "int8"}


class OrtExecutable:
    """Runs an ONNX artifact with ONNX Runtime and remembers what happened to it."""

    def __init__(self, artifact, device, tier):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(artifact.payload, options, ["CPUExecutionProvider"])
        self.device, self.tier = device, tier
        self.closed = 0
        self.calls = []

    @property
    def inputs(self):
        return tuple(TensorInfo(v.name, NUMPY[v.type], tuple(v.shape)) for v in self._session.get_inputs())

    @property
    def outputs(self):
        return tuple(TensorInfo(v.name, NUMPY[v.type], tuple(v.shape)) for v in self._session.get_outputs())

    def run(self, feeds):
        self.calls.append(tuple(feeds))
        names = [info.name for info in self.outputs]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def close(self):
        self.closed += 1


class FakeBackend:
    """Hooks over ONNX Runtime; attributes are the knobs.

    Attributes:
        opened: every executable it opened.
        compiled: how often it compiled.
    """

    def __init__(self, name, ops=(), **knobs):
        self.name, self.ops = name, ops
        self.target = Target(name, "host")
        self.here = Availability(True, True, tier=Tier.DEVICE, devices=(f"{name} 0", f"{name} 1"))
        self.requires, self.toolchain = (), {"tool": "1"}
        self.passes = ()
        self.device, self.tier = None, Tier.DEVICE
        self.opened, self.compiled = [], 0
        self.wrap = lambda executable: executable
        vars(self).update(knobs)

    def compile(self, model, target, options):
        self.compiled += 1
        clone = model.clone()
        values = {v.name: v for node in clone.graph for v in node.outputs}
        for name in options.taps:
            if values[name] not in clone.graph.outputs:
                clone.graph.outputs.append(values[name])
        payload = ir.to_proto(clone.model).SerializeToString()
        return Artifact(target, payload, "onnx", self.toolchain, self.requires)

    def load(self, artifact, device):
        executable = OrtExecutable(artifact, self.device or device or f"{self.name} 0", self.tier)
        self.opened.append(executable)
        return self.wrap(executable)

    def backend(self):
        rules = tuple(OpRule(op, DType.FLOAT32, DType.FLOAT32) for op in self.ops)
        table = Capabilities(self.target, rules, any_float=not rules, control_flow=not rules, dynamic_shapes=True)
        hooks = {
            "deepseek_backend": lambda: BackendInfo(self.name, HOOK_API, (self.target,), "", "1"),
            "deepseek_capabilities": lambda: table,
            "deepseek_probe": lambda: self.here,
            "deepseek_passes": lambda: self.passes,
            "deepseek_compile": lambda model, target, options: self.compile(model, target, options),  # noqa: PLW0108
            "deepseek_load": lambda artifact, device: self.load(artifact, device),  # noqa: PLW0108
        }
        return Backend(SimpleNamespace(**{k: hookimpl(v) for k, v in hooks.items()}))


@pytest.fixture
def fake():
    return FakeBackend


@pytest.fixture
def registry_of():
    return lambda *fakes: Registry(f.backend() for f in fakes)


@pytest.fixture
def graph_of():
    """`graph_of(nodes, inputs, outputs, constants)`; nodes are (op, inputs, output) in order, all of one shape."""

    def make(nodes, inputs, outputs, constants=None):
        counter = itertools.count()
        values = {}
        for name, shape in inputs.items():
            values[name] = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        fed = list(values.values())
        initializers = []
        for name, array in (constants or {}).items():
            tensor = ir.tensor(np.asarray(array, np.float32), name=name)
            values[name] = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
            initializers.append(values[name])
        made = []
        for op, ins, out in nodes:
            node = ir.node(op, [values[i] for i in ins], name=f"{op.lower()}{next(counter)}")
            node.outputs[0].name, node.outputs[0].type = out, ir.TensorType(ir.DataType.FLOAT)
            node.outputs[0].shape = fed[0].shape.copy()
            values[out] = node.outputs[0]
            made.append(node)
        graph = ir.Graph(
            fed, [values[o] for o in outputs], nodes=made, initializers=initializers, opset_imports={"": 21}, name="g"
        )
        return QuantizedModel(ir.Model(graph, ir_version=10), {"source_sha256": "00"})

    return make


@pytest.fixture
def packaged(fake, registry_of):
    """`packaged(model)`: Relu and Add on npu, the rest on cpu; gives package, registry, npu, cpu."""

    def make(model):
        npu, cpu = fake("npu", ("Relu", "Add")), fake("cpu")
        registry = registry_of(npu, cpu)
        return compile(model, ["npu", "cpu"], registry=registry, solver=PreferenceSolver()), registry, npu, cpu

    return make


@pytest.fixture
def diamond(graph_of):
    """x → Relu → r; Erf(r) → e; Add(r, e) → y: on two targets it makes three parts."""
    nodes = [("Relu", ["x"], "r"), ("Erf", ["r"], "e"), ("Add", ["r", "e"], "y")]
    return graph_of(nodes, {"x": ("N", 3)}, ["y"])
