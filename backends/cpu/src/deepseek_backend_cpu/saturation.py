"""Keep x86 CPUs without VNNI exact (docs/decisions/0004-x86-saturation.md).

Their u8 × s8 kernels add pairs of products in 16 bits with saturation (VPMADDUBSW). The u8 × u8 kernels widen first
(VPMADDWD), and w·x = ((w + 128) − 128)·x: storing a weight as uint8 with its zero point moved by 128 gives the same
sums, exactly.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx_ir as ir

from deepseek_backend_cpu.session import open_session

__all__ = ["open_exact", "saturates", "store_weights_unsigned"]

_WEIGHTS = {"QLinearConv": (3, 5), "QLinearMatMul": (3, 5), "QGemm": (3, 5), "MatMulIntegerToFloat": (1, 5)}
"""op → positions of the weight and of its zero point."""

_SAFE = (-64, 63)
"""255 · (a + b) stays inside 16 bits for any two weights of this range."""

_OFFSET = 128
_SCALE = 16384.0


def open_exact(payload: bytes, **options: Any) -> Any:
    """A session whose integer results are the same on every CPU; `options` as for `open_session`."""
    if saturates():
        return open_session(store_weights_unsigned(payload), precise=True, **options)
    return open_session(payload, **options)


@functools.cache
def saturates() -> bool:
    """Whether u8 × s8 products saturate on this CPU. Tried rather than looked up: no list of CPUs can be wrong."""
    (codes,) = open_session(_probe(), threads=1).run(None, {"x": np.full((4, 64), 255, np.uint8)})
    return bool((codes != round(64 * 255 * 127 / _SCALE)).any())


def store_weights_unsigned(payload: bytes) -> bytes:
    """The same model with every int8 weight that could saturate stored as uint8."""
    from onnx import ModelProto

    model = ir.from_proto(ModelProto.FromString(payload))
    for graph in model.graphs():
        for node in graph:
            if node.op_type in _WEIGHTS and isinstance(graph, ir.Graph):
                _shift(graph, node, *_WEIGHTS[node.op_type])
    return bytes(ir.to_proto(model).SerializeToString())


def _shift(graph: ir.Graph, node: ir.Node, weight_at: int, zero_at: int) -> None:
    weight, zero = node.inputs[weight_at], node.inputs[zero_at]
    if weight is None or zero is None or weight.const_value is None or zero.const_value is None:
        return
    codes = weight.const_value.numpy()
    if codes.dtype != np.int8 or codes.size == 0 or (codes.min() >= _SAFE[0] and codes.max() <= _SAFE[1]):
        return
    for position, value in ((weight_at, weight), (zero_at, zero)):
        node.replace_input_with(position, _unsigned(graph, value))


def _unsigned(graph: ir.Graph, value: ir.Value) -> ir.Value:
    assert value.const_value is not None
    name = f"{value.name}/unsigned"
    if name not in graph.initializers:
        codes = (value.const_value.numpy().astype(np.int16) + _OFFSET).astype(np.uint8)
        tensor = ir.tensor(codes, name=name)
        shifted = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(codes.shape), const_value=tensor)
        graph.register_initializer(shifted)
    return graph.initializers[name]


def _probe() -> bytes:
    """One QLinearMatMul whose exact result a saturating kernel misses."""
    constants = {
        "one": np.float32(1.0),
        "u8_zero": np.uint8(0),
        "s8_zero": np.int8(0),
        "w": np.full((64, 16), 127, np.int8),
        "scale": np.float32(_SCALE),
    }
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.UINT8), shape=ir.Shape((4, 64)))
    values = {n: ir.Value(name=n, const_value=ir.tensor(np.asarray(a), name=n)) for n, a in constants.items()}
    names = ["one", "u8_zero", "w", "one", "s8_zero", "scale", "u8_zero"]
    node = ir.node("QLinearMatMul", [x, *(values[n] for n in names)])
    output = node.outputs[0]
    output.name, output.type, output.shape = "y", ir.TensorType(ir.DataType.UINT8), ir.Shape((4, 16))
    graph = ir.Graph([x], [output], nodes=[node], initializers=list(values.values()), opset_imports={"": 21}, name="p")
    return bytes(ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString())
