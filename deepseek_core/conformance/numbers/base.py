"""What a policy that fills a form with numbers gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.conformance.forms.base import Form, Settings, Shape
from deepseek_core.conformance.graph import Tensor
from deepseek_core.conformance.numbers.tensors import default_zero
from deepseek_core.ir import QParams
from deepseek_core.scheme import DType, Granularity, QuantScheme
from deepseek_core.target import OpRule

__all__ = ["Fill", "Numbers", "Policy", "Question", "fit_output", "weight_axis"]


@dataclass(frozen=True, slots=True)
class Question:
    """A form and the rule whose types its tensors have.

    Attributes:
        rng: seeded from the case's id, so that a case is the same everywhere.
    """

    form: Form
    rule: OpRule
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Every tensor of a case.

    Attributes:
        data: one for each data input.
        weight, bias: None where the form or the rule has none.
        output: parameters of a quantized output from its real values; called once for each output.
    """

    data: tuple[Tensor, ...]
    weight: Tensor | None = None
    bias: Tensor | None = None
    output: Callable[[NDArray[Any]], QParams] | None = None


Fill = Callable[[Question], Numbers]


def _always(rule: OpRule) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to choose numbers, with what it would break.

    Attributes:
        applies: whether the rule's types leave room for it.
        settings: changes the base form (more channels, other kernel) when the numbers need it.
    """

    name: str
    probes: str
    fill: Fill
    applies: Callable[[OpRule], bool] = field(default=_always)
    settings: Callable[[Settings], Settings] = field(default=lambda base: base)


def weight_axis(form: Form) -> int:
    """Output-channel axis of the weight (`ir.ops.channel_axis`, before there is a node)."""
    assert form.weight is not None
    match form.op:
        case "ConvTranspose":
            return 1
        case "Gemm":
            return 0 if form.attributes.get("transB") else 1
        case "MatMul":
            return len(form.weight) - 1
    return 0


def fit_output(
    rule: OpRule, *, stretch: float = 1.0, extreme: bool = False, scale: float | None = None
) -> Callable[[NDArray[Any]], QParams] | None:
    """Chooses output parameters by the range of the real values.

    Args:
        stretch: the scale is this times what fits; below 1 values saturate at both ends.
        extreme: the zero point is the smallest or largest code, so that values of one sign saturate at once.
        scale: fixed scale; the zero point is then an odd one off the middle.
    """
    scheme = rule.output
    if not isinstance(scheme, QuantScheme):
        return None

    def choose(real: NDArray[Any]) -> QParams:
        return _output(scheme, real, stretch, extreme, scale)

    return choose


def _output(scheme: QuantScheme, real: NDArray[Any], stretch: float, extreme: bool, scale: float | None) -> QParams:
    values = real.astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    if low == high:  # a lone value would sit on the last code, where errors saturate away
        low, high = -1.0 - abs(low), 1.0 + 2 * abs(high)
    if extreme:
        low, high = (0.0, high) if high > -low else (low, 0.0)
    fitted = QParams.from_range(_per_tensor(scheme), low * stretch, high * stretch)
    if scheme.dtype is DType.FLOAT8E4M3FN:  # a power of two: the division is exact
        fitted = QParams(fitted.scheme, np.exp2(np.ceil(np.log2(fitted.scale))).astype(np.float32), fitted.zero_point)
    code = fitted.zero_point
    if scheme.dtype.is_integer and scale is not None and not scheme.symmetric:
        code = np.asarray(default_zero(scheme)).astype(code.dtype)
    chosen = fitted.scale if scale is None else np.asarray(scale, np.float32)
    return _spread(QParams(fitted.scheme, chosen, code), scheme, real.shape)


def _per_tensor(scheme: QuantScheme) -> QuantScheme:
    return QuantScheme(scheme.dtype, symmetric=scheme.symmetric, narrow_range=scheme.narrow_range)


def _spread(one: QParams, scheme: QuantScheme, shape: Shape) -> QParams:
    """One scale for all → the same for every channel of a per-channel output."""
    if scheme.granularity is not Granularity.PER_CHANNEL:
        return one
    axis = 1 if scheme.axis is None else scheme.axis
    count = shape[axis]
    scheme = QuantScheme(scheme.dtype, scheme.granularity, scheme.symmetric, scheme.narrow_range, axis)
    return QParams(scheme, np.full(count, one.scale), np.full(count, one.zero_point))
