"""What ONNX Runtime runs on a CPU, as one table. Most preferred scheme first."""

from __future__ import annotations

import os
from collections.abc import Iterator

from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target

__all__ = ["TARGETS", "capabilities"]

TARGETS = (Target("cpu", "x86_64"), Target("cpu", "aarch64"))

_U8, _S8 = QuantScheme(DType.UINT8), QuantScheme(DType.INT8)
_U16, _S16 = QuantScheme(DType.UINT16), QuantScheme(DType.INT16)
_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_TENSOR = QuantScheme(DType.INT8, symmetric=True)
_TENSOR_U8 = QuantScheme(DType.UINT8)
_F8 = QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)
_F8_CHANNEL = QuantScheme(DType.FLOAT8E4M3FN, Granularity.PER_CHANNEL, symmetric=True)
_CHANNEL_4 = QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True)
_BLOCKS = tuple(
    QuantScheme(dtype, Granularity.PER_BLOCK, symmetric=dtype is DType.INT4, block_size=size)
    for dtype in (DType.INT4, DType.UINT4)
    for size in (32, 128)
)

_CLIPS = ("Relu", "Clip")
_MATRIX = {"Conv": DType.INT32, "Gemm": DType.INT32, "MatMul": None}
_ELEMENTWISE = (
    "Add",
    "Mul",
    "AveragePool",
    "GlobalAveragePool",
    "ReduceMean",
    "Sigmoid",
    "LeakyRelu",
    "Softmax",
    "Concat",
    "Where",
)
_MOVES = (
    "Clip",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "MaxPool",
    "Pad",
    "Relu",
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

_NEAREST = (
    Limit("attr:mode", allowed=("nearest",), default="nearest"),
    Limit(
        "attr:coordinate_transformation_mode",
        allowed=("align_corners", "asymmetric", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"),
        default="half_pixel",
    ),
)

_VNNI = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "dotprod", "i8mm"))
_MACS_PER_CORE = {True: 180e9, False: 60e9}
"""8-bit multiply-accumulates per second with and without dot-product instructions, as whole networks reach them."""


def capabilities(target: Target) -> Capabilities:
    """The table of a target; the analytic figures are of a server core and of as many cores as this machine has."""
    cores = os.cpu_count() or 1
    fast = target.device == "aarch64" or not _VNNI.isdisjoint(target.features)
    return Capabilities(
        target,
        tuple(_rules()),
        any_float=True,
        float_domains=("", "ai.onnx.ml", "com.microsoft"),
        control_flow=True,
        dynamic_shapes=True,
        peak_macs=_MACS_PER_CORE[fast] * cores,
        bandwidth=10e9,
        launch=5e-6,
    )


def _rules() -> Iterator[OpRule]:
    for op, bias in _MATRIX.items():
        yield from _matrix_rules(op, bias)
    for scheme in (_U8, _S8):
        yield OpRule("MatMul", scheme, scheme, fused=_CLIPS)
        for op in _ELEMENTWISE:
            yield OpRule(op, scheme, scheme, fused=_CLIPS if op == "Add" else ())
        for op in _MOVES:
            yield OpRule(op, scheme, scheme)
        yield OpRule("Resize", scheme, scheme, limits=_NEAREST)
    yield from _float8_rules()


def _matrix_rules(op: str, bias: DType | None) -> Iterator[OpRule]:
    """8-bit rules run in integer kernels; 16-bit activations, and 4-bit weights of float data, run in float."""
    for activation in (_U8, _S8):
        for weight in (_CHANNEL, _TENSOR, _TENSOR_U8, _CHANNEL_4):
            yield OpRule(op, activation, activation, weight, bias, fused=_CLIPS)
            if op != "Conv":
                yield OpRule(op, activation, DType.FLOAT32, weight, bias)
    for activation in (_U16, _S16):
        yield OpRule(op, activation, activation, _CHANNEL, bias, fused=_CLIPS)
    for weight in (_CHANNEL_4,) if op == "Conv" else _BLOCKS:
        yield OpRule(op, DType.FLOAT32, DType.FLOAT32, weight, fused=() if op == "MatMul" else _CLIPS)


def _float8_rules() -> Iterator[OpRule]:
    """float8 is stored exactly and computed in float: layers with weights and products. What is between stays float."""
    for op in _MATRIX:
        bias = None if op == "MatMul" else DType.FLOAT32
        yield OpRule(op, _F8, _F8, _F8_CHANNEL, bias, fused=_CLIPS)
        if op != "Conv":
            yield OpRule(op, _F8, DType.FLOAT32, _F8_CHANNEL, bias)
    yield OpRule("MatMul", _F8, _F8, fused=_CLIPS)
