"""What a GPU runs with this backend's kernels, as one table. Most preferred scheme first."""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_backend_rocm.targets import LAUNCH, gpu_of
from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target

__all__ = ["BINARY", "FORMATS", "MOVES", "REAL_BINARY", "REAL_UNARY", "TABLES", "capabilities"]

FORMATS = ("c", "bin")

_CODES = QuantScheme(DType.INT8)
_UNSIGNED = QuantScheme(DType.UINT8)
_PER_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_PER_TENSOR = QuantScheme(DType.INT8, symmetric=True)
_BLOCKS = (
    QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, block_size=32),
    QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, block_size=128),
    QuantScheme(DType.UINT4, Granularity.PER_BLOCK, block_size=32),
)
_PER_CHANNEL_4 = QuantScheme(DType.INT4, Granularity.PER_CHANNEL, symmetric=True)
_FUSED = ("Relu", "Clip")
_ALWAYS = (Limit("static"), Limit("dim:0", minimum=1), Limit("rank", maximum=6))
_REAL_ALWAYS = (Limit("static"), Limit("rank", maximum=6))
_IMAGES = (Limit("static"), Limit("dim:0", minimum=1), Limit("rank", 3, 4))
_GEMM = (
    *_ALWAYS,
    *(Limit(f"attr:{name}", allowed=(1.0,), default=1.0) for name in ("alpha", "beta")),
    Limit("attr:transA", allowed=(0,), default=0),
)

BINARY = ("Add", "Sub", "Mul", "Div", "Min", "Max")
TABLES = (
    *("Abs", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Relu"),
    *("Sigmoid", "Softplus", "Tanh"),
)
"""Functions of one value: a table of 256 codes."""
MOVES = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "SpaceToDepth", "Split"),
    *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
REAL_BINARY = BINARY
REAL_UNARY = ("Abs", "Clip", "Erf", "Exp", "Gelu", "Neg", "Relu", "Sigmoid", "Sqrt")
_REAL = (*REAL_BINARY, *REAL_UNARY, "LayerNormalization", "ReduceL2", "ReduceMean", "ReduceSum", "Softmax")
_REAL_GELU = Limit("attr:approximate", allowed=("none",), default="none")
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_RESIZE = (
    Limit("attr:mode", allowed=("nearest",), default="nearest"),
    Limit("attr:coordinate_transformation_mode", allowed=("asymmetric",), default="half_pixel"),
    Limit("attr:nearest_mode", allowed=("floor",), default="round_prefer_floor"),
)


def capabilities(target: Target) -> Capabilities:
    """The table of a target.

    Raises:
        TargetError: there is no such target.
    """
    gpu = gpu_of(target)
    return Capabilities(
        target,
        tuple(_rules()),
        formats=FORMATS,
        peak_macs=gpu.peak_macs,
        bandwidth=gpu.bandwidth,
        launch=LAUNCH,
    )


def _rules() -> Iterator[OpRule]:
    for codes in (_CODES, _UNSIGNED):
        yield from _coded(codes)
    yield from _weight_only()
    for real in (DType.FLOAT32, DType.FLOAT16):
        yield OpRule("MatMul", real, real, fused=_FUSED, limits=_ALWAYS)
    for op in (*_REAL, *MOVES):
        limits = (*_REAL_ALWAYS, _REAL_GELU) if op == "Gelu" else _REAL_ALWAYS
        yield OpRule(op, DType.FLOAT32, DType.FLOAT32, fused=_FUSED if op == "Add" else (), limits=limits)


def _coded(codes: QuantScheme) -> Iterator[OpRule]:
    """Tensors of codes; weights are int8 whatever activations are."""
    for weight in (_PER_CHANNEL, _PER_TENSOR):
        yield OpRule("Conv", codes, codes, weight, DType.INT32, fused=_FUSED, limits=_IMAGES)
        yield OpRule("Gemm", codes, codes, weight, DType.INT32, fused=_FUSED, limits=_GEMM)
        yield OpRule("MatMul", codes, codes, weight, fused=_FUSED, limits=_ALWAYS)
    yield OpRule("MatMul", codes, codes, fused=_FUSED, limits=_ALWAYS)
    for weight in (_PER_CHANNEL, _PER_TENSOR):
        yield OpRule("Gemm", codes, DType.FLOAT32, weight, DType.INT32, fused=_FUSED, limits=_GEMM)
        yield OpRule("MatMul", codes, DType.FLOAT32, weight, fused=_FUSED, limits=_ALWAYS)
    yield OpRule("MatMul", codes, DType.FLOAT32, fused=_FUSED, limits=_ALWAYS)
    for op in BINARY:
        yield OpRule(op, codes, codes, fused=_FUSED if op == "Add" else (), limits=_ALWAYS)
    for op in (*TABLES, *MOVES, "ReduceMean", "Softmax", "LayerNormalization"):
        yield OpRule(op, codes, codes, limits=_ALWAYS)
    for op in _POOLS:
        yield OpRule(op, codes, codes, limits=_IMAGES)
    yield OpRule("Pad", codes, codes, limits=(*_ALWAYS, Limit("attr:mode", allowed=("constant",), default="constant")))
    yield OpRule("Resize", codes, codes, limits=(*_IMAGES, *_RESIZE))


def _weight_only() -> Iterator[OpRule]:
    """Real numbers times codes: float32 exactly, float16 as it is."""
    weights = {DType.FLOAT32: (*_BLOCKS, _PER_CHANNEL_4, _PER_CHANNEL), DType.FLOAT16: (_BLOCKS[0], _PER_CHANNEL)}
    for real, schemes in weights.items():
        for op, bias, limits in (("Gemm", real, _GEMM), ("MatMul", None, _ALWAYS)):
            for weight in schemes:
                yield OpRule(op, real, real, weight, bias, fused=_FUSED, limits=limits)
