"""A float model whose values can be disturbed from outside, run from where the disturbance begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek_core import Feeds, Placement, QuantizedModel, Registry, Target
from deepseek_core.partition import split

__all__ = ["Disturbed"]

Tensors = dict[str, NDArray[Any]]

_SUFFIX = "/disturbance"
_PARTS = 8
"""Pieces of the model. What comes before a disturbance is not computed again: about half of all work."""


class Disturbed:
    """Runs a model with errors added to its values.

    The model is cut into a few parts along its topological order. `begin` runs a sample once and keeps what crosses
    between the parts; `outputs` then runs only the parts from the disturbed value on.

    Args:
        model: float.
        names: values of the main graph that can be disturbed; inputs of the model among them need nothing.
    """

    def __init__(self, model: QuantizedModel, names: Collection[str], registry: Registry | None = None) -> None:
        copy = model.clone()
        self._inputs = frozenset(info.name for info in model.inputs)
        inner = {name for name in names if name not in self._inputs}
        prepared = _with_terms(copy, inner)
        self._outputs = tuple(info.name for info in model.outputs)
        self._parts = [(piece, Runner(piece, registry=registry)) for piece in _pieces(prepared)]
        self._reads = [tuple(info.name for info in piece.inputs) for piece, _ in self._parts]
        self._home = {
            name.removesuffix(_SUFFIX): number
            for number, reads in enumerate(self._reads)
            for name in reads
            if name.endswith(_SUFFIX)
        }
        self._before: list[Tensors] = []

    def begin(self, feeds: Feeds) -> Tensors:
        """Outputs of an undisturbed sample, which `outputs` speaks about from now on."""
        values: Tensors = dict(feeds)
        self._before = []
        for number in range(len(self._parts)):
            self._before.append(dict(values))
            values |= self._run(number, values, {})
        return {name: values[name] for name in self._outputs}

    def outputs(self, errors: Mapping[str, NDArray[Any]]) -> Tensors:
        """Outputs of the sample with arrays added to values: value name → array of the value's shape."""
        first = min((self._home.get(name, 0) for name in errors), default=0)
        values = dict(self._before[first])
        for name in self._inputs & errors.keys():
            values[name] = values[name] + errors[name]
        inner = {name: array for name, array in errors.items() if name not in self._inputs}
        for number in range(first, len(self._parts)):
            values |= self._run(number, values, inner)
        return {name: values[name] for name in self._outputs}

    def _run(self, number: int, values: Tensors, errors: Mapping[str, NDArray[Any]]) -> Tensors:
        nothing = np.zeros((), np.float32)
        feeds = {
            name: errors.get(name.removesuffix(_SUFFIX), nothing) if name.endswith(_SUFFIX) else values[name]
            for name in self._reads[number]
        }
        return self._parts[number][1](feeds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part[1].close()


def _with_terms(model: QuantizedModel, names: Collection[str]) -> QuantizedModel:
    """The model with `value + term` in place of each named value; the terms are inputs of any shape."""
    graph = model.graph
    for node in list(graph):
        for value in list(node.outputs):
            if value.name in names:
                _add_term(graph, node, value)
    return model


def _add_term(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    name = value.name or ""
    term = ir.Value(name=name + _SUFFIX, type=ir.TensorType(ir.DataType.FLOAT))
    graph.inputs.append(term)
    add = ir.node("Add", [value, term], name=f"{name}{_SUFFIX}/add")
    total = add.outputs[0]
    total.type, total.shape = value.type, value.shape
    for use in list(value.uses()):
        if use.node is not add:
            use.node.replace_input_with(use.idx, total)
    for position, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[position] = total
    value.name, total.name = f"{name}{_SUFFIX}/clean", name
    graph.insert_after(node, add)


def _pieces(model: QuantizedModel) -> list[QuantizedModel]:
    names = [unit.name for unit in model.units()]
    home = Target("search", "here")
    count = max(1, min(_PARTS, len(names) // 4))
    cuts = [len(names) * number // count for number in range(count + 1)]
    groups = tuple(tuple(names[low:high]) for low, high in pairwise(cuts))
    return [part.model for part in split(model, Placement(dict.fromkeys(names, home), groups))]
