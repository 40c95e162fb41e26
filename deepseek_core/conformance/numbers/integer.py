"""Numbers for units that multiply integer codes: the accumulator and its requantization."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.forms.base import Form, Settings
from deepseek_core.conformance.graph import Tensor
from deepseek_core.conformance.numbers.base import Numbers, Policy, Question, fit_output, weight_axis
from deepseek_core.conformance.numbers.tensors import SPREAD, codes, default_zero, grid, is_integer, parameters, tensor
from deepseek_core.ir import QParams
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import OpRule

__all__ = ["POLICIES"]

_X_SCALE, _W_SCALE = 0.0173, 0.0041
_LOW, _HIGH = -(2**31), 2**31 - 1


def _scheme(kind: object) -> QuantScheme:
    assert isinstance(kind, QuantScheme)
    return kind


def _weight_scheme(question: Question) -> QuantScheme:
    return _scheme(question.rule.weight if question.form.weight is not None else question.rule.activation)


def _weight_reach(question: Question) -> int | None:
    """Largest weight code for which an int32 accumulator cannot overflow; None for no bound."""
    bits = _scheme(question.rule.activation).dtype.bits + log2(max(question.form.reduced, 1)) + 1
    weight = _weight_scheme(question).dtype.bits
    return None if bits + weight <= 31 else max(int(2 ** (31 - bits)) // 2, 1)


def _pair(
    question: Question, x: Tensor, w: NDArray[Any] | None, w_scale: float = _W_SCALE, *, spread: bool = True
) -> Numbers:
    """Data `x` and weight codes `w` (None: random); the output fits the range."""
    form = question.form
    scheme, reach = _weight_scheme(question), _weight_reach(question)
    shape = form.weight if form.weight is not None else form.data[1]
    axis = weight_axis(form) if form.weight is not None else 0
    values = codes(question.rng, scheme, shape, reach) if w is None else w
    factors = SPREAD if spread else (1.0,)
    weight = Tensor(
        values.astype(numpy_dtype(scheme.dtype)), parameters(scheme, shape, scale=w_scale, axis=axis, spread=factors)
    )
    data = (x,) if form.weight is not None else (x, weight)
    output = fit_output(question.rule)
    return Numbers(data, weight if form.weight is not None else None, _bias(question, x, weight), output)


def _data(question: Question, zero: int | None = None, scale: float = _X_SCALE) -> Tensor:
    return tensor(question.rng, question.rule.activation, question.form.data[0], scale=scale, zero=zero)


def _bias(question: Question, x: Tensor, weight: Tensor, values: NDArray[Any] | None = None) -> Tensor | None:
    """An int32 bias (scale activation × weight) or a float one; None where form or rule have none."""
    form, kind = question.form, question.rule.bias
    if not form.bias or kind is None:
        return None
    assert x.qparams is not None
    assert weight.qparams is not None
    reach = _typical(form, x, weight)
    if values is None:
        values = question.rng.integers(-reach, reach + 1, form.bias)
    if kind is not DType.INT32:
        unit = float(x.qparams.scale) * float(weight.qparams.scale.max())
        return Tensor((values * unit).astype(numpy_dtype(kind)))
    return Tensor(values.astype(np.int32), _bias_parameters(form, x.qparams, weight.qparams))


def _bias_parameters(form: Form, x: QParams, w: QParams) -> QParams:
    scale = (x.scale * w.scale).astype(np.float32)
    if w.scheme.granularity is Granularity.PER_CHANNEL:
        scale = np.resize(scale, form.bias)
        return QParams(
            QuantScheme(DType.INT32, Granularity.PER_CHANNEL, True, axis=0), scale, np.zeros(form.bias, np.int32)
        )
    return QParams(QuantScheme(DType.INT32, symmetric=True), scale.reshape(()), np.zeros((), np.int32))


def _typical(form: Form, x: Tensor, w: Tensor) -> int:
    """Size of a usual accumulator value."""
    if not x.values.size:
        return 1
    size = np.abs(_centred(x)).mean() * np.abs(_centred(w)).mean() * max(form.reduced, 1) ** 0.5
    return max(int(size), 1)


def _centred(t: Tensor) -> NDArray[np.int64]:
    assert t.qparams is not None
    return t.values.astype(np.int64) - int(t.qparams.zero_point.reshape(-1)[0])


def _mixed(question: Question) -> Numbers:
    return _pair(question, _data(question), None)


def _saturation(question: Question) -> Numbers:
    return replace(_mixed(question), output=fit_output(question.rule, stretch=0.3))


def _zero_points(question: Question, *, low: bool) -> Numbers:
    bottom, top = grid(_scheme(question.rule.activation))
    numbers = _pair(question, _data(question, bottom if low else top), None)
    return replace(numbers, output=fit_output(question.rule, stretch=0.9, extreme=True))


def _one_tap(question: Question) -> NDArray[np.int64]:
    """Weights with one tap of ±1 for each output: the accumulator walks through small integers of both signs."""
    form, scheme = question.form, _weight_scheme(question)
    shape = form.weight if form.weight is not None else form.data[1]
    rows = np.zeros(shape, np.int64)
    axis = weight_axis(form) if form.weight is not None else len(shape) - 1
    moved = np.moveaxis(rows, axis, 0).reshape(shape[axis], -1)
    index = np.arange(len(moved))
    moved[index, (index * 5 + 2) % moved.shape[1]] = 1 - 2 * (index % 2)
    restored = np.moveaxis(moved.reshape(np.moveaxis(rows, axis, 0).shape), 0, axis)
    return restored + default_zero(scheme)


def _ties(question: Question, x_scale: float, w_scale: float) -> Numbers:
    """The accumulator times s_x · s_w / s_y is exactly half of it."""
    numbers = _pair(question, _small(question, x_scale), _one_tap(question), w_scale, spread=False)
    weight = numbers.weight or numbers.data[1]
    scale = 2 * float(np.float32(x_scale) * np.float32(w_scale))
    bias = _bias(question, numbers.data[0], weight, np.arange(question.form.bias) % 2)
    return replace(numbers, bias=bias, output=fit_output(question.rule, scale=scale))


def _small(question: Question, scale: float) -> Tensor:
    """Data within reach of the output's codes after halving."""
    scheme, output = _scheme(question.rule.activation), _scheme(question.rule.output)
    reach = min(output.levels // 2, scheme.levels)
    values = codes(question.rng, scheme, question.form.data[0], reach)
    return Tensor(values, parameters(scheme, question.form.data[0], scale=scale, spread=(1.0,)))


def _extremes(question: Question, signs: tuple[int, ...]) -> Numbers:
    """Data at its largest code; weights at ±their largest in the order of `signs` along the summed axis."""
    form, rule = question.form, question.rule
    low, high = grid(_scheme(rule.activation))
    zero = default_zero(_scheme(rule.activation))
    top = high if high - zero >= zero - low else low
    x = _data(question)
    values = np.full(form.data[0], top).astype(x.values.dtype)
    values[..., -1:] = (top + zero) // 2 if form.data[0][-1] > 1 and form.op.startswith("Conv") else top
    w_low, w_high = _weight_bounds(question)
    shape = form.weight if form.weight is not None else form.data[1]
    axis = (
        0 if form.op in ("ConvTranspose", "MatMul") or (form.op == "Gemm" and not form.attributes.get("transB")) else 1
    )
    axis = len(shape) - 2 if form.op == "MatMul" else axis
    pattern = np.resize([w_high if s > 0 else w_low for s in signs], shape[axis])
    weights = np.broadcast_to(pattern.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    return _pair(question, Tensor(values, x.qparams), weights)


def _weight_bounds(question: Question) -> tuple[int, int]:
    scheme, reach = _weight_scheme(question), _weight_reach(question)
    low, high = grid(scheme)
    zero = default_zero(scheme)
    return (low, high) if reach is None else (max(low, zero - reach), min(high, zero + reach))


def _bias_numbers(question: Question, *, wraps: bool) -> Numbers:
    numbers = _mixed(question)
    weight = numbers.weight or numbers.data[1]
    room = (
        0
        if wraps
        else int(np.abs(_centred(numbers.data[0])).max()) * int(np.abs(_centred(weight)).max()) * question.form.reduced
    )
    ends = (_HIGH - room, _LOW + room)
    values = np.resize(np.array(ends, np.int64), question.form.bias)
    return replace(numbers, bias=_bias(question, numbers.data[0], weight, values))


def _no_bias(question: Question) -> Numbers:
    return replace(_mixed(question), bias=None)


def _deep(base: Settings) -> Settings:
    """Hundreds of products behind each output, by channels alone."""
    if "kernel_shape" not in base.attributes:
        return base.but(shape=(*base.shape[:-1], 515))
    spatial = len(base.shape) - 2
    return base.but(shape=(1, 515, *(2,) * spatial), kernel_shape=(1,) * spatial)


def _requantizes(rule: OpRule) -> bool:
    return is_integer(rule.output)


def _shifts(rule: OpRule) -> bool:
    return isinstance(rule.activation, QuantScheme) and not rule.activation.symmetric


def _int32_bias(rule: OpRule) -> bool:
    return rule.bias is DType.INT32


_ZERO_LOW = "the input's smallest zero point, an extreme one for the output"
_ZERO_HIGH = "the input's largest zero point, an extreme one for the output"
_TIES = "acc · scale lands on .5 exactly, both parities and signs"
_INTEGER_TIES = "ties that integer arithmetic hits and float arithmetic on dequantized values misses"
_WRAPS = "accumulator and bias overflow int32 and wrap"
_PAIRS = "neighbouring products overflow 16 bits and cancel later"

POLICIES = (
    Policy("mixed", "random codes over the whole range, scales that are no powers of two", _mixed),
    Policy("saturation", "outputs beyond both ends of the range", _saturation, _requantizes),
    Policy("zero_point_low", _ZERO_LOW, partial(_zero_points, low=True), _shifts),
    Policy("zero_point_high", _ZERO_HIGH, partial(_zero_points, low=False), _shifts),
    Policy("rounding_ties", _TIES, partial(_ties, x_scale=0.5, w_scale=0.25), _requantizes),
    Policy("integer_ties", _INTEGER_TIES, partial(_ties, x_scale=0.0173, w_scale=0.0137), _requantizes),
    Policy("accumulator_16bit", "sums far beyond 16 bits", partial(_extremes, signs=(1,)), settings=_deep),
    Policy("accumulator_negative", "sums far below 16 bits", partial(_extremes, signs=(-1,)), settings=_deep),
    Policy("accumulator_pairs", _PAIRS, partial(_extremes, signs=(1, 1, -1, -1, 1, -1, -1)), settings=_deep),
    Policy("many_channels", "515 summands", _mixed, settings=_deep),
    Policy("bias_extremes", "a bias near both ends of int32", partial(_bias_numbers, wraps=False), _int32_bias),
    Policy("bias_wraps", _WRAPS, partial(_bias_numbers, wraps=True), _int32_bias),
    Policy("no_bias", "the bias left out", _no_bias, lambda rule: rule.bias is not None),
)
