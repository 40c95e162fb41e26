"""A node with its inputs as tensors: what lowers on real numbers, and what only moves elements of any type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_arm.lowering.emitter import Emitter
from deepseek_backend_arm.lowering.tensor import Tensor
from deepseek_backend_arm.plan.abi import FUNCTIONS
from deepseek_core import QParams
from deepseek_core.lowering import canonical, constant_of

__all__ = ["Lowering", "Piece", "function"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One node.

    Attributes:
        node: for its attributes, and its constant inputs.
        inputs: give real numbers, or codes where `qparams` is given, when asked; None for one that is left out.
        shapes: of its outputs.
        emitter: what steps go to.
        qparams: what the codes of the output mean; None for real numbers.
    """

    node: ir.Node
    inputs: tuple[Callable[[], Tensor] | None, ...]
    shapes: tuple[Shape, ...]
    emitter: Emitter
    qparams: QParams | None = None

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.input(0)

    def input(self, position: int) -> Tensor:
        """An input that is there."""
        ask = self.inputs[position]
        assert ask is not None
        return ask()

    def has(self, position: int) -> bool:
        """Whether an input is there."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def plain(self, position: int) -> Tensor:
        """An input in C order."""
        tensor = self.input(position)
        return self.emitter.ordered(tensor, canonical(len(tensor.shape)))

    def array(self, position: int) -> NDArray[Any] | None:
        """A constant input, None where it is left out."""
        value = self.node.inputs[position] if position < len(self.node.inputs) else None
        if value is None:
            return None
        array = constant_of(value)
        return None if array.size == 0 and position > 0 and self.node.op_type == "Resize" else array

    def integers(self, position: int) -> list[int] | None:
        """A constant input of whole numbers."""
        array = self.array(position)
        return None if array is None else [int(number) for number in array.reshape(-1)]

    def number(self, name: str, default: float) -> float:
        """An attribute as float32."""
        return float(np.float32(self.node.attributes.get_float(name, default)))

    def axis(self, default: int, rank: int | None = None) -> int:
        """The attribute `axis`, from 0 on."""
        return self.node.attributes.get_int("axis", default) % max(len(self.x.shape) if rank is None else rank, 1)

    def constant(self, array: NDArray[Any]) -> Tensor:
        """A constant tensor."""
        return self.emitter.constant(array)


Lowering = Callable[[Piece], Sequence[Tensor]]


def function(emitter: Emitter, x: Tensor, name: str, alpha: float = 0.0, beta: float = 0.0) -> Tensor:
    """A function of each real number."""
    result = emitter.new("float32", x.shape, x.order)
    values = {"op": FUNCTIONS.index(name), "count": x.count, "alpha": alpha, "beta": beta}
    emitter.emit("function", {"x": x, "y": result}, values)
    return result
