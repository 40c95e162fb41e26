"""Units that TVM compiles: whether it does, and what it made of one as steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.piece import Piece
from deepseek_backend_arm.lowering.real import lower_real
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_backend_arm.plan.abi import MOST_POINTERS
from deepseek_backend_arm.plan.linked import Function
from deepseek_backend_arm.plan.program import Memory
from deepseek_backend_arm.tvm.child import compiled_for
from deepseek_backend_arm.tvm.compiled import BUFFER, CONSTANT, Compiled, Slot
from deepseek_backend_arm.tvm.node import alone, element
from deepseek_backend_arm.tvm.objects import strange_symbols
from deepseek_backend_arm.tvm.presence import absence
from deepseek_backend_arm.tvm.table import Bounds, bounds, restriction
from deepseek_core import Unit
from deepseek_core.lowering import canonical

__all__ = ["lower_unit", "tvm_problem"]


def tvm_problem(unit: Unit, own: str) -> str | None:
    """Why TVM does not compile a unit of known shapes and types either; None where it does.

    Args:
        own: why there is no own kernel, told where TVM is no way out.
    """
    restricted = restriction(unit)
    if restricted is not None:
        return f"{own}{restricted}"
    missing = absence()
    if missing is not None:
        return f"{own}; {missing}"
    found = compiled_for(alone(unit).model)
    reason = found if isinstance(found, str) else _unusable(found) or _disagreement(unit, found)
    return None if reason is None else f"{own}; {reason}"


def lower_unit(unit: Unit, emitter: Emitter) -> None:
    """Steps of a unit that TVM compiles."""
    node = alone(unit)
    compiled = compiled_for(node.model)
    assert isinstance(compiled, Compiled)
    emitter.linked.units[unit.name] = unit.op
    lower_real(unit, emitter, partial(_steps, compiled, node.fed, bounds(unit)))


def _disagreement(unit: Unit, compiled: Compiled) -> str | None:
    """TVM's importer may take a node for another one."""
    slots = [compiled.slots[number] for number in compiled.outputs]
    wanted = [value for value in unit.node.outputs if value.name]
    if len(slots) < len(wanted):
        return f"TVM gives {len(slots)} of {len(wanted)} outputs"
    for value, slot in zip(wanted, slots, strict=False):
        shape = None if value.shape is None else tuple(value.shape)
        if shape is not None and shape != slot.shape:
            return f"TVM gives '{value.name}' the shape {list(slot.shape)}, not {list(shape)}"
        dtype = element(value)
        if str(dtype.numpy()) != slot.dtype:
            return f"TVM gives '{value.name}' the type {slot.dtype}, not {dtype.numpy()}"
    return None


def _unusable(compiled: Compiled) -> str | None:
    most = max((len(call.slots) for call in compiled.calls), default=0)
    if most > MOST_POINTERS:
        return f"TVM makes a function of {most} tensors, and {MOST_POINTERS} can be passed"
    strange = strange_symbols(compiled.object) if compiled.object else []
    return f"TVM's code calls {', '.join(strange)}" if strange else None


def _steps(compiled: Compiled, fed: Sequence[int], kept: Sequence[Bounds], piece: Piece) -> Sequence[Tensor]:
    """Emit the calls; gives a tensor for each output of the node, any for one without a name.

    Args:
        fed: input of the node that each input of `compiled` is.
        kept: bounds of inputs.
    """
    functions = [Function(call.symbol, len(call.slots)) for call in compiled.calls]
    numbers = piece.emitter.linked.add(compiled.object, functions)
    within = {bound.position: bound for bound in kept}
    tensors = [_tensor(compiled, slot, fed, within, piece) for slot in compiled.slots]
    for number, call in zip(numbers, compiled.calls, strict=True):
        places: dict[str, Memory] = {f"p{i}": None for i in range(MOST_POINTERS)}
        given = {f"p{i}": tensors[slot].memory for i, slot in enumerate(call.slots)}
        piece.emitter.step("call", {**places, **given}, {"function": number})
    outputs = iter(compiled.outputs)
    return [tensors[next(outputs) if value.name else 0] for value in piece.node.outputs]


def _tensor(compiled: Compiled, slot: Slot, fed: Sequence[int], within: Mapping[int, Bounds], piece: Piece) -> Tensor:
    if slot.kind == CONSTANT:
        return piece.constant(compiled.constant(slot))
    if slot.kind == BUFFER:
        known = slot.dtype in SIZES
        return piece.emitter.new(slot.dtype if known else "int8", slot.shape if known else (slot.bytes,))
    position = fed[slot.index]
    tensor = piece.plain(position)
    if position in within:
        tensor = _bounded(tensor, within[position], piece)
    return Tensor(tensor.dtype, slot.shape, canonical(len(slot.shape)), tensor.memory)


def _bounded(tensor: Tensor, bound: Bounds, piece: Piece) -> Tensor:
    for name, edge in (("Max", bound.low), ("Min", bound.high)):
        limit = piece.constant(edge.astype(tensor.dtype))
        tensor = paired(piece.emitter, name, tensor, limit, tensor.shape)
    return piece.emitter.ordered(tensor, canonical(len(tensor.shape)))
