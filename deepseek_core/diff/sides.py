"""One side of a comparison: a model whose tensors can be watched by the names of their real values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.qparams import QParams
from deepseek_core.ir.units import DQ, Operand, Unit, is_q_or_dq, qparams_of

__all__ = ["Border", "Side"]


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """A tensor where it leaves the unit that makes it.

    Attributes:
        value: codes of a quantized tensor, else the real value itself.
        qparams: None for a float tensor.
        unit: name of the unit; empty for an input of the model.
        op: op key of the unit; `input` for an input of the model.
    """

    value: ir.Value
    qparams: QParams | None
    unit: str = ""
    op: str = "input"

    def codes(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The border's array as it is."""
        return arrays[self.value.name or ""]

    def real(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The border's array as real values."""
        codes = self.codes(arrays)
        return codes if self.qparams is None else self.qparams.dequantize(codes)


class Side:
    """A model's borders by real name, in topological order, its inputs first."""

    def __init__(self, model: QuantizedModel) -> None:
        self.model = model
        self.borders = {i.name: Border(_input(model, i.name), None) for i in model.inputs}
        units = model.units()
        renamed = dict(filter(None, map(_renamed, units)))
        for unit in units:
            if _renamed(unit) is None:
                for operand in unit.outputs:
                    if operand.value.name:  # an optional output that the node leaves out has none
                        self._add(operand, unit, renamed)

    @property
    def is_float(self) -> bool:
        """Whether no tensor is quantized."""
        return all(border.qparams is None for border in self.borders.values())

    def watched(self, names: Iterable[str]) -> QuantizedModel:
        """A copy of the model that also gives the named borders as outputs."""
        copy = self.model.clone()
        values = {value.name: value for node in copy.graph for value in node.outputs}
        present = {value.name for value in copy.graph.outputs}
        for name in dict.fromkeys(self.borders[name].value.name for name in names):
            if name in values and name not in present:
                copy.graph.outputs.append(values[name])
        return copy

    def _add(self, operand: Operand, unit: Unit, renamed: Mapping[ir.Value, str]) -> None:
        """A unit may give a tensor both quantized and in float: the codes are what the next layer reads."""
        name = renamed.get(operand.value, operand.real.name or "")
        known = self.borders.get(name)
        if known is None or (known.qparams is None and operand.qparams is not None):
            self.borders[name] = Border(operand.value, operand.qparams, unit.name, unit.op)


def _renamed(unit: Unit) -> tuple[ir.Value, str] | None:
    """The codes behind a DQ that gives an output of the model, and the output's name, which the real value lost."""
    source, output = unit.node.inputs[0] if unit.node.inputs else None, unit.node.outputs[0]
    if unit.node.op_type != DQ or not is_q_or_dq(unit.node) or source is None or not output.is_graph_output():
        return None
    return (source, output.name or "") if qparams_of(unit.node) is not None else None


def _input(model: QuantizedModel, name: str) -> ir.Value:
    return next(value for value in model.graph.inputs if value.name == name)
