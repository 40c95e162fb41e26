"""Emits TOSA for the units of a part: tensors by ONNX value, in whatever order of axes their consumers ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_npu.lowering.numbers import clamp_bytes, multiplier, tosa_dtype
from deepseek_backend_npu.lowering.program import Border, HostStep, Lowered
from deepseek_backend_npu.tosa import DType, Graph, Op, Rounding, Tensor
from deepseek_core import Operand, QParams
from deepseek_core.errors import BackendError
from deepseek_core.lowering import Order, canonical, shape_of

__all__ = ["Emitter"]

_WIDE = DType.INT32


class Emitter:
    """The graph under construction, and where each value's codes are."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.graph: Graph = lowered.graph
        self._tensors: dict[ir.Value, dict[Order, Tensor]] = {}
        self._host: set[ir.Value] = set()
        self._returned: set[ir.Value] = set()

    # Values

    def at_host(self, value: ir.Value) -> None:
        """Declare that the host has this value before the NPU runs: an input of the part, or a conversion of one."""
        self._host.add(value)

    def is_at_host(self, value: ir.Value) -> bool:
        return value in self._host

    def define(self, value: ir.Value, tensor: Tensor, order: Order) -> None:
        """Declare where the codes of `value` are."""
        self._tensors.setdefault(value, {})[order] = tensor

    def order(self, value: ir.Value) -> Order | None:
        """An order in which the value's codes already are; None when any is as good."""
        known = self._tensors.get(value)
        return next(iter(known)) if known else None

    def codes(self, operand: Operand, order: Order | None = None) -> Tensor:
        """The tensor with an operand's codes.

        Args:
            order: of its axes; None for any that is there already.
        """
        value = operand.value
        rank = len(shape_of(operand))
        wanted = order or self.order(value) or canonical(rank)
        known = self._tensors.setdefault(value, {})
        if wanted not in known:
            if known:
                have, tensor = next(iter(known.items()))
                known[wanted] = self.transpose(tensor, tuple(have.index(axis) for axis in wanted))
            else:
                known[wanted] = self._source(operand, wanted)
        return known[wanted]

    def result(self, value: ir.Value) -> None:
        """Hand a value to the host, once."""
        if value in self._host or value in self._returned:
            return
        order = self.order(value)
        if order is None:
            raise BackendError(f"nothing computes '{value.name}'", fix="report it to the authors of the npu backend")
        tensor = self._tensors[value][order]
        if tensor in self.graph.outputs or tensor in self.graph.inputs or tensor.data is not None:
            tensor = self.copy(tensor)
        self.graph.outputs.append(tensor)
        self.lowered.results.append(Border(value.name or "", tensor.dtype, tensor.shape, order))
        self._returned.add(value)

    def _source(self, operand: Operand, order: Order) -> Tensor:
        value = operand.value
        dtype = tosa_dtype(operand)
        if value.const_value is not None:
            return self.graph.constant(value.const_value.numpy().transpose(order), dtype)
        if value not in self._host:
            raise BackendError(f"nothing computes '{value.name}'", fix="report it to the authors of the npu backend")
        shape = shape_of(operand)
        tensor = self.graph.input([shape[axis] for axis in order], dtype)
        self.lowered.feeds.append(Border(value.name or "", dtype, tensor.shape, order))
        return tensor

    # Host

    def convert(self, *, quantizes: bool, source: ir.Value, result: ir.Value, qparams: QParams, early: bool) -> None:
        """Let the host convert, before the NPU runs or after."""
        steps = self.lowered.before if early else self.lowered.after
        steps.append(HostStep(quantizes, source.name or "", result.name or "", qparams))
        (self._host if early else self._returned).add(result)

    # Operators

    def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """`numpy.transpose`; a reshape where only axes of size 1 move."""
        if list(axes) == sorted(axes):
            return x
        shape = [x.shape[axis] for axis in axes]
        moving = [axis for axis in axes if x.shape[axis] != 1]
        if moving == sorted(moving):
            return self.reshape(x, shape)
        return self.graph.add(Op.TRANSPOSE, [x], shape, x.dtype, perms=list(axes))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        if tuple(shape) == x.shape:
            return x
        return self.graph.add(Op.RESHAPE, [x, self.graph.shape(shape)], shape, x.dtype)

    def slice(self, x: Tensor, start: Sequence[int], size: Sequence[int]) -> Tensor:
        if tuple(size) == x.shape:
            return x
        return self.graph.add(Op.SLICE, [x, self.graph.shape(start), self.graph.shape(size)], size, x.dtype)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self.graph.add(Op.CONCAT, parts, shape, parts[0].dtype, axis=axis)

    def pad(self, x: Tensor, pads: Sequence[tuple[int, int]], code: int) -> Tensor:
        """Pads with one code; pairs (in front, behind) for every axis."""
        if not any(sum(pair) for pair in pads):
            return x
        shape = [size + front + behind for size, (front, behind) in zip(x.shape, pads, strict=True)]
        flat = [amount for pair in pads for amount in pair]
        fill = self.graph.constant(np.array([code]), x.dtype)
        return self.graph.add(Op.PAD, [x, self.graph.shape(flat), fill], shape, x.dtype)

    def copy(self, x: Tensor) -> Tensor:
        """The same codes in a tensor of their own."""
        return self.rescale(x, x.dtype, [1.0], 0, 0)

    def rescale(
        self, x: Tensor, dtype: DType, factors: Sequence[float] | NDArray[Any], zero_in: int, zero_out: int
    ) -> Tensor:
        """(x − zero_in) · factor + zero_out, rounded half up, saturated; one factor, or one a channel (last axis)."""
        scale32 = x.dtype is not DType.INT48
        numbers = [multiplier(float(factor), wide=scale32) for factor in np.atleast_1d(np.asarray(factors))]
        if len(set(numbers)) == 1:
            numbers = numbers[:1]
        kind = DType.INT32 if scale32 else DType.INT16
        operands = [
            x,
            self.graph.constant(np.array([m for m, _ in numbers]), kind),
            self.graph.constant(np.array([s for _, s in numbers]), DType.INT8),
            self.graph.constant(np.array([zero_in]), x.dtype),
            self.graph.constant(np.array([zero_out]), dtype),
        ]
        attributes = {"scale32": scale32, "rounding_mode": Rounding.SINGLE, "per_channel": len(numbers) > 1}
        return self.graph.add(Op.RESCALE, operands, x.shape, dtype, **attributes)

    def clamp(self, x: Tensor, low: int, high: int) -> Tensor:
        """Codes cut to [low, high]; nothing where the type does that already."""
        info = np.iinfo(np.int8 if x.dtype is DType.INT8 else np.int16)
        if low <= info.min and high >= info.max:
            return x
        low, high = max(low, int(info.min)), min(high, int(info.max))
        ends = {"min_val": clamp_bytes(low, x.dtype), "max_val": clamp_bytes(high, x.dtype)}
        return self.graph.add(Op.CLAMP, [x], x.shape, x.dtype, **ends)

    def widen(self, x: Tensor, zero: int) -> Tensor:
        """int32 differences to the zero point."""
        return self.rescale(x, _WIDE, [1.0], zero, 0)
