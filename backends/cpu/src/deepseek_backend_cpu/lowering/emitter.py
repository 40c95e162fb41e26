"""Build the integer nodes that replace one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_backend_cpu.lowering.operands import bias_codes, int8_weight, known_params
from deepseek_core import Operand, QParams, Role, Unit

__all__ = ["MICROSOFT", "Constants", "Emitter"]

MICROSOFT = "com.microsoft"


@dataclass(slots=True)
class Constants:
    """New initializers of a model, equal ones shared within a graph."""

    taken: set[str]
    _known: dict[tuple[object, ...], ir.Value] = field(default_factory=dict)

    def add(self, graph: ir.Graph, array: NDArray[Any]) -> ir.Value:
        array = np.asarray(array, order="C")
        key = (id(graph), str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            name = f"constant_{len(self.taken)}"
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            tensor = ir.tensor(array, name=name)
            value = ir.Value(
                name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            graph.register_initializer(value)
            self._known[key] = value
        return self._known[key]


class Emitter:
    """Collects the nodes of one unit in front of its compute node, then takes the unit's place.

    Attributes:
        unit: what is replaced.
        results: value that leaves the unit → its replacement.
    """

    def __init__(self, unit: Unit, constants: Constants) -> None:
        self.unit = unit
        self._constants = constants
        self.results: dict[ir.Value, ir.Value] = {}
        self._count = 0

    def constant(self, array: NDArray[Any]) -> ir.Value:
        """An initializer that holds `array`."""
        return self._constants.add(self._graph, array)

    def params(self, operand: Operand) -> list[ir.Value]:
        """[scale, zero point] of a quantized operand."""
        return self._params(known_params(operand))

    def _params(self, qparams: QParams) -> list[ir.Value]:
        return [self.constant(qparams.scale), self.constant(qparams.zero_point)]

    def codes(self, operand: Operand) -> list[ir.Value]:
        """[codes, scale, zero point] of a data operand."""
        return [operand.value, *self.params(operand)]

    def weight(self, operand: Operand) -> list[ir.Value]:
        """[int8 codes, scale, zero point] of a constant: s8 is the only type the fast kernels take on every CPU."""
        codes, qparams = int8_weight(operand)
        same = known_params(operand).scheme.dtype is qparams.scheme.dtype
        return [operand.value if same else self.constant(codes), *self._params(qparams)]

    def bias(self, scale: NDArray[np.float32]) -> ir.Value | None:
        """int32 codes of the unit's bias in units of `scale`, shape (C,); None where the unit has none."""
        for operand in self.unit.operands(Role.BIAS):
            codes = np.broadcast_to(bias_codes(operand, scale), scale.shape)
            return self.constant(codes.astype(np.int32))
        return None

    def add(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
        outputs: int = 1,
    ) -> tuple[ir.Value, ...]:
        """Append a node; its outputs. Attributes may be plain values or `ir.Attr`."""
        name = self.unit.node.name or self.unit.op
        node = ir.node(
            op,
            list(inputs),
            dict(attributes or {}),
            domain=domain,
            num_outputs=outputs,
            name=name if self._count == 0 else f"{name}/{op}_{self._count}",
        )
        for index, value in enumerate(node.outputs):
            value.name = f"{node.name}/output_{index}"
        self._count += 1
        self._graph.insert_before(self.unit.node, node)
        return tuple(node.outputs)

    def result(self, operand: Operand, value: ir.Value) -> None:
        """`value` replaces what leaves the unit as `operand`."""
        self.results[operand.value] = value

    def splice(self) -> None:
        """Redirect every reader to the results, and remove the unit's old nodes."""
        for old, new in self.results.items():
            new.type, new.shape = old.type, old.shape
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            old.name, new.name = f"{old.name}/replaced", old.name
        self._graph.remove(self.unit.nodes, safe=True)

    @property
    def _graph(self) -> ir.Graph:
        graph = self.unit.node.graph
        assert isinstance(graph, ir.Graph)
        return graph
