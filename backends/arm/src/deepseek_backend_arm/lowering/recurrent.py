"""LSTM, GRU and RNN (ONNX, version 22): one product for all steps' inputs, then a kernel that walks the steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.matrix import multiplied, packed_right
from deepseek_backend_arm.lowering.moves import filled
from deepseek_backend_arm.lowering.piece import Lowering, Piece
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.lowering.weights import pack_real
from deepseek_backend_arm.plan.abi import RECURRENT, Value
from deepseek_backend_arm.plan.program import Memory
from deepseek_core import Unit
from deepseek_core.lowering import canonical

__all__ = ["LOWERINGS", "recurrent_problem"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_LENGTHS, _STATE, _CELL, _PEEPHOLES = 4, 5, 6, 7


def recurrent_problem(unit: Unit) -> str | None:
    """Why a recurrent layer is not built; None when it is."""
    node, inputs = unit.node, unit.node.inputs
    if any(value is not None and value.const_value is None for value in inputs[1:4]):
        return "its weights are computed at run time"
    given = tuple(name.title() for name in node.attributes.get_strings("activations", ()))
    own = _ACTIVATIONS[unit.op]
    if given and any(given[i : i + len(own)] != own for i in range(0, len(given), len(own))):
        return f"activations {', '.join(given)}"
    coupled = bool(node.attributes.get_int("input_forget", 0))
    if coupled or node.attributes.get("clip") is not None:
        return "it clips, or couples its gates"
    if node.attributes.get_int("layout", 0):
        return "its batch comes first (layout 1)"
    if any(position < len(inputs) and inputs[position] is not None for position in (_LENGTHS, _PEEPHOLES)):
        return "it has lengths of sequences, or peepholes"
    return None


def _recurrent(piece: Piece) -> Sequence[Tensor]:
    emitter, op = piece.emitter, piece.node.op_type
    steps, batch, _ = piece.x.shape
    weights, state_weights = (np.asarray(piece.array(i), np.float32) for i in (1, 2))
    directions, hidden = weights.shape[0], state_weights.shape[2]
    result = emitter.new("float32", (steps, directions, batch, hidden))
    backwards = piece.node.attributes.get_string("direction", "forward") == "reverse"
    states: list[list[Tensor]] = [[], []]
    for number in range(directions):
        before, after = _biases(piece, number, hidden)
        gates = multiplied(emitter, piece.plain(0), packed_right(emitter, weights[number].T), before)
        h, c = (_state(piece, position, number, batch, hidden) for position in (_STATE, _CELL))
        first, second = _packed(piece, state_weights[number], hidden)
        places: dict[str, Tensor | Memory] = {"x": gates, "h": h, "c": c if op == "LSTM" else None, "y": result}
        places |= {"r": first, "r2": second, "bias": None if after is None else emitter.constants.add(after)}
        values: dict[str, Value] = {"kind": RECURRENT.index(_kind(piece)), "steps": steps, "batch": batch}
        values |= {"hidden": hidden, "gates": _GATES[op], "directions": directions, "direction": number}
        values["reverse"] = int(backwards or number == 1)
        scratch = batch * 8 + 64 + batch * (_GATES[op] + 1) * hidden * 4
        emitter.emit("recurrent", places, values, scratch=scratch)
        for kept, state in zip(states, (h, c), strict=True):
            kept.append(state)
    return [result, *(_joined(piece, kept, batch, hidden) for kept in states)]


def _kind(piece: Piece) -> str:
    if piece.node.op_type != "GRU":
        return piece.node.op_type
    return "GRU_AFTER" if bool(piece.node.attributes.get_int("linear_before_reset", 0)) else "GRU_BEFORE"


def _biases(piece: Piece, number: int, hidden: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Of the inputs, and of the states where the reset gate meets it there."""
    gates = _GATES[piece.node.op_type] * hidden
    array = piece.array(3)
    both = np.zeros((2, gates), np.float32) if array is None else array[number].reshape(2, gates).astype(np.float32)
    if _kind(piece) != "GRU_AFTER":
        return both.sum(0), None
    last = np.arange(gates) >= 2 * hidden
    return both[0] + np.where(last, 0, both[1]).astype(np.float32), np.where(last, both[1], 0).astype(np.float32)


def _packed(piece: Piece, weights: NDArray[np.float32], hidden: int) -> tuple[Memory, Memory]:
    """[gates · hidden, hidden] for the kernel; the last gate alone where it is multiplied alone."""
    constants = piece.emitter.constants
    if _kind(piece) != "GRU_BEFORE":
        return constants.add(pack_real(weights.T)), None
    return constants.add(pack_real(weights[: 2 * hidden].T)), constants.add(pack_real(weights[2 * hidden :].T))


def _state(piece: Piece, position: int, number: int, batch: int, hidden: int) -> Tensor:
    """A state of one direction, which the kernel changes."""
    if position == _CELL and piece.node.op_type != "LSTM":
        return Tensor("float32", (batch, hidden), canonical(2), None)
    if not piece.has(position):
        return filled(piece.emitter, "float32", (batch, hidden), 0.0)
    source, state = piece.plain(position), piece.emitter.new("float32", (batch, hidden))
    offset = number * batch * hidden
    piece.emitter.move(source, state, (batch * hidden,), (1,), (1,), source_offset=offset)
    return state


def _joined(piece: Piece, states: list[Tensor], batch: int, hidden: int) -> Tensor:
    """[directions, batch, hidden]."""
    shape = (len(states), batch, hidden)
    if len(states) == 1 or states[0].memory is None:
        return Tensor("float32", shape, canonical(3), states[0].memory)
    result = piece.emitter.new("float32", shape)
    for number, state in enumerate(states):
        size = batch * hidden
        piece.emitter.move(state, result, (size,), (1,), (1,), target_offset=number * size)
    return result


LOWERINGS: dict[str, Lowering] = dict.fromkeys(_GATES, _recurrent)
"""Node → its tensors."""
