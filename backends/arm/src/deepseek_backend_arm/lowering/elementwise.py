"""Ops of two tensors with broadcasting, and the addition that a convolution takes along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepseek_backend_arm.capabilities import BINARY
from deepseek_backend_arm.lowering.codes import bounds, scale_and_zero, translated
from deepseek_backend_arm.lowering.emitter import Emitter, qparams_for
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.plan.abi import Value
from deepseek_backend_arm.plan.program import Step
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import Order, broadcast, shape_of

__all__ = ["LOWERINGS", "laid_out"]


def _binary(unit: Unit, emitter: Emitter) -> None:
    if len(unit.operands(Role.DATA)) != 2:
        _of_many(unit, emitter)
        return
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    if unit.op == "Add" and _taken_along(unit, emitter):
        return
    low, high = bounds(unit)
    numbers: dict[str, Value] = {"op": BINARY.index(unit.op), "low": low, "high": high}
    for name, operand in (("a", a), ("b", b), ("y", y)):
        scale, zero = scale_and_zero(operand)
        numbers[f"{name}_scale"], numbers["zero" if name == "y" else f"{name}_zero"] = scale, zero
    sides = emitter.codes(a), emitter.codes(b)
    emitter.define(y.value, _emitted(emitter, "binary", sides, shape_of(y), numbers))


def _of_many(unit: Unit, emitter: Emitter) -> None:
    """Min and Max of any number of tensors: rounding is monotone, so the result's codes compare as real numbers do."""
    y = unit.outputs[0]
    scale, zero = scale_and_zero(y)
    numbers: dict[str, Value] = {"op": BINARY.index(unit.op), "low": -128, "high": 127}
    numbers |= dict.fromkeys(("a_scale", "b_scale", "y_scale"), scale) | dict.fromkeys(
        ("a_zero", "b_zero", "zero"), zero
    )
    operands = unit.operands(Role.DATA)
    first, *rest = (translated(emitter, emitter.codes(o), qparams_for(o), qparams_for(y)) for o in operands)
    for piece in rest:
        shape = np.broadcast_shapes(first.shape, piece.shape)
        first = _emitted(emitter, "binary", (first, piece), shape, numbers)
    emitter.define(y.value, first)


def _emitted(
    emitter: Emitter, kernel: str, sides: tuple[Tensor, Tensor], shape: Sequence[int], numbers: Mapping[str, Value]
) -> Tensor:
    """Emit an elementwise kernel of two tensors of codes."""
    places, layout, order = laid_out(emitter, dict(zip("ab", sides, strict=True)), shape)
    result = emitter.new("int8", shape, order)
    emitter.emit(kernel, {**places, "y": result}, {**numbers, **layout})
    return result


def laid_out(
    emitter: Emitter, sides: Mapping[str, Tensor], shape: Sequence[int]
) -> tuple[dict[str, Tensor], dict[str, Value], Order]:
    """The sides of an elementwise kernel, its loops over them, and the order of its result: that of a whole side."""
    order, own, (dims, *rows) = broadcast(tuple(sides.values()), shape, emitter.ordered)
    walked: dict[str, Value] = {f"{name}_strides": row for name, row in zip(sides, rows, strict=True)}
    return dict(zip(sides, own, strict=True)), {"rank": len(dims), "dims": dims, **walked}, order


def _taken_along(unit: Unit, emitter: Emitter) -> bool:
    """Let the convolution that makes one side add the other, where nothing else reads what it makes."""
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    found = [
        (emitter.steps.index(step), step, own, other)
        for own, other in ((a, b), (b, a))
        if (step := _open_step(own, emitter)) is not None and own.value is not other.value
    ]
    if not found or shape_of(a) != shape_of(b):
        return False
    _, step, own, other = max(found, key=lambda entry: entry[0])
    result = emitter.codes(own)
    addend = emitter.ordered(emitter.codes(other), result.order)
    (own_scale, _), (scale, zero), (sum_scale, sum_zero) = map(scale_and_zero, (own, other, y))
    low, high = bounds(unit)
    step.memory["addend"] = addend.memory
    step.values |= {"own_scale": own_scale, "addend_scale": scale, "sum_scale": sum_scale}
    step.values |= {"addend_zero": zero, "sum_zero": sum_zero, "sum_low": low, "sum_high": high}
    step.unit += f" + {unit.name}"
    emitter.steps.remove(step)
    emitter.steps.append(step)
    emitter.define(y.value, result)
    return True


def _open_step(operand: Operand, emitter: Emitter) -> Step | None:
    """The convolution that makes an operand and may still change its result."""
    if len(operand.value.uses()) != 1 or operand.value.is_graph_output() or operand.is_constant:
        return None
    step = emitter.producer(emitter.codes(operand))
    return step if step is not None and step.kernel == "conv" and step.memory["addend"] is None else None


LOWERINGS = dict.fromkeys(BINARY, _binary)
