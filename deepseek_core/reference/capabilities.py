"""The reference's capability table: every operator in float, integer numerics for what ONNX quantizes.

`any_float` also takes units that no row has, piece by piece (see `deepseek_core.partition.rules`); the rows are what
recipes are derived from and what the conformance kit tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import Capabilities, OpRule, Target

__all__ = ["TARGET", "capabilities"]

TARGET = Target("reference", "numpy")

_U8, _S8 = QuantScheme(DType.UINT8), QuantScheme(DType.INT8)
_S16 = QuantScheme(DType.INT16, symmetric=True)
_FP8 = QuantScheme(DType.FLOAT8E4M3FN, symmetric=True)


def _weight(dtype: DType, granularity: Granularity = Granularity.PER_TENSOR, block: int | None = None) -> QuantScheme:
    return QuantScheme(dtype, granularity, symmetric=dtype.is_signed, block_size=block)


_S8_WEIGHTS = (_weight(DType.INT8, Granularity.PER_CHANNEL), _weight(DType.INT8))
_S4_WEIGHTS = (_weight(DType.INT4, Granularity.PER_CHANNEL), _weight(DType.INT4))
_FP8_WEIGHTS = (_weight(DType.FLOAT8E4M3FN, Granularity.PER_CHANNEL), _weight(DType.FLOAT8E4M3FN))
_BLOCKS = (_weight(DType.INT4, Granularity.PER_BLOCK, 32), _weight(DType.UINT4, Granularity.PER_BLOCK, 32))
_WEIGHTS = {
    _U8: (*_S8_WEIGHTS, _weight(DType.UINT8), *_S4_WEIGHTS),
    _S8: (*_S8_WEIGHTS, *_S4_WEIGHTS),
    _S16: _S8_WEIGHTS,
    _FP8: _FP8_WEIGHTS,
}
"""Weight schemes that go with each activation scheme, the preferred ones first."""

_FUSED = ("Relu", "Clip")
_ACCUMULATING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_FUNCTIONS = (
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Concat", "Where", "PRelu"),
    *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum", "ReduceMax", "Resize", "Pad"),
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Gelu", "Erf", "Exp"),
    *("Abs", "Neg", "Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization"),
)
"""Dequantize, apply the function in float32, quantize."""
_MOVEMENT = (
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "MaxPool", "Identity", "Split"),
    *("Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
)
"""Codes come out as they went in."""


def capabilities(target: Target) -> Capabilities:
    """The table of `target`; its figures are what NumPy does on one core, so that no plan prefers it to a device."""
    light = (OpRule(op, scheme, scheme) for op in (*_FUNCTIONS, *_MOVEMENT) for scheme in _WEIGHTS)
    return Capabilities(
        target,
        (*_accumulating(), *_weight_only(), *light),
        any_float=True,
        control_flow=True,
        dynamic_shapes=True,
        peak_macs=2e9,
        bandwidth=1e9,
        launch=1e-3,
    )


def _accumulating() -> Iterator[OpRule]:
    """Codes in; codes or float out. An int32 bias joins the accumulator, a float one its real value."""
    for scheme, weights in _WEIGHTS.items():
        for op in _ACCUMULATING:
            joins = DType.INT32 if scheme.dtype.is_integer else DType.FLOAT32
            bias = None if op == "MatMul" else joins
            for weight in weights:
                yield OpRule(op, scheme, scheme, weight, bias, _FUSED)
                yield OpRule(op, scheme, DType.FLOAT32, weight, bias, _FUSED)
            if bias is DType.INT32:
                yield OpRule(op, scheme, scheme, weights[0], DType.FLOAT32, _FUSED)
        yield OpRule("MatMul", scheme, scheme)
        yield OpRule("MatMul", scheme, DType.FLOAT32)


def _weight_only() -> Iterator[OpRule]:
    """Float in and out, weights as codes."""
    for op, bias in (("Gemm", DType.FLOAT32), ("MatMul", None)):
        for weight in (*_BLOCKS, *_S4_WEIGHTS, *_S8_WEIGHTS):
            yield OpRule(op, DType.FLOAT32, DType.FLOAT32, weight, bias, _FUSED)
