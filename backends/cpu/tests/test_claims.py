from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deepseek_backend_cpu import claims
from deepseek_core import Claim


def ask(cpu, model):
    reasons = {}
    found = cpu.backend.claim(model, cpu.target, lambda unit, reason: reasons.update({unit.name: reason}))
    return found, reasons


def test_what_runs_is_claimed_unit_by_unit(cpu, builder) -> None:
    builder.output(builder.op("Exp", builder.op("Neg", builder.input("x", (2,)), name="neg"), name="exp"), "y")
    found, reasons = ask(cpu, builder.model())
    assert found == [Claim(cpu.target, ("neg",)), Claim(cpu.target, ("exp",))]
    assert not reasons


def test_an_op_without_a_kernel_is_refused_by_name(cpu, builder) -> None:
    builder.output(builder.op("NoSuchOp", builder.input("x", (2,)), name="odd"), "y")
    found, reasons = ask(cpu, builder.model())
    assert not found
    assert "has no CPU kernel for NoSuchOp" in reasons["odd"]


def test_a_foreign_domain_is_refused_and_named(cpu, builder) -> None:
    node = ir.node("Exp", [builder.input("x", (2,))], domain="com.example", name="odd")
    node.outputs[0].name = "y"
    builder.nodes.append(node)
    builder.output(node.outputs[0])
    _, reasons = ask(cpu, builder.model())
    assert "com.example::Exp" in reasons["odd"]


def test_a_body_is_looked_into(cpu, builder, builders) -> None:
    bodies = []
    for name, op in (("then", "NoSuchOp"), ("else", "Neg")):
        branch = builders()
        value = branch.op(op, branch.constant(np.ones(2, np.float32), f"{name}.c"), name=f"{name}.node")
        bodies.append(ir.Graph([], [value], nodes=branch.nodes, initializers=branch.constants, name=name))
    condition = builder.input("c", (), np.bool_)
    builder.output(builder.op("If", condition, name="if", then_branch=bodies[0], else_branch=bodies[1]), "y")
    _, reasons = ask(cpu, builder.model())
    assert "NoSuchOp" in reasons["if"]


def test_ops_defined_by_other_ops_are_claimed(cpu, builder) -> None:
    builder.output(builder.op("MeanVarianceNormalization", builder.input("x", (1, 2, 3, 3)), name="mvn"), "y")
    found, _ = ask(cpu, builder.model())
    assert len(found) == 1
    assert claims._is_function("", "MeanVarianceNormalization")
    assert not claims._is_function("", "NoSuchOp")


def test_without_a_list_of_kernels_nothing_is_refused_for_them(cpu, builder, monkeypatch) -> None:
    monkeypatch.setattr(claims, "_kernels", frozenset)
    builder.output(builder.op("NoSuchOp", builder.input("x", (2,)), name="odd"), "y")
    found, reasons = ask(cpu, builder.model())
    assert len(found) == 1
    assert not reasons
