"""What lowerings write to: kernels in order, tensors by value, constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_rocm.lowering.centring import MOVED, is_unsigned
from deepseek_backend_rocm.lowering.tensor import Tensor
from deepseek_backend_rocm.plan.steps import Buffer, Constants, Memory, Place, Step
from deepseek_backend_rocm.program import SIZES
from deepseek_core import Operand, QParams, Unit
from deepseek_core.errors import BackendError
from deepseek_core.lowering import Order, canonical, collapse, constant_of, signed

__all__ = ["AXES", "Emitter", "loops", "qparams_for"]

AXES = 6
"""Axes that kernels walk, once neighbours that every side walks in one go are one."""
_MOVED = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
"""Bytes of an element → type under which it is moved."""


class Emitter:
    """Collects the steps of one part.

    Attributes:
        steps: in execution order.
        constants: of the part.
        unit: the unit that is being lowered.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.constants = Constants()
        self.unit: Unit | None = None
        self._tensors: dict[ir.Value, Tensor] = {}
        self._producers: dict[Buffer, Step] = {}
        self._reordered: dict[tuple[Memory, tuple[int, ...], Order, Order], Tensor] = {}

    def feed(self, value: ir.Value) -> Place:
        """Make a graph input known."""
        tensor = self.new(_dtype(value), _static(value))
        self._tensors[value] = self._flipped(tensor, "int8") if is_unsigned(value) else tensor
        return self._port(value, tensor)

    def result(self, value: ir.Value) -> Place:
        """A graph output in C order."""
        tensor = self.ordered(self.tensor(value), canonical(len(_static(value))))
        if is_unsigned(value):
            tensor = self._flipped(tensor, "uint8")
        if not isinstance(tensor.memory, Buffer):
            moved = self.new(tensor.dtype, tensor.shape)
            self.move(tensor, moved, tensor.shape, tensor.strides, moved.strides)
            tensor = moved
        return self._port(value, tensor)

    def tensor(self, value: ir.Value) -> Tensor:
        """A value that was defined before, or a constant."""
        if value not in self._tensors:
            array = constant_of(value)
            if is_unsigned(value):
                array = MOVED[array]
            if str(array.dtype) not in SIZES:
                raise BackendError(f"'{value.name}' has element type {array.dtype}", fix="place its unit elsewhere")
            self._tensors[value] = self.constant(array)
        return self._tensors[value]

    def constant(self, array: NDArray[Any]) -> Tensor:
        """A constant in C order."""
        return Tensor(str(array.dtype), array.shape, canonical(array.ndim), self.constants.add(array))

    def define(self, value: ir.Value, tensor: Tensor) -> None:
        """Say what a value is."""
        self._tensors[value] = tensor

    def new(self, dtype: str, shape: Sequence[int], order: Order | None = None) -> Tensor:
        """A tensor in memory of its own; in C order unless another is given."""
        shape = tuple(shape)
        size = SIZES[dtype] * int(np.prod(shape, dtype=np.int64))
        if size >= 2**31 - 2**16:
            raise BackendError(f"a tensor of shape {list(shape)} has {size:,} bytes", fix="use smaller inputs")
        return Tensor(dtype, shape, order if order is not None else canonical(len(shape)), Buffer(size))

    def emit(
        self,
        kernel: str,
        memory: Mapping[str, Tensor | Memory],
        values: Mapping[str, int | float],
        *,
        constants: Mapping[str, int | bool | str] | None = None,
        types: Mapping[str, str] | None = None,
        batch: int = 1,
        macs: int = 0,
    ) -> Step:
        """Append a step; what it writes is its argument `y`. Nothing is launched for an empty result."""
        places = {name: piece.memory if isinstance(piece, Tensor) else piece for name, piece in memory.items()}
        name = self.unit.name if self.unit else ""
        step = Step(kernel, places, dict(values), dict(constants or {}), dict(types or {}), batch, name, macs)
        written = places["y"]
        assert isinstance(written, Buffer)
        if written.bytes:
            self.steps.append(step)
            self._producers[written] = step
        return step

    def producer(self, tensor: Tensor) -> Step | None:
        """The last step that wrote a tensor."""
        return self._producers.get(tensor.memory) if isinstance(tensor.memory, Buffer) else None

    def ordered(self, tensor: Tensor, order: Order) -> Tensor:
        """The tensor with its axes in another order in memory; made once, where it is needed."""
        if tensor.lies_as(order):
            return replace(tensor, order=order)
        key = (tensor.memory, tensor.shape, tensor.order, order)  # what is only reshaped lies in the same memory
        if key not in self._reordered:
            moved = self.new(tensor.dtype, tensor.shape, order)
            self.move(tensor, moved, tensor.shape, tensor.strides, moved.strides)
            self._reordered[key] = moved
        return self._reordered[key]

    def move(
        self,
        source: Tensor,
        target: Tensor,
        dims: Sequence[int],
        source_strides: Sequence[int],
        target_strides: Sequence[int],
        *,
        source_offset: int = 0,
        target_offset: int = 0,
    ) -> None:
        """A strided copy; offsets and strides count elements."""
        rows = sorted(zip(dims, source_strides, target_strides, strict=True), key=lambda row: -row[2])
        values, rank = loops([row[0] for row in rows], x=[row[1] for row in rows], y=[row[2] for row in rows])
        offsets = {"x_offset": source_offset, "y_offset": target_offset}
        element = _MOVED[SIZES[source.dtype]]
        self.emit(
            "copy",
            {"x": source, "y": target},
            {**values, **offsets},
            constants={"RANK": rank},
            types={"x": element, "y": element},
        )

    def _flipped(self, tensor: Tensor, dtype: str) -> Tensor:
        """Codes between uint8 and int8."""
        result = self.new(dtype, tensor.shape, tensor.order)
        places: dict[str, Tensor | Memory] = {"x": tensor, "table": self.constants.add(MOVED), "y": result}
        self.emit("lookup", places, {"count": tensor.count})
        return result

    def _port(self, value: ir.Value, tensor: Tensor) -> Place:
        assert isinstance(tensor.memory, Buffer)
        return Place(value.name or "", tensor.dtype, tensor.shape, tensor.memory)


def loops(dims: Sequence[int], **strides: Sequence[int]) -> tuple[dict[str, int], int]:
    """Sizes and strides as kernels take them, and how many axes their variant must walk.

    Args:
        dims: sizes, outermost first.
        strides: of each side, by its name.

    Raises:
        BackendError: more than `AXES` axes remain.
    """
    sizes, *sides = collapse(dims, *strides.values())
    if len(sizes) > AXES:
        raise BackendError(f"elements lie along {len(sizes)} axes that cannot be joined", fix="place it elsewhere")
    rank = next(rank for rank in (1, 3, AXES) if rank >= len(sizes))
    missing = rank - len(sizes)
    sizes = (*(1,) * missing, *sizes)
    values = {"count": int(np.prod(sizes, dtype=np.int64))}
    values |= {f"d{axis}": sizes[axis] if axis < rank else 1 for axis in range(1, AXES)}
    for name, side in zip(strides, sides, strict=True):
        padded = (*(0,) * missing, *side, *(0,) * (AXES - rank))
        values |= {f"{name}{axis}": stride for axis, stride in enumerate(padded)}
    return values, rank


def qparams_for(operand: Operand) -> QParams:
    """Scale and zero point of a quantized operand, for int8 codes."""
    if operand.qparams is None:
        raise BackendError(f"'{operand.real.name}' is not quantized", fix="quantize the model for this target")
    return signed(operand.qparams)


def _dtype(value: ir.Value) -> str:
    name = "unknown" if value.dtype is None else str(value.dtype.numpy())
    if name not in SIZES:
        raise BackendError(f"'{value.name}' has element type {name}", fix="place its unit on another target")
    return name


def _static(value: ir.Value) -> tuple[int, ...]:
    if value.shape is None or not value.shape.is_static():
        raise BackendError(f"the shape of '{value.name}' is not known", fix="fix the shapes of the model's inputs")
    return tuple(size for size in value.shape if isinstance(size, int))
