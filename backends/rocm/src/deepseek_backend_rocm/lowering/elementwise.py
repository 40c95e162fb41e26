"""Ops of two tensors with broadcasting, and the addition that a convolution takes along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deepseek_backend_rocm.capabilities import BINARY
from deepseek_backend_rocm.lowering.codes import bounds, scale_and_zero, translated
from deepseek_backend_rocm.lowering.emitter import Emitter, loops, qparams_for
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.plan.steps import Step
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import broadcast, shape_of

__all__ = ["LOWERINGS", "broadcast_codes", "broadcast_real"]


def _binary(unit: Unit, emitter: Emitter) -> None:
    if len(unit.operands(Role.DATA)) != 2:
        _of_many(unit, emitter)
        return
    (a, b), y = unit.operands(Role.DATA), unit.outputs[0]
    if unit.op == "Add" and _taken_along(unit, emitter):
        return
    low, high = bounds(unit)
    numbers: dict[str, int | float] = {"low": low, "high": high}
    for name, operand in (("a", a), ("b", b), ("y", y)):
        scale, zero = scale_and_zero(operand)
        numbers[f"{name}_scale"], numbers["zero" if name == "y" else f"{name}_zero"] = scale, zero
    sides = emitter.tensor(a.value), emitter.tensor(b.value)
    emitter.define(y.value, broadcast_codes(emitter, unit.op, sides, shape_of(y), numbers))


def _of_many(unit: Unit, emitter: Emitter) -> None:
    """Min and Max of any number of tensors: rounding is monotone, so the result's codes compare as real numbers do."""
    y = unit.outputs[0]
    scale, zero = scale_and_zero(y)
    numbers: dict[str, int | float] = {"low": -128, "high": 127}
    numbers |= dict.fromkeys(("a_scale", "b_scale", "y_scale"), scale) | dict.fromkeys(
        ("a_zero", "b_zero", "zero"), zero
    )
    operands = unit.operands(Role.DATA)
    first, *rest = (translated(emitter, emitter.tensor(o.value), qparams_for(o), qparams_for(y)) for o in operands)
    for piece in rest:
        shape = np.broadcast_shapes(first.shape, piece.shape)
        first = broadcast_codes(emitter, unit.op, (first, piece), shape, numbers)
    emitter.define(y.value, first)


def broadcast_codes(
    emitter: Emitter, op: str, sides: tuple[Tensor, Tensor], shape: Sequence[int], numbers: Mapping[str, int | float]
) -> Tensor:
    """Emit an op of two tensors of codes; the result has the order of the one with all elements."""
    return _emitted(emitter, "binary", op, sides, (shape, numbers))


def broadcast_real(
    emitter: Emitter, op: str, sides: tuple[Tensor, Tensor], shape: Sequence[int], numbers: Mapping[str, int | float]
) -> Tensor:
    """The same of real numbers."""
    return _emitted(emitter, "binary_real", op, sides, (shape, numbers))


def _emitted(
    emitter: Emitter,
    kernel: str,
    op: str,
    sides: tuple[Tensor, Tensor],
    result_of: tuple[Sequence[int], Mapping[str, int | float]],
) -> Tensor:
    shape, numbers = result_of
    order, (a, b), (dims, first, second) = broadcast(sides, shape, emitter.ordered)
    result = emitter.new(a.dtype, shape, order)
    values, rank = loops(dims, a=first, b=second)
    constants: dict[str, int | bool | str] = {"OP": op, "RANK": rank}
    emitter.emit(kernel, {"a": a, "b": b, "y": result}, {**numbers, **values}, constants=constants)
    return result


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
    result = emitter.tensor(own.value)
    addend = emitter.ordered(emitter.tensor(other.value), result.order)
    (own_scale, _), (scale, zero), (sum_scale, sum_zero) = map(scale_and_zero, (own, other, y))
    low, high = bounds(unit)
    step.memory["addend"] = addend.memory
    step.constants["ADD"] = True
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
    step = emitter.producer(emitter.tensor(operand.value))
    return step if step is not None and step.kernel == "conv" and not step.constants["ADD"] else None


LOWERINGS = dict.fromkeys(BINARY, _binary)
