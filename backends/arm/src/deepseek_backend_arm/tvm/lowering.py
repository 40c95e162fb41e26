"""What TVM made of a unit, as steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepseek_backend_arm.lowering.piece import Piece
from deepseek_backend_arm.lowering.real_pairs import paired
from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_backend_arm.plan.abi import MOST_POINTERS
from deepseek_backend_arm.plan.linked import Function
from deepseek_backend_arm.plan.program import Memory
from deepseek_backend_arm.tvm.compiled import BUFFER, CONSTANT, Compiled, Slot
from deepseek_backend_arm.tvm.table import Bounds
from deepseek_core.lowering import canonical

__all__ = ["steps_of"]


def steps_of(compiled: Compiled, fed: Sequence[int], kept: Sequence[Bounds], piece: Piece) -> Sequence[Tensor]:
    """Emit the calls; gives the node's outputs.

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
    return [tensors[slot] for slot in compiled.outputs]


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
