"""Small float networks and a capability table like a CPU's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule, Target

U8 = QuantScheme(DType.UINT8)
S8 = QuantScheme(DType.INT8, symmetric=True)
S8_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)


@pytest.fixture(scope="session")
def table():
    """uint8 activations, int8 per-channel weights; Gemm and MatMul may leave their output in float."""
    macs = [
        OpRule(op, U8, out, S8_CHANNEL, None if op == "MatMul" else DType.INT32, ("Relu", "Clip"))
        for op in ("Conv", "Gemm", "MatMul")
        for out in ((U8, DType.FLOAT32) if op != "Conv" else (U8,))
    ]
    both = [OpRule("MatMul", U8, U8), OpRule("MatMul", U8, DType.FLOAT32)]
    light = [OpRule(op, U8, U8, fused=("Relu",)) for op in ("Add", "Mul", "GlobalAveragePool", "Sigmoid")]
    moves = [OpRule(op, U8, U8) for op in ("MaxPool", "Reshape", "Resize", "Transpose", "Flatten")]
    return Capabilities(Target("toy", "host"), (*macs, *both, *light, *moves), any_float=True)


@pytest.fixture
def build():
    """`build(nodes, inputs, outputs, **initializers)`: a loaded model; nodes are (op, inputs, outputs, attrs)."""

    def make(nodes, inputs, outputs, **weights):
        values = {
            n: ir.Value(name=n, shape=ir.Shape(s), type=ir.TensorType(ir.DataType.FLOAT)) for n, s in inputs.items()
        }
        graph_inputs = list(values.values())
        constants = []
        for name, array in weights.items():
            values[name] = ir.Value(
                name=name,
                const_value=ir.tensor(np.asarray(array), name=name),
                shape=ir.Shape(np.shape(array)),
                type=ir.TensorType(ir.tensor(np.asarray(array)).dtype),
            )
            constants.append(values[name])
        made = []
        for op, ins, outs, *attrs in nodes:
            for name in outs:
                values[name] = ir.Value(name=name)
            made.append(
                ir.node(
                    op,
                    [values.get(i) for i in ins],
                    attributes=attrs[0] if attrs else {},
                    outputs=[values[o] for o in outs],
                    name=f"{op.lower()}_{outs[0]}",
                )
            )
        graph = ir.Graph(
            graph_inputs,
            [values[o] for o in outputs],
            nodes=made,
            initializers=constants,
            opset_imports={"": 21},
            name="g",
        )
        return load_model(ir.Model(graph, ir_version=10))

    return make


@pytest.fixture
def residual(build):
    """Conv → Relu → Conv, added to a third Conv, pooled, flattened, classified."""
    rng = np.random.default_rng(0)

    def w(*shape):
        return rng.normal(0, 0.3, shape).astype(np.float32)

    pads = {"pads": [1, 1, 1, 1]}
    return build(
        [
            ("Conv", ["x", "w1", "b1"], ["c1"], pads),
            ("Relu", ["c1"], ["r1"]),
            ("Conv", ["r1", "w2", "b2"], ["c2"], pads),
            ("Conv", ["x", "w3"], ["c3"]),
            ("Add", ["c2", "c3"], ["s"]),
            ("Relu", ["s"], ["r2"]),
            ("GlobalAveragePool", ["r2"], ["p"]),
            ("Flatten", ["p"], ["f"]),
            ("Gemm", ["f", "w4", "b4"], ["y"], {"transB": 1}),
        ],
        {"x": ["batch", 3, 8, 8]},
        ["y"],
        w1=w(8, 3, 3, 3),
        b1=w(8),
        w2=w(8, 8, 3, 3),
        b2=w(8),
        w3=w(8, 3, 1, 1),
        w4=w(5, 8),
        b4=w(5),
    )
