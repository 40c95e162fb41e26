"""Which channels of a float graph may be multiplied by a factor of their own, and which constants undo it.

Multiply channel c of a tensor by t_c > 0 where it is made and divide by it where it is read: the outputs of the network
stay the same (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.1; Xiao et al., "SmoothQuant", ICML 2023, section 4). One sweep in topological order gives every value an
array of variables. Convolutions, matrix products, normalisations and products with a constant vector can scale what
they make and undo what they read; ops that commute with a positive factor carry variables on; sums tie the variables
of their operands; everything else fixes them at 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deepseek.quantization.scaling.variables import FIXED, Ids, Variables
from deepseek_core.ir import subgraphs

__all__ = ["Freedom", "Sweep", "Touch"]


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """A constant that takes factors in: it is multiplied by `t[ids] ** power`.

    Attributes:
        node: name of the node that reads the constant.
        position: of the input.
        ids: broadcasts against the constant, whose shape may grow by it.
        power: +1 where the node makes the scaled tensor, -1 where it reads it.
    """

    node: str
    position: int
    ids: Ids
    power: int


@dataclass(frozen=True, slots=True, eq=False)
class Freedom:
    """The variables of a model.

    Attributes:
        count: of variables; a vector of factors has one for each, and 1 for variable 0.
        ids: value name → variables; only values with a free one.
        touches: the constants that take factors in; only those with a free one.
        reasons: why other channels cannot be scaled.
    """

    count: int
    ids: dict[str, Ids]
    touches: tuple[Touch, ...]
    reasons: tuple[str, ...]


class Sweep:
    """What the rules of `scaling.freedom` work on."""

    def __init__(self, graph: ir.Graph) -> None:
        self.variables = Variables()
        self._ids: dict[ir.Value, Ids] = {}
        self._touches: list[Touch] = []
        self._graph = graph

    def of(self, value: ir.Value | None) -> Ids:
        """Variables of a value; fixed for graph inputs, constants and values of unknown rank."""
        return FIXED if value is None else self._ids.get(value, FIXED)

    def put(self, value: ir.Value, ids: Ids) -> None:
        """Say what the variables of an output are."""
        if value.shape is None or not 0 < ids.ndim <= len(value.shape):
            self.variables.fix(ids, f"the shape of '{value.name}' is unknown, or it is one number")
            return
        self._ids[value] = ids

    def touch(self, node: ir.Node, position: int, ids: Ids, power: int) -> None:
        self._touches.append(Touch(node.name or "", position, ids, power))

    def stop(self, node: ir.Node, reason: str = "") -> None:
        """Nothing passes through `node`."""
        for value in node.inputs:
            self.variables.fix(self.of(value), reason or f"{node.op_type} does not commute with a factor")

    def run(self, rule: Callable[[Sweep, ir.Node], None]) -> Freedom:
        """Apply `rule` to every node, then fix what leaves the graph."""
        for node in self._graph:
            rule(self, node)
            for body in subgraphs(node):
                for inner in body.all_nodes():
                    self.stop(inner, f"the bodies of {node.op_type} read it")
                for output in body.outputs:
                    self.variables.fix(self.of(output), f"the bodies of {node.op_type} read it")
        for output in self._graph.outputs:
            self.variables.fix(self.of(output), "it is an output of the model")
        return self._result()

    def _result(self) -> Freedom:
        ids = {value.name or "": self.variables.roots(found) for value, found in self._ids.items()}
        touches = [Touch(t.node, t.position, self.variables.roots(t.ids), t.power) for t in self._touches]
        return Freedom(
            len(self.variables),
            {name: found for name, found in ids.items() if np.any(found)},
            tuple(t for t in touches if np.any(t.ids)),
            tuple(self.variables.reasons()),
        )
