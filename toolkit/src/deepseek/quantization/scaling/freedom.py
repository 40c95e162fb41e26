"""How factors pass each op."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from deepseek.quantization.scaling.linear import LINEAR_RULES
from deepseek.quantization.scaling.movement import MOVEMENT_RULES, full
from deepseek.quantization.scaling.sweep import Freedom, Sweep
from deepseek.quantization.scaling.variables import FIXED, Ids
from deepseek_core import QuantizedModel
from deepseek_core.ir.ops import op_key
from deepseek_core.ir.query import at, constant, rank

__all__ = ["freedom"]

Rule = Callable[[Sweep, ir.Node], None]


def freedom(model: QuantizedModel) -> Freedom:
    """The variables of the main graph of a float model; bodies of control flow are left alone."""
    return Sweep(model.graph).run(lambda sweep, node: _RULES.get(op_key(node), Sweep.stop)(sweep, node))


def _commutes(sweep: Sweep, node: ir.Node) -> None:
    """f(t · x) = t · f(x) for t > 0, element by element."""
    sweep.put(node.outputs[0], sweep.of(node.inputs[0]))


def _clip(sweep: Sweep, node: ir.Node) -> None:
    """A bound other than 0 and infinity would have to differ between channels, which Clip cannot express."""
    for position in (1, 2):
        value = at(node, position)
        bound = constant(value)
        if value is not None and (bound is None or not _scale_free(float(bound.reshape(-1)[0]))):
            at_what = "a computed bound" if bound is None else f"{float(bound.reshape(-1)[0]):g}"
            sweep.stop(node, f"Clip at {at_what} has one bound for all channels")
            return
    _commutes(sweep, node)


def _scale_free(bound: float) -> bool:
    return bound == 0 or abs(bound) >= float(np.finfo(np.float32).max)


def _window(sweep: Sweep, node: ir.Node) -> None:
    """Pooling: a factor per channel only; padding does not enter a maximum, and enters a mean as 0."""
    ids = full(sweep, node.inputs[0])
    if ids is None or any(size != 1 for axis, size in enumerate(ids.shape) if axis != 1):
        sweep.stop(node)
        return
    sweep.put(node.outputs[0], ids)


def _merge(sweep: Sweep, node: ir.Node) -> None:
    """Sums and maxima: all operands share their factors, constant ones take them in."""
    first = 1 if node.op_type == "Where" else 0
    operands = [(i, value) for i, value in enumerate(node.inputs) if i >= first and value is not None]
    ids: Ids | None = None
    for _, value in operands:
        if value.const_value is None:
            mine = sweep.of(value)
            ids = mine if ids is None else sweep.variables.unify(ids, mine)
    if ids is None or not ids.ndim:
        return
    for position, value in operands:
        if value.const_value is not None:
            sweep.touch(node, position, ids, +1)
    sweep.put(node.outputs[0], ids)


def _product(sweep: Sweep, node: ir.Node) -> None:
    """A constant vector takes factors in on both sides; of two tensors, the one that is free hands its factors on."""
    for position in (0, 1):
        factor = node.inputs[position]
        if factor is not None and factor.const_value is not None:
            _diagonal(sweep, node, 1 - position, position)
            return
    free = [position for position in (0, 1) if np.any(sweep.variables.roots(sweep.of(node.inputs[position])))]
    carrier = free[0] if free else 0
    sweep.variables.fix(sweep.of(node.inputs[1 - carrier]), "it is multiplied with another tensor")
    sweep.put(node.outputs[0], sweep.of(node.inputs[carrier]))


def _diagonal(sweep: Sweep, node: ir.Node, data: int, factor: int) -> None:
    """A constant vector is a linear layer with a diagonal matrix; a single number only lets factors pass."""
    ids, array, value = sweep.of(node.inputs[data]), constant(node.inputs[factor]), node.inputs[data]
    assert array is not None
    ranks = rank(value)
    if array.size == 1 or ranks is None or array.ndim > ranks or array.dtype != np.float32:
        sweep.put(node.outputs[0], ids)
        return
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    if len(axes) != 1 or any(s > 1 for i, s in enumerate(_aligned(ids, array.ndim)) if i != axes[0]):
        sweep.put(node.outputs[0], ids)
        return
    made = sweep.variables.fresh(array.shape)
    sweep.touch(node, factor, made, +1)
    if ids.ndim:
        sweep.touch(node, factor, ids, -1)
    sweep.put(node.outputs[0], made)


def _aligned(ids: Ids, ndim: int) -> tuple[int, ...]:
    """Shape of `ids` seen from the last `ndim` axes; a longer one never matches."""
    if ids.ndim > ndim and any(size > 1 for size in ids.shape[: ids.ndim - ndim]):
        return (2,) * ndim
    return ((1,) * ndim + ids.shape)[-ndim:]


def _quotient(sweep: Sweep, node: ir.Node) -> None:
    """The dividend hands its factors on."""
    sweep.variables.fix(sweep.of(node.inputs[1]), "something is divided by it")
    dividend = node.inputs[0]
    assert dividend is not None
    sweep.put(node.outputs[0], FIXED if dividend.const_value is not None else sweep.of(dividend))


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Abs", "Neg", "Dropout"), _commutes),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _window),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mean", "Max", "Min", "Where"), _merge),
    "Clip": _clip,
    "Mul": _product,
    "Div": _quotient,
    **LINEAR_RULES,
    **MOVEMENT_RULES,
}
