"""A TOSA graph under construction: one block of operators over named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_backend_npu.tosa.schema import NUMPY, DType, Op

__all__ = ["Graph", "Operator", "Tensor"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: unique.
        shape: dimensions; of a `SHAPE` constant, the number of its entries.
        dtype: element type.
        data: bytes of a constant, None for a computed one.
    """

    name: str
    shape: Shape
    dtype: DType
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator with its attributes by the schema's names."""

    op: Op
    inputs: tuple[Tensor, ...]
    output: Tensor
    attributes: Mapping[str, Any]


@dataclass(slots=True)
class Graph:
    """Operators in execution order; every tensor has one producer.

    Attributes:
        inputs, outputs: in the order in which arrays are fed and returned.
    """

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    _constants: dict[tuple[DType, Shape, bytes], Tensor] = field(default_factory=dict)
    _count: int = 0

    def input(self, shape: Sequence[int], dtype: DType) -> Tensor:
        """A placeholder."""
        tensor = Tensor(self._name("input"), tuple(shape), dtype)
        self.inputs.append(tensor)
        return tensor

    def constant(self, array: NDArray[Any], dtype: DType) -> Tensor:
        """A constant; equal ones are one tensor. INT48 takes int64 numbers."""
        values = np.asarray(array)
        if dtype is DType.INT48:
            data = values.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :6].tobytes()
        elif dtype is DType.SHAPE:
            data = values.astype("<i8").tobytes()
        else:
            data = np.ascontiguousarray(values, NUMPY[dtype]).tobytes()
        key = (dtype, values.shape, data)
        if key not in self._constants:
            tensor = Tensor(self._name("const"), values.shape, dtype, data)
            self._constants[key] = tensor
            self.operators.append(Operator(Op.CONST_SHAPE if dtype is DType.SHAPE else Op.CONST, (), tensor, {}))
        return self._constants[key]

    def shape(self, values: Sequence[int]) -> Tensor:
        """A constant shape operand."""
        return self.constant(np.array(values, np.int64), DType.SHAPE)

    def add(self, op: Op, inputs: Sequence[Tensor], shape: Sequence[int], dtype: DType, **attributes: Any) -> Tensor:
        """Append an operator.

        Returns:
            Its output, of the given shape and element type.
        """
        tensor = Tensor(self._name(op.name.lower()), tuple(int(size) for size in shape), dtype)
        self.operators.append(Operator(op, tuple(inputs), tensor, attributes))
        return tensor

    def emptied(self) -> Graph:
        """A graph of the same inputs and outputs whose operators are still to come, with names that are not taken."""
        return Graph(self.inputs, self.outputs, _count=self._count)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"
