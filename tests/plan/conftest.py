"""Small placed models with every kind of thing that a plan tells."""

from __future__ import annotations

from types import SimpleNamespace

import onnx_ir as ir
import pytest

from deepseek_core.cost import Basis, Cost
from deepseek_core.hookspecs import HOOK_API, BackendInfo, hookimpl
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.partition import OptimalSolver, propose, settle
from deepseek_core.placement import Claim
from deepseek_core.plan import explain
from deepseek_core.registry import Backend
from deepseek_core.target import Availability, Capabilities, Missing, Target

OPS = ("Relu", "Erf", "Neg", "Tanh")


def network(ops=OPS, size=1000, skip=True):
    """A chain of ops named like their op, and an Add of both ends."""
    x = ir.Value(name="x", shape=ir.Shape([size]), type=ir.TensorType(ir.DataType.FLOAT))
    nodes, value = [], x
    for number, op in enumerate(ops):
        node = ir.node(op, [value], name=f"{op.lower()}{number}")
        nodes.append(node)
        value = node.outputs[0]
    if skip:
        nodes.append(ir.node("Add", [nodes[0].outputs[0], value], name="add"))
    for node in nodes:
        node.outputs[0].name = f"{node.name}_out"
        node.outputs[0].shape, node.outputs[0].type = ir.Shape([size]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [nodes[-1].outputs[0]], nodes=nodes, opset_imports={"": 21}, name="g")
    return QuantizedModel(ir.Model(graph, ir_version=10))


def backend(name, seconds, refused=(), groups=(), here=True, **table):
    """A backend with a price for each op; `refused` ops have a reason and a remedy, `groups` stay together."""
    target = Target(name, "chip")

    def claim(model, target, refuse):
        held = {unit for group in groups for unit in group}
        claims = [Claim(target, tuple(group)) for group in groups]
        for unit in model.units():
            if unit.op in refused:
                refuse(unit, f"the {name} has no {unit.op}", f"take <another> op than {unit.op}")
            elif unit.name not in held:
                claims.append(Claim(target, (unit.name,)))
        return claims

    def cost(units):
        total = sum(seconds.get(unit.op, 1.0) for unit in units)
        return Cost.of(total, Basis.MEASURED, joules=2 * total)

    missing = () if here else (Missing("the board", "plug it in"),)
    hooks = {
        "deepseek_backend": lambda: BackendInfo(name, HOOK_API, (target,), "", "1"),
        "deepseek_capabilities": lambda: Capabilities(target, (), any_float=True, **table),
        "deepseek_probe": lambda: Availability(True, here, missing),
        "deepseek_claim": claim,
        "deepseek_cost": cost,
        "deepseek_compile": lambda: None,
        "deepseek_load": lambda: None,
    }
    return Backend(SimpleNamespace(**{k: hookimpl(v) for k, v in hooks.items()})), target


@pytest.fixture(scope="session")
def net():
    return network


@pytest.fixture(scope="session")
def device():
    return backend


@pytest.fixture(scope="session")
def planned():
    """`planned(model, targets, pins=None, solver=None, gates=None)`: the plan of the optimal placement."""

    def make(model, targets, *, pins=None, solver=None, gates=None, by=None):
        problem = propose(model, targets, pins)
        solver = solver or OptimalSolver()
        return explain("model <1>", problem, settle(problem, by or solver), solver, gates=gates)

    return make


@pytest.fixture
def split_plan(planned):
    """relu and add on cpu, the rest on npu, which refuses Add."""
    npu = backend(
        "npu", {"Relu": 3.0, "Erf": 0.1, "Neg": 0.1, "Tanh": 0.1}, refused=("Add",), bandwidth=1e6, here=False
    )
    cpu = backend("cpu", {"Relu": 0.1, "Add": 0.1, "Erf": 2.0, "Neg": 2.0, "Tanh": 2.0}, bandwidth=1e6)
    return planned(network(), [npu, cpu])
