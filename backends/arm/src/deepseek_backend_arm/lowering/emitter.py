"""What lowerings write to: kernels in order, tensors by value, constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.tensor import SIZES, Tensor
from deepseek_backend_arm.plan.abi import Value
from deepseek_backend_arm.plan.linked import Linked
from deepseek_backend_arm.plan.program import TYPES, Buffer, Constants, Memory, Port, Step
from deepseek_backend_arm.settings import Settings
from deepseek_core import DType, Operand, QParams, Unit
from deepseek_core.errors import BackendError
from deepseek_core.lowering import Order, canonical, collapse, constant_of, signed

__all__ = ["EIGHT_BITS", "Emitter", "dtype_of", "qparams_for", "static_shape"]


class Emitter:
    """Collects the steps of one part.

    Attributes:
        steps: in execution order.
        unit: the unit that is being lowered.
        linked: what another compiler made.
        settings: of the compilation.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.steps: list[Step] = []
        self.constants = Constants()
        self.unit: Unit | None = None
        self.linked = Linked()
        self._tensors: dict[ir.Value, Tensor] = {}
        self._producers: dict[Buffer, Step] = {}
        self._made: dict[tuple[object, ...], Tensor] = {}

    def feed(self, value: ir.Value) -> Port:
        """Make a graph input known."""
        tensor = self.new(dtype_of(value), static_shape(value))
        self._tensors[value] = tensor
        return self._port(value, tensor)

    def result(self, value: ir.Value) -> Port:
        """A graph output in C order."""
        tensor = self.ordered(self.tensor(value), canonical(len(static_shape(value))))
        if not isinstance(tensor.memory, Buffer):
            moved = self.new(tensor.dtype, tensor.shape)
            self.move(tensor, moved, tensor.shape, tensor.strides, moved.strides)
            tensor = moved
        return self._port(value, tensor)

    def tensor(self, value: ir.Value) -> Tensor:
        """A value that was defined before, or a constant, as the graph has it."""
        tensor = self._known(value)
        if tensor.dtype == "int8" and value.dtype is ir.DataType.UINT8:
            return self._flipped(tensor, "uint8")
        return tensor

    def codes(self, operand: Operand) -> Tensor:
        """A quantized operand as int8: codes of uint8 are held less 128, as `qparams_for` has them."""
        tensor = self._known(operand.value)
        return self._flipped(tensor, "int8") if tensor.dtype == "uint8" else tensor

    def real(self, operand: Operand) -> Tensor:
        """An operand as real numbers; numbers that are no real ones, such as indices, as they are."""
        if operand.value is not operand.real:
            return self._dequantized(operand)
        tensor = self.tensor(operand.value)
        return self.cast(tensor, "float32") if tensor.dtype == "float16" else tensor

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """The same numbers in another type; made once."""
        if tensor.dtype == dtype:
            return tensor

        def make() -> Tensor:
            result = self.new(dtype, tensor.shape, tensor.order)
            types = {"from": TYPES.index(tensor.dtype), "to": TYPES.index(dtype), "count": tensor.count}
            self.emit("cast", {"x": tensor, "y": result}, types)
            return result

        return self._once(("cast", tensor.memory, tensor.order, dtype), tensor, make)

    def _known(self, value: ir.Value) -> Tensor:
        if value not in self._tensors:
            array = constant_of(value)
            if array.dtype == np.float16:
                array = array.astype(np.float32)
            if str(array.dtype) not in SIZES:
                raise BackendError(f"'{value.name}' has element type {array.dtype}", fix="place its unit elsewhere")
            self._tensors[value] = self.constant(array)
        return self._tensors[value]

    def _flipped(self, tensor: Tensor, dtype: str) -> Tensor:
        """Codes of the other 8-bit type: 128 more or less."""

        def make() -> Tensor:
            result = self.new(dtype, tensor.shape, tensor.order)
            table = self.constants.add(np.arange(256, dtype=np.uint8) ^ np.uint8(128))
            self.emit("table", {"x": tensor, "table": table, "y": result}, {"count": tensor.count})
            return result

        return self._once(("flip", tensor.memory, tensor.order, dtype), tensor, make)

    def _dequantized(self, operand: Operand) -> Tensor:
        if operand.qparams is None:
            raise BackendError(f"'{operand.value.name}' has a scale that is not constant", fix="place it elsewhere")
        if operand.value.const_value is not None:
            return self.constant(operand.qparams.dequantize(constant_of(operand.value)))
        tensor = self.codes(operand) if operand.dtype in EIGHT_BITS else self.tensor(operand.value)
        qparams = qparams_for(operand)
        key = ("real", tensor.memory, tensor.shape, tensor.order, qparams.scale.tobytes(), qparams.zero_point.tobytes())
        return self._once(key, tensor, lambda: self.dequantize(tensor, qparams))

    def dequantize(self, tensor: Tensor, qparams: QParams) -> Tensor:
        """Real numbers of int8 or int32 codes."""
        source, places, values = self._conversion(tensor, qparams)
        result = self.new("float32", tensor.shape, source.order)
        self.emit("dequantize", {**places, "y": result}, {**values, "type": TYPES.index(tensor.dtype)})
        return result

    def quantize(self, tensor: Tensor, qparams: QParams) -> Tensor:
        """Int8 codes of real numbers."""
        source, places, values = self._conversion(tensor, qparams)
        result = self.new("int8", tensor.shape, source.order)
        self.emit("quantize", {**places, "y": result}, values)
        return result

    def _conversion(self, tensor: Tensor, qparams: QParams) -> tuple[Tensor, dict[str, Tensor], dict[str, Value]]:
        """[outer, channels, inner], with parameters for each channel."""
        outer, channels, inner = 1, 1, tensor.count
        if qparams.scale.size > 1:
            axis = (qparams.scheme.axis or 0) % len(tensor.shape)
            tensor = self.ordered(tensor, canonical(len(tensor.shape)))
            outer, channels, inner = prod(tensor.shape[:axis]), tensor.shape[axis], prod(tensor.shape[axis + 1 :])
        scale, zero = qparams.scale.astype(np.float32), qparams.zero_point.astype(np.int32)
        places = {"x": tensor, "scale": self.constant(scale.reshape(-1)), "zero": self.constant(zero.reshape(-1))}
        return tensor, places, {"outer": outer, "channels": channels, "inner": inner}

    def _once(self, key: tuple[object, ...], like: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """What was made before under a key, in the shape of `like`."""
        if key not in self._made:
            self._made[key] = make()
        return replace(self._made[key], shape=like.shape, order=self._made[key].order)

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Steps that may be passed over: what they make for others to find is forgotten behind them."""
        kept = (dict(self._tensors), dict(self._producers), dict(self._made))
        self._producers = {}
        try:
            yield
        finally:
            self._tensors, self._producers, self._made = kept
            self._producers = {}

    def step(self, kernel: str, memory: Mapping[str, Memory], values: Mapping[str, Value]) -> Step:
        """Append a step that makes no tensor."""
        step = Step(kernel, dict(memory), dict(values), self.unit.name if self.unit else "")
        self.steps.append(step)
        return step

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
        values: Mapping[str, Value],
        scratch: int = 0,
    ) -> Step:
        """Append a step; what it writes is its argument `y`."""
        places = {name: piece.memory if isinstance(piece, Tensor) else piece for name, piece in memory.items()}
        step = Step(kernel, places, dict(values), self.unit.name if self.unit else "", scratch)
        self.steps.append(step)
        written = places["y"]
        if isinstance(written, Buffer):
            self._producers[written] = step
        return step

    def producer(self, tensor: Tensor) -> Step | None:
        """The last step that wrote a tensor."""
        return self._producers.get(tensor.memory) if isinstance(tensor.memory, Buffer) else None

    def ordered(self, tensor: Tensor, order: Order) -> Tensor:
        """The tensor with its axes in another order in memory; made once, where it is needed."""
        if tensor.lies_as(order):
            return replace(tensor, order=order)

        def make() -> Tensor:
            moved = self.new(tensor.dtype, tensor.shape, order)
            self.move(tensor, moved, tensor.shape, tensor.strides, moved.strides)
            return moved

        return self._once(("order", tensor.memory, tensor.shape, tensor.order, order), tensor, make)

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
        loops = sorted(zip(dims, source_strides, target_strides, strict=True), key=lambda row: -row[2])
        sizes, from_, to = collapse(*zip(*loops, strict=True)) if loops else ((1,), (1,), (1,))
        self.emit(
            "copy",
            {"x": source, "y": target},
            {
                "size": SIZES[source.dtype],
                "rank": len(sizes),
                "x_offset": source_offset,
                "y_offset": target_offset,
                "dims": sizes,
                "x_strides": from_,
                "y_strides": to,
            },
        )

    def _port(self, value: ir.Value, tensor: Tensor) -> Port:
        assert isinstance(tensor.memory, Buffer)
        return Port(value.name or "", tensor.dtype, tensor.shape, tensor.memory)


EIGHT_BITS = (DType.INT8, DType.UINT8)


def qparams_for(operand: Operand) -> QParams:
    """Scale and zero point of a quantized operand, for codes as they are held."""
    if operand.qparams is None:
        raise BackendError(f"'{operand.real.name}' is not quantized", fix="quantize the model for this target")
    return signed(operand.qparams)


def dtype_of(value: ir.Value) -> str:
    """Element type of a value, one that tensors may have."""
    name = "unknown" if value.dtype is None else str(value.dtype.numpy())
    if name not in SIZES:
        raise BackendError(f"'{value.name}' has element type {name}", fix="place its unit on another target")
    return name


def static_shape(value: ir.Value) -> tuple[int, ...]:
    """Shape of a value, all sizes known."""
    if value.shape is None or not value.shape.is_static():
        raise BackendError(f"the shape of '{value.name}' is not known", fix="fix the shapes of the model's inputs")
    return tuple(size for size in value.shape if isinstance(size, int))
