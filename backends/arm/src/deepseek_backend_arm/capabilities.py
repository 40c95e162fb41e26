"""What an ARM CPU runs with this backend's kernels, as one table. Most preferred scheme first."""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_backend_arm.targets import cpu_of
from deepseek_backend_arm.tvm.ops import OPS as TVM_OPS
from deepseek_backend_arm.tvm.presence import absence
from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target

__all__ = ["BINARY", "CODE_MOVES", "FORMATS", "TABLES", "capabilities"]

FORMATS = ("bin", "lib", "c")

_CODES, _UNSIGNED = QuantScheme(DType.INT8), QuantScheme(DType.UINT8)
_PER_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_PER_TENSOR = QuantScheme(DType.INT8, symmetric=True)
_SMALL = QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True)
_BLOCKS = tuple(
    QuantScheme(dtype, Granularity.PER_BLOCK, symmetric=dtype is DType.INT4, block_size=size)
    for dtype in (DType.INT4, DType.UINT4)
    for size in (32, 128)
)
_FUSED = ("Relu", "Clip")
_IMAGES = (Limit("rank", 3, 4),)
_LAUNCH = 2e-6
"""Seconds to wake the threads."""

BINARY = ("Add", "Sub", "Mul", "Div", "Min", "Max")
TABLES = (
    *("Abs", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Relu"),
    *("Sigmoid", "Softplus", "Tanh"),
)
"""Functions of one value: a table of 256 codes."""
CODE_MOVES = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape"),
    *("ReverseSequence", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_RESIZE = (
    Limit("attr:mode", allowed=("nearest",), default="nearest"),
    Limit("attr:coordinate_transformation_mode", allowed=("asymmetric",), default="half_pixel"),
    Limit("attr:nearest_mode", allowed=("floor",), default="round_prefer_floor"),
)
_OF_OTHERS = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "ReduceMean", "Sigmoid", "Softmax", "Concat", "MaxPool")
"""Ops that a model quantized for another target may have in uint8; others run all the same, by real numbers between."""


def capabilities(target: Target) -> Capabilities:
    """The table of a target.

    Raises:
        TargetError: there is no such target.
    """
    cpu = cpu_of(target)
    return Capabilities(
        target,
        (*_rules(), *_by_tvm()),
        any_float=True,
        control_flow=True,
        formats=FORMATS,
        peak_macs=cpu.macs * cpu.clock * cpu.cores,
        bandwidth=cpu.bandwidth,
        launch=_LAUNCH,
    )


def _rules() -> Iterator[OpRule]:
    yield from _products(_CODES, (_PER_CHANNEL, _PER_TENSOR, _SMALL))
    for op in BINARY:
        yield OpRule(op, _CODES, _CODES, fused=_FUSED if op == "Add" else ())
    for op in (*TABLES, *CODE_MOVES, "ReduceMean", "Softmax", "LayerNormalization"):
        yield OpRule(op, _CODES, _CODES)
    for op in _POOLS:
        yield OpRule(op, _CODES, _CODES, limits=_IMAGES)
    yield OpRule("Pad", _CODES, _CODES, limits=(Limit("attr:mode", allowed=("constant",), default="constant"),))
    yield OpRule("Resize", _CODES, _CODES, limits=(*_IMAGES, *_RESIZE))
    yield from _products(_UNSIGNED, (_PER_CHANNEL, _PER_TENSOR))
    for op in _OF_OTHERS:
        yield OpRule(op, _UNSIGNED, _UNSIGNED)
    for op, bias in (("Gemm", DType.FLOAT32), ("MatMul", None)):
        for weight in (*_BLOCKS, _SMALL):
            yield OpRule(op, DType.FLOAT32, DType.FLOAT32, weight, bias)


def _by_tvm() -> Iterator[OpRule]:
    """Ops on real numbers without an own kernel, where TVM is installed."""
    if absence() is None:
        for op in TVM_OPS:
            yield OpRule(op, DType.FLOAT32, DType.FLOAT32)


def _products(codes: QuantScheme, weights: tuple[QuantScheme, ...]) -> Iterator[OpRule]:
    """Sums of products of codes: as codes, or as real numbers where no quantized unit reads them."""
    for weight in weights:
        for op in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            bias = None if op == "MatMul" else DType.INT32
            yield OpRule(op, codes, codes, weight, bias, fused=_FUSED)
            yield OpRule(op, codes, DType.FLOAT32, weight, bias, fused=_FUSED)
    yield OpRule("MatMul", codes, codes, fused=_FUSED)
    yield OpRule("MatMul", codes, DType.FLOAT32)
