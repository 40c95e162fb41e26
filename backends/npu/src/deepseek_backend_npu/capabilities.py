"""What an Ethos-U runs, as one table. Most preferred scheme first."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from deepseek_backend_npu.devices import DEVICES, SYSTEMS, Device, device_of
from deepseek_core import Capabilities, DType, Granularity, Limit, OpRule, QuantScheme, Target

__all__ = ["FUNCTIONS", "TARGETS", "capabilities"]

TARGETS = tuple(Target("npu", name) for name in DEVICES)
FORMATS = ("c-header",)

_CODES = QuantScheme(DType.INT8)
_WIDE = QuantScheme(DType.INT16, symmetric=True)
_PER_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_PER_TENSOR = QuantScheme(DType.INT8, symmetric=True)

_FUSED = ("Relu", "Clip")
_SOME = Limit("dim:0", minimum=1)
_STATIC = Limit("static")
_ALWAYS = (_STATIC, _SOME)
_ONE_IMAGE = (_STATIC, Limit("dim:0", 1, 1), Limit("rank", 3, 4))
"""Windows slide over one sample at a time: Vela 5.2.0 misplaces pads and leaves out waits between several."""
_LAUNCH = 20e-6
"""Seconds to start the NPU from the host: an interrupt and a few register writes."""


@functools.cache
def capabilities(target: Target) -> Capabilities:
    """The table of a variant.

    Raises:
        TargetError: there is no such variant, or a feature is asked for.
    """
    device = device_of(target)
    system = SYSTEMS[device.system]
    return Capabilities(
        target,
        tuple(_rules(device)),
        formats=FORMATS,
        peak_macs=device.total_macs * system.clock,
        bandwidth=system.bandwidth,
        launch=_LAUNCH,
    )


def _rules(device: Device) -> Iterator[OpRule]:
    for data in (_CODES, _WIDE):
        for weight in (_PER_CHANNEL, _PER_TENSOR):
            yield OpRule("Conv", data, data, weight, DType.INT32, fused=_FUSED, limits=_ONE_IMAGE)
            yield OpRule("ConvTranspose", data, data, weight, DType.INT32, fused=_FUSED, limits=_ONE_IMAGE)
            yield OpRule("Gemm", data, data, weight, DType.INT32, fused=_FUSED, limits=_GEMM)
            yield OpRule("MatMul", data, data, weight, fused=_FUSED, limits=_ALWAYS)
        if data is _CODES or device.family == "ethos-u85":
            yield OpRule("MatMul", data, data, fused=_FUSED, limits=_RANKS)
        yield from _rules_without_weights(data)


def _rules_without_weights(data: QuantScheme) -> Iterator[OpRule]:
    for op in _BINARY:
        yield OpRule(op, data, data, fused=_FUSED if op == "Add" else (), limits=_RANKS)
    for op in FUNCTIONS:
        yield OpRule(op, data, data, limits=_RANKS)
    for op, limits in _OTHER.items():
        yield OpRule(op, data, data, limits=limits)
    for mode in _RESIZE:
        yield OpRule("Resize", data, data, limits=(*_ONE_IMAGE, *mode))
    if data is _CODES:
        for op in _NARROW:
            yield OpRule(op, data, data, limits=_RANKS)


_RANKS = (*_ALWAYS, Limit("rank", maximum=6))
_PLAIN = tuple(Limit(f"attr:{name}", allowed=(1.0,), default=1.0) for name in ("alpha", "beta"))
_GEMM = (*_ALWAYS, *_PLAIN)
_BINARY = ("Add", "Sub", "Mul", "Min", "Max")
_NARROW = ("Exp", "Softmax")
"""Ops of int8 alone: over an int16 range, exponentials are no straight lines between the points of any table."""
FUNCTIONS = (
    "Abs",
    "Clip",
    "Elu",
    "Erf",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Neg",
    "Relu",
    "Sigmoid",
    "Softplus",
    "Tanh",
)
"""Functions of one value, of int8 and int16."""
_POOL = (*_ONE_IMAGE, Limit("attr:dilations", allowed=(1,), default=1))
_OTHER: dict[str, tuple[Limit, ...]] = {
    "AveragePool": (*_POOL, Limit("attr:kernel_shape", 1, 64)),
    "Concat": _RANKS,
    "Flatten": _ALWAYS,
    "Gather": _RANKS,
    "GlobalAveragePool": _ONE_IMAGE,
    "GlobalMaxPool": _ONE_IMAGE,
    "Identity": _RANKS,
    "MaxPool": _POOL,
    "Pad": (*_RANKS, Limit("attr:mode", allowed=("constant",), default="constant")),
    "ReduceMean": _RANKS,
    "Reshape": _ALWAYS,
    "Slice": _RANKS,
    "Split": _RANKS,
    "Squeeze": _ALWAYS,
    "Transpose": _RANKS,
    "Unsqueeze": _ALWAYS,
}


def _choice(name: str, value: str, default: str) -> Limit:
    return Limit(f"attr:{name}", allowed=(value,), default=default)


def _resize(mode: str, coordinates: str, nearest: str | None) -> tuple[Limit, ...]:
    limits = [_choice("mode", mode, "nearest"), _choice("coordinate_transformation_mode", coordinates, "half_pixel")]
    if nearest is not None:
        limits.append(_choice("nearest_mode", nearest, "round_prefer_floor"))
    return tuple(limits)


_RESIZE = (
    _resize("nearest", "asymmetric", "floor"),
    _resize("nearest", "half_pixel", "round_prefer_floor"),
    _resize("linear", "half_pixel", None),
)
