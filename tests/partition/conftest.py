"""Small models built by hand, and backends whose capabilities and claims a test chooses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.hookspecs import HOOK_API, BackendInfo, hookimpl
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.registry import Backend
from deepseek_core.target import Availability, Capabilities, Target

OPSET = 21


class GraphBuilder:
    """Builds a graph node by node; every method returns the new value."""

    def __init__(self) -> None:
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []

    def input(self, name: str, shape, dtype=ir.DataType.FLOAT) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.inputs.append(value)
        return value

    def constant(self, name: str, array) -> ir.Value:
        tensor = ir.tensor(np.asarray(array), name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype))
        self.constants.append(value)
        return value

    def op(self, kind: str, *inputs, name: str = "", shape=None, dtype=ir.DataType.FLOAT, outputs=1, **attributes):
        name = name or f"{kind.lower()}{len(self.nodes)}"
        node = ir.node(kind, list(inputs), attributes=attributes, num_outputs=outputs, name=name)
        for i, out in enumerate(node.outputs):
            out.name = name + ("_out" if outputs == 1 else f"_out{i}")
            out.type = ir.TensorType(dtype)
            source = inputs[0].shape if shape is None and inputs else None
            out.shape = ir.Shape(shape) if shape is not None else source.copy() if source is not None else None
        self.nodes.append(node)
        return node.outputs[0] if outputs == 1 else node.outputs

    def q(self, x, scale=0.1, zero=0, dtype=np.int8, name: str = "", **attributes):
        name = name or f"q{len(self.nodes)}"
        s = self.constant(f"{name}_s", np.asarray(scale, np.float32))
        z = self.constant(f"{name}_z", np.full(np.shape(scale), zero, dtype))
        return self.op("QuantizeLinear", x, s, z, name=name, dtype=z.dtype, **attributes)

    def dq(self, x, scale=0.1, zero=0, name: str = "", **attributes):
        name = name or f"dq{len(self.nodes)}"
        s = self.constant(f"{name}_s", np.asarray(scale, np.float32))
        z = self.constant(f"{name}_z", np.full(np.shape(scale), zero, x.dtype.numpy()))
        return self.op("DequantizeLinear", x, s, z, name=name, **attributes)

    def graph(self, outputs, name="g") -> ir.Graph:
        return ir.Graph(
            self.inputs, outputs, nodes=self.nodes, initializers=self.constants, opset_imports={"": OPSET}, name=name
        )

    def model(self, *outputs) -> QuantizedModel:
        return QuantizedModel(ir.Model(self.graph(outputs), ir_version=10))


@pytest.fixture
def builder():
    return GraphBuilder()


@pytest.fixture(scope="session")
def new_builder():
    return GraphBuilder


@pytest.fixture(scope="session")
def fake_backend():
    """`fake_backend(name, rules=(), claim=None, cost=None, **capabilities)` → (Backend, Target)."""

    def make(name="fake", rules=(), claim=None, cost=None, **capabilities):
        target = Target(name, "chip")
        table = Capabilities(target, tuple(rules), **capabilities)
        hooks = {
            "deepseek_backend": lambda: BackendInfo(name, HOOK_API, (target,), "", "1"),
            "deepseek_capabilities": lambda: table,
            "deepseek_probe": lambda: Availability(True, True),
            "deepseek_compile": lambda: None,
            "deepseek_load": lambda: None,
        }
        if claim is not None:
            hooks["deepseek_claim"] = claim
        if cost is not None:
            hooks["deepseek_cost"] = cost
        return Backend(SimpleNamespace(**{k: hookimpl(v) for k, v in hooks.items()})), target

    return make
