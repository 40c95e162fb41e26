"""What the names in a recipe stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.errors import ModelError
from deepseek_core.ir.query import at, constant
from deepseek_core.ir.units import all_units

__all__ = ["Index"]

_ANEW = "derive it anew"


class Index:
    """Nodes and values of a prepared model by name, bodies included: names are unique over the whole model.

    Attributes:
        nodes: node name → node.
        values: name → value that is fed or computed.
        heads: node → the compute node of its unit.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.nodes: dict[str, ir.Node] = {node.name or "": node for node in graph.all_nodes()}
        fed = (v for every in (graph, *graph.subgraphs()) for v in every.inputs)
        computed = (v for node in self.nodes.values() for v in node.outputs)
        self.values: dict[str, ir.Value] = {v.name or "": v for v in (*fed, *computed)}
        self.heads: dict[ir.Node, ir.Node] = {node: unit.node for unit in all_units(graph) for node in unit.nodes}

    def node(self, name: str) -> ir.Node:
        """The node of this name.

        Raises:
            ModelError: there is none.
        """
        if name not in self.nodes:
            raise ModelError(f"the recipe names node '{name}', which the model does not have", fix=_ANEW)
        return self.nodes[name]

    def value(self, name: str) -> ir.Value:
        """The value of this name.

        Raises:
            ModelError: there is none.
        """
        if name not in self.values:
            raise ModelError(f"the recipe names value '{name}', which the model does not have", fix=_ANEW)
        return self.values[name]

    def constant(self, name: str, position: int) -> NDArray[np.generic]:
        """The constant at an input of a node.

        Raises:
            ModelError: there is no such node, or the input is no constant.
        """
        array: NDArray[Any] | None = constant(at(self.node(name), position))
        if array is None:
            raise ModelError(f"input {position} of node '{name}' is not a constant", fix="derive the recipe anew")
        return array
