"""A recipe without what calibration never saw: that stays in float, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir

from deepseek_core.calibration import Calibration
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.quantize.index import Index
from deepseek_core.recipe import Recipe

__all__ = ["narrow", "observed_values"]


def observed_values(model: QuantizedModel, recipe: Recipe) -> tuple[str, ...]:
    """Names of the values whose statistics `apply_recipe` reads, in the model's order.

    They are the recipe's activations, and where a body holds quantized units but none of these values, what the
    first of the units computes: a body of which nothing was seen never ran.
    """
    witnesses = [found for body in _bodies(model) if (found := _witness(body, recipe)) is not None]
    return (*recipe.activations, *witnesses)


def narrow(model: QuantizedModel, recipe: Recipe, calibration: Calibration) -> Recipe:
    """`recipe` less the units that calibration never reached, which are skipped with the reason.

    These are the units of a branch that was never taken or of a loop that made no trip, and those that read or make
    a tensor that was always empty. A value without statistics does not count as unseen: using it is an error later.
    """
    index = Index(model.graph)
    skipped = dict(recipe.skipped)
    for node, reason in _unreached(model, recipe, calibration, index):
        skipped.setdefault(node, reason)
    if len(skipped) == len(recipe.skipped):
        return recipe

    def lives(node: ir.Node | None) -> bool:
        return node is not None and not {node.name, index.heads[node].name} & skipped.keys()

    def wanted(name: str) -> bool:
        value = index.value(name)
        return lives(value.producer()) or any(lives(use.node) for use in value.uses())

    return replace(
        recipe,
        activations={name: entry for name, entry in recipe.activations.items() if wanted(name)},
        weights={key: entry for key, entry in recipe.weights.items() if lives(index.node(key[0]))},
        biases=frozenset(key for key in recipe.biases if lives(index.node(key[0]))),
        shared={name: source for name, source in recipe.shared.items() if wanted(name)},
        skipped=skipped,
    )


def _unreached(
    model: QuantizedModel, recipe: Recipe, calibration: Calibration, index: Index
) -> Iterator[tuple[str, str]]:
    """Name of each compute node that is not to be quantized, with the reason."""
    for body in _bodies(model):
        seen = [calibration[v.name] for v in _values(body) if v.name is not None and v.name in calibration]
        if seen and all(stats.count == 0 for stats in seen):
            for node in body:
                yield index.heads[node].name or "", "calibration never ran its branch or loop body"
    empty = {name for name in recipe.activations if name in calibration and calibration[name].count == 0}
    for name in (*recipe.activations, *recipe.shared):
        source = name
        while source in recipe.shared:
            source = recipe.shared[source]
        if source in empty:
            value = index.value(name)
            producer = value.producer()
            for node in (*(use.node for use in value.uses()), *(() if producer is None else (producer,))):
                yield index.heads[node].name or "", f"'{source}' held no value in any calibration sample"


def _witness(body: ir.Graph, recipe: Recipe) -> str | None:
    if any(value.name in recipe.activations for value in _values(body)):
        return None
    weighted = {name for name, _ in recipe.weights}
    for node in body:
        reads = any(v is not None and (v.name in recipe.activations or v.name in recipe.shared) for v in node.inputs)
        if (reads and node.name not in recipe.skipped) or node.name in weighted:
            return node.outputs[0].name
    return None


def _bodies(model: QuantizedModel) -> Iterator[ir.Graph]:
    yield from model.graph.subgraphs()


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    for node in graph:
        yield from node.outputs
