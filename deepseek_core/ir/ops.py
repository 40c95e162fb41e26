"""What the inputs of each ONNX op mean to quantization: data, weight, bias or auxiliary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

__all__ = ["ACTIVATIONS", "PASSTHROUGH", "OpInfo", "Role", "channel_axis", "info", "moves_only", "op_key", "roles"]


class Role(StrEnum):
    """What an input is to its node."""

    DATA = "data"
    WEIGHT = "weight"
    BIAS = "bias"
    AUX = "aux"


@dataclass(frozen=True, slots=True)
class OpInfo:
    """Positions of the inputs that carry real numbers.

    Attributes:
        data: positions of data inputs; a negative entry -n means "n-1 and all that follow" (variadic).
        weight: position of the input that is a weight when it is constant (data otherwise).
        bias: position of the bias.
        accumulates: multiplies and sums over a dimension (Conv, Gemm, MatMul, ConvTranspose).
    """

    data: tuple[int, ...] = (0,)
    weight: int | None = None
    bias: int | None = None
    accumulates: bool = False


PASSTHROUGH = frozenset(
    (
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "MaxPool",
        "Reshape",
        "ReverseSequence",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    )
)
"""Ops that only move values: a quantized output keeps the input's scale and zero point."""

ACTIVATIONS = frozenset(["Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"])
"""Elementwise functions that a rule may name in `fused`."""

_VARIADIC = OpInfo(data=(-1,))
_BINARY = OpInfo(data=(0, 1))
_OPS: dict[str, OpInfo] = {
    "Conv": OpInfo((0,), weight=1, bias=2, accumulates=True),
    "ConvTranspose": OpInfo((0,), weight=1, bias=2, accumulates=True),
    "Gemm": OpInfo((0,), weight=1, bias=2, accumulates=True),
    "MatMul": OpInfo((0,), weight=1, accumulates=True),
    "BatchNormalization": OpInfo((0,)),
    "PRelu": OpInfo((0,), weight=1),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Pow", "Equal", "Less", "Greater", "Mod"], _BINARY),
    **dict.fromkeys(["Concat", "Sum", "Max", "Min", "Mean", "Einsum"], _VARIADIC),
    "Where": OpInfo(data=(1, 2)),
}
_DEFAULT = OpInfo()


def op_key(node: ir.Node) -> str:
    """`Conv`, or `com.microsoft::Gelu` outside the default domain."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def info(op: str) -> OpInfo:
    """Input positions of an op; for an unknown one, input 0 is data and the rest auxiliary."""
    return _OPS.get(op, _DEFAULT)


def moves_only(node: ir.Node) -> bool:
    """Whether each element of the output is one of the input: what `PASSTHROUGH` names, and Resize to the nearest."""
    if op_key(node) != "Resize":
        return op_key(node) in PASSTHROUGH
    mode, places = (
        node.attributes.get_string(name, default)
        for name, default in (("mode", "nearest"), ("coordinate_transformation_mode", "half_pixel"))
    )
    return mode == "nearest" and places != "tf_crop_and_resize"  # which has values of its own beyond the edge


def roles(node: ir.Node) -> tuple[Role, ...]:
    """Role of every input of `node`, looking through its Q/DQ nodes to tell constants from data."""
    spec = info(op_key(node))
    found: list[Role] = []
    for position, value in enumerate(node.inputs):
        if position == spec.bias:
            found.append(Role.BIAS)
        elif position == spec.weight:
            found.append(Role.WEIGHT if _is_constant(value) else Role.DATA)
        elif position in spec.data or any(entry < 0 and position >= -entry - 1 for entry in spec.data):
            found.append(Role.DATA)
        else:
            found.append(Role.AUX)
    return tuple(found)


def _is_constant(value: ir.Value | None) -> bool:
    while value is not None and value.const_value is None:
        producer = value.producer()
        if producer is None or producer.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return False
        value = producer.inputs[0]
    return value is not None


def channel_axis(node: ir.Node) -> int:
    """Axis of the weight that runs over output channels (ConvTranspose: the axis of its groups' outputs).

    Conv weights are [M, C/group, k…] → 0; ConvTranspose [C, M/group, k…] → 1; Gemm [K, N] → 1, or 0 with
    transB; MatMul [..., K, N] → the last; anything else 0.
    """
    match op_key(node):
        case "ConvTranspose":
            return 1
        case "Gemm":
            attr = node.attributes.get("transB")
            return 0 if attr is not None and attr.as_int() else 1
        case "MatMul":
            weight = node.inputs[1]
            return len(weight.shape) - 1 if weight is not None and weight.shape is not None else -1
        case _:
            return 0
