"""Numbers for units that multiply in float: float types, float8 codes, and quantized weights beside float data.

Everything is a small multiple of a power of two, so that sums are exact in whatever order a device adds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek_core.conformance.graph import Tensor
from deepseek_core.conformance.numbers.base import Numbers, Policy, Question, fit_output, weight_axis
from deepseek_core.conformance.numbers.tensors import numbers_of, parameters, reals, tensor
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import OpRule

__all__ = ["POLICIES"]


def _mixed(question: Question) -> Numbers:
    form, rule, rng = question.form, question.rule, question.rng
    data = tuple(tensor(rng, rule.activation, shape, scale=0.5) for shape in form.data)
    weight = None
    if form.weight is not None:
        kind = rule.weight if rule.weight is not None else rule.activation
        weight = tensor(rng, kind, form.weight, scale=0.25, axis=_axis(question, kind))
        if isinstance(kind, QuantScheme) and weight.qparams is not None:
            powers = parameters(kind, form.weight, scale=0.25, axis=_axis(question, kind), spread=(1.0, 0.5, 4.0, 2.0))
            weight = Tensor(weight.values, powers)
    return Numbers(data, weight, _bias(question), fit_output(rule))


def _axis(question: Question, kind: object) -> int:
    """Channels for a per-channel scheme; the summed axis for a block-wise one."""
    axis = weight_axis(question.form)
    if isinstance(kind, QuantScheme) and kind.granularity is Granularity.PER_BLOCK:
        assert question.form.weight is not None
        return len(question.form.weight) - 2 if question.form.op == "MatMul" else 1 - min(axis, 1)
    return axis


def _bias(question: Question) -> Tensor | None:
    kind = question.rule.bias
    if not question.form.bias or kind is None:
        return None
    if kind is not DType.INT32:
        return Tensor(reals(question.rng, kind, (question.form.bias,)))
    scheme = QuantScheme(DType.INT32, symmetric=True)
    values = question.rng.integers(-20, 21, question.form.bias).astype(np.int32)
    return Tensor(values, parameters(scheme, values.shape, scale=0.125))


def _saturation(question: Question) -> Numbers:
    return replace(_mixed(question), output=fit_output(question.rule, stretch=0.25))


def _subnormals(question: Question) -> Numbers:
    """Every float8 code once or more, one at a time through a single tap."""
    numbers = _mixed(question)
    every = numbers_of(DType.FLOAT8E4M3FN)
    scheme = question.rule.activation
    assert isinstance(scheme, QuantScheme)
    shape = question.form.data[0]
    data = Tensor(np.resize(every, shape), parameters(scheme, shape, scale=1.0, spread=(1.0,)))
    if numbers.weight is None or question.form.weight is None:
        return replace(numbers, data=(data, *numbers.data[1:]))
    flat = np.zeros(question.form.weight, np.float32).reshape(-1)
    flat[:: max(question.form.reduced, 1)] = 1
    storage = numbers.weight.values.dtype
    weight = Tensor(flat.reshape(question.form.weight).astype(storage), numbers.weight.qparams)
    return replace(numbers, data=(data,), weight=weight, bias=None, output=fit_output(question.rule, scale=0.5))


def _no_bias(question: Question) -> Numbers:
    return replace(_mixed(question), bias=None)


def _quantizes(rule: OpRule) -> bool:
    return isinstance(rule.output, QuantScheme)


def _float8(rule: OpRule) -> bool:
    kinds = (rule.activation, rule.output)
    return all(isinstance(k, QuantScheme) and k.dtype is DType.FLOAT8E4M3FN for k in kinds)


POLICIES = (
    Policy("mixed", "random small numbers whose sums are exact in any order", _mixed),
    Policy("saturation", "outputs beyond both ends of the range", _saturation, _quantizes),
    Policy("subnormals", "every float8 code, subnormals and both ends included", _subnormals, _float8),
    Policy("no_bias", "the bias left out", _no_bias, lambda rule: rule.bias is not None),
)
