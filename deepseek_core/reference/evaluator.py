"""A model ready to run on NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core.errors import FeedError, ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.reference.program import Program, Scope
from deepseek_core.reference.values import materialize

__all__ = ["Evaluator"]


class Evaluator:
    """Runs a model as often as wanted; a run keeps all its state to itself, so threads may share an evaluator.

    Args:
        taps: names of values of the main graph to return beside the outputs.

    Raises:
        ModelError: a tap is no value of the main graph, or an operator has no implementation.
    """

    def __init__(self, model: QuantizedModel, taps: Sequence[str] = ()) -> None:
        if model.model.functions:
            raise ModelError("the model holds local functions", fix="load it with deepseek_core.ir.frontend.load_model")
        graph = model.graph
        self._inputs = {v.name or "": v for v in graph.inputs}
        self._required = [v.name or "" for v in graph.inputs if v.name not in graph.initializers]
        self._results = {v.name or "": v for v in graph.outputs} | _tapped(graph, taps)
        self._program = Program(graph, model.model.opset_imports, keep=tuple(self._results.values()))

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs, then taps, by name.

        Raises:
            FeedError: an input is missing or unknown.
            ModelError: a node refuses its inputs; the message names it.
        """
        missing = [name for name in self._required if name not in feeds]
        unknown = [name for name in feeds if name not in self._inputs]
        if missing or unknown:
            what = f"input '{missing[0]}' is missing" if missing else f"there is no input '{unknown[0]}'"
            raise FeedError(what, fix=f"feed exactly {', '.join(self._required) or 'nothing'}")
        scope: Scope = dict(self._program.constants)
        scope.update((self._inputs[name], array) for name, array in feeds.items())
        with np.errstate(all="ignore"):  # infinities and NaN are results here, as on every device
            self._program.run(scope)
        return {name: materialize(scope[value]) for name, value in self._results.items()}


def _tapped(graph: ir.Graph, names: Sequence[str]) -> dict[str, ir.Value]:
    if not names:
        return {}
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    known = {value.name: value for value in values if value.name}
    for name in names:
        if name not in known:
            raise ModelError(f"'{name}' is no value of the main graph", fix="tap an output of one of its nodes")
    return {name: known[name] for name in names}
