"""Attention as one kernel: MatMul → perhaps a scale, a mask → Softmax → MatMul, where nothing else reads between.

Codes are fused with codes: the kernel quantizes probabilities as the model does. Real numbers are fused with real
numbers, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from deepseek_backend_rocm.lowering.codes import is_real, scale_and_zero
from deepseek_backend_rocm.lowering.convolution import ELEMENT, ends
from deepseek_backend_rocm.lowering.emitter import Emitter
from deepseek_backend_rocm.lowering.matrix import batches, readable
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_core import Operand, Role, Unit
from deepseek_core.lowering import Order, canonical, constant_of, shape_of, stretched

__all__ = ["Attention", "attentions", "lower_attention"]

NONE, TIMES, OVER, CODES = 0, 1, 2, 3
"""What becomes of scores before the mask; see `kernels/attention.py`."""
_WIDEST, _WIDEST_REAL = 128, 64
"""Elements of a head up to which registers hold what a workgroup takes."""
_MOST_BATCHES = 65535


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Units that one kernel computes.

    Attributes:
        units: all of them, in order; the last one is the product with the values.
        scores: the product of queries and keys.
        softmax, values: what becomes of scores, and the product with the values.
        how: `NONE`, `TIMES`, `OVER` or `CODES`.
        scale: of the scores.
        mask: what is added to them.
        order: of the result in memory: what reads it, reads it as it lies.
    """

    units: tuple[Unit, ...]
    scores: Unit
    softmax: Unit
    values: Unit
    how: int
    scale: float
    mask: Operand | None
    order: Order


def attentions(units: Sequence[Unit]) -> dict[Unit, Attention]:
    """Every attention among units in topological order, by its last unit."""
    makers = {output.value: unit for unit in units for output in unit.outputs}
    readers: dict[ir.Value, list[Unit]] = {}
    for unit in units:
        for operand in unit.inputs:
            if operand is not None:
                readers.setdefault(operand.value, []).append(unit)
    found = (_ending(unit, makers, readers) for unit in units if unit.op == "MatMul")
    return {attention.values: attention for attention in found if attention is not None}


def _ending(
    values: Unit, makers: Mapping[ir.Value, Unit], readers: Mapping[ir.Value, Sequence[Unit]]
) -> Attention | None:
    """The attention that ends with a product; None where it is another product."""
    softmax = _before(values.inputs[0], makers)
    if softmax is None or softmax.op != "Softmax" or not _by_row(softmax):
        return None
    between = [softmax, values]
    unit, mask, how, scale = _before(softmax.inputs[0], makers), None, NONE, 1.0
    if unit is not None and unit.op == "Add" and (found := _sides(unit, makers)) is not None:
        between.insert(0, unit)
        unit, mask = found
    if unit is not None and unit.op in ("Mul", "Div") and (found := _sides(unit, makers)) is not None:
        between.insert(0, unit)
        how, (unit, by) = TIMES if unit.op == "Mul" else OVER, found
        if not _is_number(by) or (how == OVER and by is between[0].inputs[0]):
            return None
        scale = float(constant_of(by.value).reshape(-1)[0])
    if len(between) == 2 and softmax.inputs[0] is not None and softmax.inputs[0].qparams is not None:
        how, scale = CODES, scale_and_zero(softmax.inputs[0])[0]
    if unit is None or unit.op != "MatMul" or not _fits((unit, *between), mask):
        return None
    return Attention((unit, *between), unit, softmax, values, how, scale, mask, _order(values, readers))


def _before(operand: Operand | None, makers: Mapping[ir.Value, Unit]) -> Unit | None:
    """The unit that makes an operand, if nothing else reads it, and that makes nothing else."""
    if operand is None or operand.value not in makers:
        return None
    unit = makers[operand.value]
    lone = len(unit.outputs) == 1 and len(operand.value.uses()) == 1 and not operand.value.is_graph_output()
    return unit if lone and unit.activation is None else None


def _sides(unit: Unit, makers: Mapping[ir.Value, Unit]) -> tuple[Unit, Operand] | None:
    """Of an op of two tensors: the unit of scores on one side, and the other side."""
    if len(unit.inputs) != 2 or None in unit.inputs:
        return None
    first, second = unit.operands(Role.DATA)
    for own, other in ((first, second), (second, first)):
        maker = _before(own, makers)
        if maker is not None and maker.op in ("MatMul", "Mul", "Div") and own.shape == unit.outputs[0].shape:
            return maker, other
    return None


def _by_row(softmax: Unit) -> bool:
    rank = len(shape_of(softmax.outputs[0]))
    return softmax.node.attributes.get_int("axis", -1) % rank == rank - 1


def _is_number(operand: Operand) -> bool:
    return operand.is_constant and operand.qparams is None and prod(shape_of(operand)) == 1


def _fits(units: Sequence[Unit], mask: Operand | None) -> bool:
    """Whether types and sizes are the kernel's."""
    scores, *between, _, values = units
    if scores.operands(Role.WEIGHT) or values.operands(Role.WEIGHT) or len(values.outputs) > 1:
        return False
    ends_of = (*scores.operands(Role.DATA), *values.operands(Role.DATA))
    coded = [operand.qparams is not None for operand in ends_of]
    inner = [scores.outputs[0], *(unit.outputs[0] for unit in between)]
    inner += [operand for unit in between for operand in unit.operands(Role.DATA)]
    rounded = [operand.qparams is not None for operand in inner]
    if len(set(coded)) > 1 or (any(rounded) and (between or not coded[0])):
        return False
    if not coded[0] and values.activation is not None:
        return False
    types = {_type(operand) for operand in (*inner, *ends_of, values.outputs[0]) if operand.qparams is None}
    return types <= {"float32"} and _sizes_fit(scores, values, mask, _WIDEST if coded[0] else _WIDEST_REAL)


def _sizes_fit(scores: Unit, values: Unit, mask: Operand | None, widest: int) -> bool:
    q, k, v = (shape_of(operand) for operand in (*scores.operands(Role.DATA), values.operands(Role.DATA)[1]))
    rows = shape_of(scores.outputs[0])
    if min(len(q), len(k), len(v)) < 2 or 0 in (*rows, *shape_of(values.outputs[0])) or max(q[-1], v[-1]) > widest:
        return False
    whole = shape_of(values.outputs[0])[:-2] == rows[:-2] and prod(rows[:-2]) <= _MOST_BATCHES
    return whole and (mask is None or np.broadcast_shapes(shape_of(mask), rows) == rows)


def _type(operand: Operand) -> str:
    return "" if operand.value.dtype is None else str(operand.value.dtype.numpy())


def _order(values: Unit, readers: Mapping[ir.Value, Sequence[Unit]]) -> Order:
    """Heads next to each other if a transposition follows that wants them so."""
    value, rank = values.outputs[0].value, len(shape_of(values.outputs[0]))
    following = readers.get(value, ())
    if len(following) == 1 and following[0].op == "Transpose" and not value.is_graph_output():
        wanted = tuple(following[0].node.attributes.get_ints("perm", ()))
        if wanted and wanted[-1] == rank - 1:
            return wanted
    return canonical(rank)


def lower_attention(found: Attention, emitter: Emitter) -> bool:
    """Emit the kernel; False, and none is emitted, where matrices repeat along more axes than it has."""
    emitter.unit = found.values
    q, k = found.scores.operands(Role.DATA)
    v, y = found.values.operands(Role.DATA)[1], found.values.outputs[0]
    sides = [readable(emitter, emitter.tensor(operand.value)) for operand in (q, k, v)]
    result = emitter.new("float32" if is_real(found.values) else "int8", shape_of(y), found.order)
    mask = sides[0] if found.mask is None else emitter.tensor(found.mask.value)
    size, strides = batches(result.shape[:-2], [*sides, result, *([] if found.mask is None else [mask])])
    if size is None:
        return False
    values: dict[str, int | float] = {"inner": size}
    for name, (outer, inner) in zip(("q", "k", "v", "y", "mask"), [*strides, (0, 0)][:5], strict=True):
        values |= {f"{name}_outer": outer, f"{name}_inner": inner}
    values |= dict(_sizes(sides, result)) | _mask_strides(found, mask) | {"scale": found.scale}
    constants: dict[str, int | bool | str] = {
        "Q_ROWS": values["q_k"] == 1,
        "K_ROWS": values["k_k"] == 1,
        "V_ROWS": values["v_column"] == 1,
        "SCALE": found.how,
        "MASK": found.mask is not None,
    }
    places: dict[str, Tensor] = {**dict(zip("qkv", sides, strict=True)), "mask": mask, "y": result}
    batch = prod(result.shape[:-2])
    macs = batch * int(values["m"] * values["n"] * (values["depth"] + values["wide"]))
    if q.qparams is None:
        emitter.emit("attention_real", places, values, constants=constants, batch=batch, macs=macs)
    else:
        constants["REAL"] = is_real(found.values)
        types = {"y": ELEMENT[result.dtype]}
        values |= _numbers(found)
        emitter.emit("attention", places, values, constants=constants, types=types, batch=batch, macs=macs)
    emitter.define(y.value, result)
    return True


def _sizes(sides: Sequence[Tensor], result: Tensor) -> Iterator[tuple[str, int]]:
    """Sizes and strides of the matrices."""
    q, k, v = sides
    yield from (("m", result.shape[-2]), ("n", k.shape[-1]), ("depth", q.shape[-1]), ("wide", result.shape[-1]))
    yield from (("q_row", q.strides[-2]), ("q_k", q.strides[-1]), ("k_k", k.strides[-2]), ("k_column", k.strides[-1]))
    yield from (("v_row", v.strides[-2]), ("v_column", v.strides[-1]), ("y_row", result.strides[-2]))


def _mask_strides(found: Attention, mask: Tensor) -> dict[str, int]:
    if found.mask is None:
        return {"mask_row": 0, "mask_column": 0}
    row, column = stretched(mask.shape, mask.strides, max(len(mask.shape), 2))[-2:]
    return {"mask_row": row, "mask_column": column}


def _numbers(found: Attention) -> dict[str, int | float]:
    """Scales and zero points of codes."""
    (q, k), (p, v), y = found.scores.operands(Role.DATA), found.values.operands(Role.DATA), found.values.outputs[0]
    (q_scale, q_zero), (k_scale, k_zero), (p_scale, p_zero), (v_scale, v_zero) = map(scale_and_zero, (q, k, p, v))
    factor = np.float32(np.float32(p_scale) * np.float32(v_scale))
    if not is_real(found.values):
        factor = np.float32(factor / np.float32(scale_and_zero(y)[0]))
    score = np.float32(np.float32(q_scale) * np.float32(k_scale))
    s_scale, s_zero = (1.0, 0) if found.how != CODES else scale_and_zero(found.scores.outputs[0])
    zeros = {"s_zero": s_zero, "q_zero": q_zero, "k_zero": k_zero, "p_zero": p_zero, "v_zero": v_zero}
    scales = {"factor": float(score / np.float32(s_scale)), "p_scale": p_scale, "y_factor": float(factor)}
    return {**zeros, **scales, **ends(found.values)}
