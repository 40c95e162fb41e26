"""What TensorRT runs, as one table. Most preferred scheme first.

TensorRT's explicit quantization is symmetric: zero points are zero, weights have a scale for each output channel or one
for all, and biases stay in float (TensorRT Developer Guide, "Working with Quantized Types"); int32 biases become float
when a part is compiled. What has no rule runs in float between its DQ and Q.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from deepseek_backend_tensorrt.devices import ARCHITECTURES, Architecture, architecture_of
from deepseek_core import Capabilities, DType, Granularity, OpRule, QuantScheme, Target

__all__ = ["BLOCKS", "FORMATS", "TARGETS", "capabilities"]

TARGETS = tuple(Target("tensorrt", name) for name in ARCHITECTURES)
FORMATS = ("engine",)
BLOCKS = (64, 128)
"""Elements that share a scale in 4-bit weights."""

_CODES = QuantScheme(DType.INT8, symmetric=True)
_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_FLOAT8 = QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)
_BLOCKS = tuple(
    QuantScheme(DType.INT4, Granularity.PER_BLOCK, symmetric=True, block_size=size) for size in reversed(BLOCKS)
)

_CLIPS = ("Relu", "Clip")
_MATRIX = {
    "Conv": DType.FLOAT32,
    "Gemm": DType.FLOAT32,
    "MatMul": None,
}
_SUMS = ("Add", "AveragePool", "GlobalAveragePool", "Concat")
_MOVES = (
    "Clip",
    "Flatten",
    "Identity",
    "MaxPool",
    "Relu",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_REACHED = 0.4
"""Share of the data sheet's peak that whole networks reach."""
_LAUNCH = 8e-6
"""Seconds to launch a captured graph and wait for it."""


@functools.cache
def capabilities(target: Target) -> Capabilities:
    """The table of an architecture.

    Raises:
        TargetError: there is no such architecture, or a feature is asked for.
    """
    architecture = architecture_of(target)
    return Capabilities(
        target,
        tuple(_rules(architecture)),
        any_float=True,
        dynamic_shapes=True,
        max_opset=21,
        formats=FORMATS,
        peak_macs=_REACHED * architecture.macs,
        bandwidth=architecture.bandwidth,
        launch=_LAUNCH,
    )


def _rules(architecture: Architecture) -> Iterator[OpRule]:
    for op, bias in _MATRIX.items():
        yield from _matrix(op, bias)
    for output in (_CODES, DType.FLOAT32):
        yield OpRule("MatMul", _CODES, output)
    for op in _SUMS:
        yield OpRule(op, _CODES, _CODES, fused=_CLIPS if op == "Add" else ())
    for op in _MOVES:
        yield OpRule(op, _CODES, _CODES)
    if architecture.float8:
        yield from _float8()
    if architecture.int4:
        for weight in _BLOCKS:
            yield OpRule("Gemm", DType.FLOAT32, DType.FLOAT32, weight, DType.FLOAT32)
            yield OpRule("MatMul", DType.FLOAT32, DType.FLOAT32, weight)


def _matrix(op: str, bias: DType | None) -> Iterator[OpRule]:
    for output in (_CODES, DType.FLOAT32):
        for weight in (_CHANNEL, _CODES):
            yield OpRule(op, _CODES, output, weight, bias, fused=_CLIPS)


def _float8() -> Iterator[OpRule]:
    """float8 keeps a tensor's range in one scale; what is between matrix products stays in float."""
    for op in ("Gemm", "MatMul"):
        yield OpRule(op, _FLOAT8, DType.FLOAT32, _FLOAT8, _MATRIX[op])
    yield OpRule("MatMul", _FLOAT8, DType.FLOAT32)
