"""Numbers for units that apply a function to dequantized values, and for those that only move codes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.graph import Tensor
from deepseek_core.conformance.numbers.base import Numbers, Policy, Question, fit_output
from deepseek_core.conformance.numbers.tensors import grid, is_integer, numbers_of, parameters, tensor
from deepseek_core.ir import QParams
from deepseek_core.scheme import QuantScheme
from deepseek_core.target import OpRule

__all__ = ["FUNCTION", "MOVEMENT"]

_REACH = 6.0
"""Real values lie within ±6: the region where activations bend."""

_EXACT = frozenset(["Add", "Sub", "Mul", "Relu", "Clip", "Max", "Min", "Sum", "Concat", "Abs", "Neg", "QuantizeLinear"])
"""Ops whose float result of small multiples of a power of two is exact."""


def _scale(kind: object, factor: float = 1.0) -> float:
    if not isinstance(kind, QuantScheme) or not kind.dtype.is_integer:
        return 0.5
    return 2 * _REACH / kind.levels * factor


def _mixed(question: Question) -> Numbers:
    """Each input has a scale of its own; a divisor keeps away from 0."""
    form, rule, rng = question.form, question.rule, question.rng
    data = tuple(
        tensor(rng, rule.activation, shape, scale=_scale(rule.activation, 1 + 0.37 * i), axis=1)
        for i, shape in enumerate(form.data)
    )
    if form.op == "Div":
        data = (data[0], _positive(data[1]))
    weight = None
    if form.weight is not None:
        kind = rule.weight if rule.weight is not None else rule.activation
        weight = tensor(rng, kind, form.weight, scale=_scale(kind, 0.1))
    return Numbers(data, weight, output=fit_output(rule))


def _positive(divisor: Tensor) -> Tensor:
    """The same tensor without values at or below 0."""
    if divisor.qparams is None:
        return Tensor(np.asarray(np.abs(divisor.values) + np.ones((), divisor.values.dtype)))
    scheme = divisor.qparams.scheme
    if not scheme.dtype.is_integer:
        return Tensor((np.abs(divisor.values.astype(np.float32)) + 1).astype(divisor.values.dtype), divisor.qparams)
    zero, (_, high) = int(divisor.qparams.zero_point.reshape(-1)[0]), grid(scheme)
    codes = zero + 1 + np.abs(divisor.values.astype(np.int64)) % max(high - zero, 1)
    return Tensor(codes.astype(divisor.values.dtype), divisor.qparams)


def _saturation(question: Question) -> Numbers:
    return replace(_mixed(question), output=fit_output(question.rule, stretch=0.3))


def _zero_points(question: Question, *, low: bool) -> Numbers:
    numbers = _mixed(question)
    assert isinstance(question.rule.activation, QuantScheme)
    bottom, top = grid(question.rule.activation)
    data = tuple(_with_zero(t, bottom if low else top) for t in numbers.data)
    if question.form.op == "Div":
        data = (data[0], numbers.data[1])
    return replace(numbers, data=data, output=fit_output(question.rule, stretch=0.9, extreme=True))


def _with_zero(t: Tensor, zero: int) -> Tensor:
    assert t.qparams is not None
    return Tensor(t.values, QParams(t.qparams.scheme, t.qparams.scale, np.full_like(t.qparams.zero_point, zero)))


def _ties(question: Question) -> Numbers:
    """Inputs in halves, output in ones."""
    rule, rng = question.rule, question.rng
    assert isinstance(rule.activation, QuantScheme)
    data = tuple(tensor(rng, rule.activation, shape, scale=0.5, axis=1) for shape in question.form.data)
    data = tuple(_uniform(t, 0.5) for t in data)
    return Numbers(data, output=fit_output(rule, scale=1.0))


def _uniform(t: Tensor, scale: float) -> Tensor:
    assert t.qparams is not None
    return Tensor(t.values, QParams(t.qparams.scheme, np.full_like(t.qparams.scale, scale), t.qparams.zero_point))


def _every_code(question: Question) -> Numbers:
    numbers = _mixed(question)
    assert isinstance(question.rule.activation, QuantScheme)
    every = numbers_of(question.rule.activation.dtype)
    first = numbers.data[0]
    return replace(numbers, data=(Tensor(np.resize(every, first.values.shape), first.qparams), *numbers.data[1:]))


def _moved(question: Question) -> Numbers:
    return _kept(_mixed(question))


def _moved_codes(question: Question) -> Numbers:
    return _kept(_every_code(question))


def _kept(numbers: Numbers) -> Numbers:
    """The output has the input's parameters, as ops that only move values promise."""
    qparams = numbers.data[0].qparams
    if qparams is None:
        return replace(numbers, output=None)

    def same(real: NDArray[Any]) -> QParams:
        return qparams

    return replace(numbers, output=same)


def _negative(question: Question) -> Numbers:
    """Every value below 0: padding that counts as 0 would win a maximum."""
    first = _mixed(question).data[0]
    kind = question.rule.activation
    if isinstance(kind, QuantScheme) and kind.dtype.is_integer and not kind.symmetric:
        top = grid(kind)[1]
        qparams = parameters(kind, first.values.shape, scale=_scale(kind), zero=top, axis=1)
        return _kept(Numbers((Tensor(first.values, qparams),)))
    if first.qparams is not None and first.qparams.scheme.dtype.is_integer:
        zero = int(first.qparams.zero_point.reshape(-1)[0])
        mirrored = np.minimum(first.values.astype(np.int64), zero - 1).astype(first.values.dtype)
    else:
        mirrored = (-np.abs(first.values.astype(np.float32)) - 1).astype(first.values.dtype)
    return _kept(Numbers((Tensor(mirrored, first.qparams),)))


def _quantizes(rule: OpRule) -> bool:
    return isinstance(rule.output, QuantScheme)


def _shifts(rule: OpRule) -> bool:
    return is_integer(rule.activation) and isinstance(rule.activation, QuantScheme) and not rule.activation.symmetric


def _narrow(rule: OpRule) -> bool:
    return isinstance(rule.activation, QuantScheme) and rule.activation.dtype.bits <= 8


def _can_tie(rule: OpRule) -> bool:
    return rule.op in _EXACT and is_integer(rule.activation) and is_integer(rule.output)


_LOW = "the input's smallest zero point, an extreme one for the output"
_HIGH = "the input's largest zero point, an extreme one for the output"
_TIES = "results land on .5 exactly, both parities and signs"

FUNCTION = (
    Policy("mixed", "random codes, a scale of its own for each input", _mixed),
    Policy("every_code", "every code of the type", _every_code, _narrow),
    Policy("saturation", "outputs beyond both ends of the range", _saturation, _quantizes),
    Policy("zero_point_low", _LOW, partial(_zero_points, low=True), _shifts),
    Policy("zero_point_high", _HIGH, partial(_zero_points, low=False), _shifts),
    Policy("rounding_ties", _TIES, _ties, _can_tie),
)

MOVEMENT = (
    Policy("mixed", "codes come out as they went in", _moved),
    Policy("every_code", "every code of the type", _moved_codes, _narrow),
    Policy("negative", "every real value is negative", _negative, lambda rule: rule.op == "MaxPool"),
)
