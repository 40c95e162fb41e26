"""Which nodes give the same whenever they run, and which cannot fail."""

from __future__ import annotations

import onnx_ir as ir

from deepseek_core.ir.query import static_shape
from deepseek_core.ir.units import subgraphs

__all__ = ["cannot_fail", "is_pure", "is_random"]

_RANDOM = frozenset(
    ("Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)

_TOTAL = frozenset(
    (
        "Abs", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg",
        "Not", "Reciprocal", "Relu", "Round", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Softplus", "Softsign",
        "Sqrt", "Tanh",
    )
)  # fmt: skip
"""Operators that take any tensor of their types."""

_TOTAL_WHEN_SHAPED = frozenset(
    (
        "Add", "And", "Concat", "Conv", "ConvTranspose", "Div", "Equal", "Flatten", "Gemm", "Greater", "GreaterOrEqual",
        "LayerNormalization", "Less", "LessOrEqual", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Or", "PRelu", "Pow",
        "Softmax", "Sub", "Sum", "Transpose", "Where", "Xor",
    )
)  # fmt: skip
"""Operators whose only condition is that shapes fit, which shape inference has checked where all are known."""


def is_random(node: ir.Node) -> bool:
    """Whether two runs of a node may differ."""
    return node.op_type in _RANDOM


def is_pure(node: ir.Node) -> bool:
    """Whether a node of the standard's domain gives the same tensors for the same inputs, and does nothing else."""
    tensors = all(isinstance(value.type, ir.TensorType) for value in node.outputs if value.name)
    return node.domain == "" and not is_random(node) and next(subgraphs(node), None) is None and tensors


def cannot_fail(node: ir.Node) -> bool:
    """Whether a node gives a result for whatever its inputs hold, so that running it in vain does no harm."""
    if node.op_type in _TOTAL:
        return True
    values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.name]
    shaped = all(static_shape(value) is not None for value in values)
    # Integers cannot be divided by zero, nor raised to a negative power.
    floats = node.op_type not in ("Div", "Pow") or all(
        v.dtype is not None and v.dtype.is_floating_point() for v in values
    )
    return node.op_type in _TOTAL_WHEN_SHAPED and shaped and floats
