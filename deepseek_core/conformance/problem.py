"""A problem: a model in canonical form and the feeds to run it with, made of a form and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.conformance.forms import Form
from deepseek_core.conformance.graph import Dims, GraphWriter
from deepseek_core.conformance.numbers import Numbers
from deepseek_core.expectations import Tolerance
from deepseek_core.ir import QParams, QuantizedModel
from deepseek_core.ir.ops import info
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.reference import evaluate
from deepseek_core.scheme import DType
from deepseek_core.target import OpRule

__all__ = ["Problem", "pose"]

_KEEPS_RANGE = frozenset(["Relu", "Clip", "LeakyRelu"])
"""Activations behind which the output keeps the range from before them, so that ignoring one shows."""

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What a backend is asked to compute.

    Attributes:
        model: canonical QDQ.
        feeds: one mapping for each run.
        op: its op key, by which tolerances are declared.
        tolerance: instead of that, where several units add up.
        expected: outputs already computed, by the numerics they follow.
    """

    model: QuantizedModel
    feeds: tuple[Mapping[str, NDArray[Any]], ...]
    op: str
    tolerance: Tolerance | None = None
    expected: dict[object, tuple[dict[str, NDArray[Any]], ...]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """What does not change while the output's parameters are looked for."""

    form: Form
    numbers: Numbers
    real: DType
    symbolic: bool = False
    activation: str = ""
    bounds: tuple[float | None, float | None] = (None, None)
    outputs: tuple[QParams, ...] = ()
    results: Arrays = field(default=())
    dims: tuple[Dims, ...] = ()


def pose(
    form: Form, numbers: Numbers, rule: OpRule, *, activation: str = "", one_sided: bool = False, symbolic: bool = False
) -> Problem:
    """Build the model of a case; output parameters come from the real values the reference computes.

    Args:
        activation: op type of an activation behind the node.
        one_sided: a Clip without upper bound.
        symbolic: axis 0 of the data is symbolic, and the problem is run at two sizes.
    """
    draft = _Draft(form, numbers, _real_type(rule), symbolic)
    feeds = [_feeds(draft)]
    if symbolic:
        feeds.append({name: np.concatenate([array, array[:1]]) for name, array in feeds[0].items()})
    before = _evaluate(_write(draft).model(), feeds[0])
    activated, results = draft, before
    if activation:
        activated = replace(draft, activation=activation, bounds=_bounds(before, one_sided))
        results = _evaluate(_write(activated).model(), feeds[0])
    outputs: tuple[QParams, ...] = ()
    if numbers.output is not None:
        ranged = before if not activation or activation in _KEEPS_RANGE else results
        outputs = tuple(numbers.output(real) for real in ranged)
    dims: tuple[Dims, ...] = tuple(result.shape for result in results)
    if symbolic:
        dims = _symbolic_dims(dims, [r.shape for r in _evaluate(_write(activated).model(), feeds[1])])
    final = replace(activated, outputs=outputs, results=results, dims=dims)
    return Problem(_write(final).model(), tuple(feeds), form.op)


def _real_type(rule: OpRule) -> DType:
    for kind in (rule.activation, rule.output):
        if isinstance(kind, DType):
            return kind
    return DType.FLOAT32


def _evaluate(model: QuantizedModel, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
    results = evaluate(model, feeds)
    return tuple(results[info.name] for info in model.outputs)


def _bounds(real: Arrays, one_sided: bool) -> tuple[float | None, float | None]:
    """Clip bounds that bite: between codes, at about a quarter and three quarters of the values."""
    values = real[0].astype(np.float32)
    if not values.size:
        return (-1.0, 1.0)
    low, high = (float(np.quantile(values, q)) for q in (0.25, 0.75))
    return (low, None if one_sided else high)


def _symbolic_dims(one: Sequence[Dims], other: Sequence[Dims]) -> tuple[Dims, ...]:
    return tuple(
        tuple(a if a == b else "batch" if i == 0 else f"batch_{i}" for i, (a, b) in enumerate(zip(x, y, strict=True)))
        for x, y in zip(one, other, strict=True)
    )


def _feeds(draft: _Draft) -> dict[str, NDArray[Any]]:
    return {f"x{i}": t.values for i, t in enumerate(draft.numbers.data) if i not in draft.form.constant}


def _write(draft: _Draft) -> GraphWriter:
    form, writer = draft.form, GraphWriter(real=draft.real)
    if form.op == "DequantizeLinear":
        return _write_lone_dq(draft, writer)
    if form.op == "QuantizeLinear":
        return _write_lone_q(draft, writer)
    values = writer.node(form.op, _inputs(draft, writer), form.attributes, form.outputs, name="unit")
    if draft.activation:
        _annotate(draft, values)
        values = _activate(draft, writer, values[0])
    _annotate(draft, values)
    for i, value in enumerate(values):
        writer.result(writer.quantize(value, draft.outputs[i]) if draft.outputs else value)
    return writer


def _write_lone_dq(draft: _Draft, writer: GraphWriter) -> GraphWriter:
    real = writer.feed("x0", draft.numbers.data[0], _feed_dims(draft, 0))
    writer.nodes[-1].name = "unit"
    writer.result(real)
    return writer


def _write_lone_q(draft: _Draft, writer: GraphWriter) -> GraphWriter:
    x = writer.feed("x0", draft.numbers.data[0], _feed_dims(draft, 0))
    if not draft.outputs:  # the real values whose range the output takes
        writer.result(writer.node("Identity", [x])[0])
        return writer
    writer.result(writer.quantize(x, draft.outputs[0]))
    writer.nodes[-1].name = "unit"
    return writer


def _feed_dims(draft: _Draft, position: int) -> Dims | None:
    shape = draft.numbers.data[position].values.shape
    return ("batch", *shape[1:]) if draft.symbolic else None


def _inputs(draft: _Draft, writer: GraphWriter) -> list[ir.Value | None]:
    form, numbers, spec = draft.form, draft.numbers, info(draft.form.op)
    placed: dict[int, ir.Value] = {}
    for i, tensor in enumerate(numbers.data):
        position = spec.data[i] if i < len(spec.data) and spec.data[i] >= 0 else i
        if numbers.weight is None and i == 1 and spec.weight is not None:
            position = spec.weight
        constant = i in form.constant
        placed[position] = (
            writer.constant(f"x{i}", tensor) if constant else writer.feed(f"x{i}", tensor, _feed_dims(draft, i))
        )
    if numbers.weight is not None and spec.weight is not None:
        placed[spec.weight] = writer.constant("weight", numbers.weight)
    if numbers.bias is not None and spec.bias is not None:
        placed[spec.bias] = writer.constant("bias", numbers.bias)
    for position, array in form.aux.items():
        typed = array if form.op == "Resize" else _as_real(array, draft.real)  # the scales of Resize stay float32
        placed[position] = writer.initializer(f"aux{position}", typed)
    return [placed.get(i) for i in range(max(placed) + 1)]


def _as_real(array: NDArray[Any], real: DType) -> NDArray[Any]:
    return array.astype(numpy_dtype(real)) if array.dtype == np.float32 else array


def _activate(draft: _Draft, writer: GraphWriter, value: ir.Value) -> tuple[ir.Value, ...]:
    inputs: list[ir.Value | None] = [value]
    if draft.activation == "Clip":
        for name, bound in zip(("lower", "upper"), draft.bounds, strict=True):
            if bound is not None:
                inputs.append(writer.initializer(name, _as_real(np.array(bound, np.float32), draft.real)))
    return writer.node(draft.activation, inputs, name="activation")


def _annotate(draft: _Draft, values: Sequence[ir.Value]) -> None:
    """Give the outputs the types and shapes they turned out to have."""
    for value, result, dims in zip(values, draft.results, draft.dims, strict=False):
        value.type = ir.TensorType(ir.DataType.from_numpy(result.dtype))
        value.shape = ir.Shape(dims)
