"""Where weights apply: the units whose constant weight a recipe quantizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.grams.layouts import Layout, layout_of
from deepseek_core import Role, Unit

__all__ = ["Bias", "Site", "sites_of"]

Key = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """A constant with one number for each output of a unit.

    Attributes:
        node: whose input it is: the unit's own, or an Add behind it.
        position: which input.
        values: as the unit's outputs see them, float64 [G, M].
        inside: whether the unit's own output has it already.
    """

    node: str
    position: int
    values: NDArray[np.float64]
    inside: bool


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A unit with a weight.

    Attributes:
        key: node name and input position of the weight, as recipes have it.
        unit: of the float model.
        layout: its weight and tensors as matrices.
        weight: float64 [G, M, K].
        bias: None where the unit has none that could change.
    """

    key: Key
    unit: Unit
    layout: Layout
    weight: NDArray[np.float64]
    bias: Bias | None

    @property
    def reads(self) -> str:
        """Name of the float value that the unit sums over."""
        value = self.unit.node.inputs[0]
        assert value is not None
        return value.name or ""

    @property
    def makes(self) -> str:
        """Name of the float value that the compute node makes, before an activation."""
        return self.unit.node.outputs[0].name or ""

    @property
    def constant(self) -> str:
        """Name of the weight; several units may share it."""
        value = self.unit.node.inputs[self.key[1]]
        assert value is not None
        return value.name or ""

    @property
    def offset(self) -> NDArray[np.float64]:
        """The bias inside the unit's output, [G, M]."""
        inside = self.bias is not None and self.bias.inside
        return self.bias.values if inside and self.bias is not None else np.zeros(self.weight.shape[:2])


def sites_of(units: Iterable[Unit], keys: Iterable[Key]) -> list[Site]:
    """Sites of a float model's main graph among the weights `keys`, in topological order.

    Empty weights, and those of ops that do not accumulate, are left out.
    """
    wanted = set(keys)
    found = []
    for unit in units:
        for position, operand in enumerate(unit.inputs):
            key = (unit.node.name or "", position)
            if operand is not None and operand.role is Role.WEIGHT and key in wanted:
                site = _site(unit, key, _constant(operand.value))
                found += [] if site is None else [site]
    return found


def _site(unit: Unit, key: Key, weight: NDArray[Any]) -> Site | None:
    layout = layout_of(unit, weight.shape)
    data = unit.inputs[0]
    if layout is None or not weight.size or data is None or data.is_constant:
        return None
    matrix = layout.matrix(weight.astype(np.float64))
    return Site(key, unit, layout, matrix, _own_bias(unit, layout, matrix) or _bias_behind(unit, matrix))


def _own_bias(unit: Unit, layout: Layout, matrix: NDArray[Any]) -> Bias | None:
    operand = unit.inputs[2] if len(unit.inputs) > 2 else None
    if operand is None or operand.role is not Role.BIAS or not operand.is_constant or layout.bias_scale == 0:
        return None
    array = _constant(operand.value)
    outputs = matrix.shape[0] * matrix.shape[1]
    if array.size != outputs or array.shape[-1] != outputs:
        return None
    values = array.astype(np.float64).reshape(matrix.shape[:2]) * layout.bias_scale
    return Bias(unit.node.name or "", 2, values, inside=True)


def _bias_behind(unit: Unit, matrix: NDArray[Any]) -> Bias | None:
    """The constant of an Add that is the only reader of a matrix product."""
    value = unit.node.outputs[0]
    uses = list(value.uses())
    if unit.op != "MatMul" or matrix.shape[0] != 1 or len(uses) != 1 or value.is_graph_output():
        return None
    node, position = uses[0].node, 1 - uses[0].idx
    other = node.inputs[position] if node.op_type == "Add" and len(node.inputs) == 2 else None
    array = None if other is None or other.const_value is None else other.const_value.numpy()
    if array is None or array.shape[-1:] != (matrix.shape[1],) or array.size != matrix.shape[1]:
        return None
    return Bias(node.name or "", position, array.astype(np.float64).reshape(matrix.shape[:2]), inside=False)


def _constant(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()
