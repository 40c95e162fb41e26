"""What the Echo device can do: one table, from which recipe, claims and conformance cases are derived."""

from __future__ import annotations

from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target
from deepseek_core.errors import TargetError

__all__ = ["DEVICE", "TARGET", "capabilities"]

TARGET = Target("echo", "v1")
DEVICE = "echo v1 simulator"

_CODES = QuantScheme(DType.INT8)
_PER_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_PER_TENSOR = QuantScheme(DType.INT8, symmetric=True)
_PLAIN_GEMM = (Limit("attr:alpha", allowed=(1.0,), default=1.0), Limit("attr:beta", allowed=(1.0,), default=1.0))
_STATIC = Limit("static")


def capabilities(target: Target) -> Capabilities:
    """The table of `target`; the figures describe a small edge device.

    Raises:
        TargetError: the target has a feature that Echo does not know.
    """
    if target.features:
        raise TargetError(f"Echo has no feature '{target.features[0]}'", fix=f"use {TARGET}")
    return Capabilities(target, (*_matrix_rules(), *_other_rules()), peak_macs=4e9, bandwidth=1e9, launch=20e-6)


def _matrix_rules() -> list[OpRule]:
    gemm = (*_PLAIN_GEMM, Limit("attr:transA", allowed=(0,), default=0), _STATIC)
    return [
        OpRule(op, _CODES, _CODES, weight, bias, fused=("Relu",), limits=limits)
        for op, bias, limits in (("Gemm", DType.INT32, gemm), ("MatMul", None, (_STATIC,)))
        for weight in (_PER_CHANNEL, _PER_TENSOR)
    ]


def _other_rules() -> list[OpRule]:
    return [
        OpRule("Add", _CODES, _CODES, fused=("Relu",), limits=(_STATIC,)),
        OpRule("Relu", _CODES, _CODES, limits=(_STATIC,)),
        OpRule("Reshape", _CODES, _CODES, limits=(_STATIC,)),
        OpRule("Flatten", _CODES, _CODES, limits=(_STATIC,)),
    ]
