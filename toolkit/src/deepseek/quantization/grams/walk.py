"""Walk through a network stage by stage, the quantized values beside the float ones, and decide as one goes.

Each stage sees what the decisions before it really do to its inputs, and is told what the float network makes there:
its weights can make up for noise that reached them (as in GPTAQ, Li et al., 2025). Whatever the number of stages,
every unit runs once in float and once or twice quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek.quantization.grams.biases import add_missing, change_bias
from deepseek.quantization.grams.collect import Collector, Measured
from deepseek.quantization.grams.segment import Numbers, part
from deepseek.quantization.grams.shelf import Shelf
from deepseek.quantization.grams.sites import Site, sites_of
from deepseek.quantization.grams.stages import Stage, plan
from deepseek.quantization.work import Work
from deepseek_core import QuantizedModel
from deepseek_core.quantize import QuantizedWeight

__all__ = ["Decision", "walk"]

Key = tuple[str, int]
Tensors = dict[str, NDArray[Any]]

_MEMORY = 1 << 30
"""Bytes of values between stages that stay in memory, for the float and for the quantized ones each."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What was decided at a site.

    Attributes:
        weight: its codes.
        bias: as the unit's outputs see it, float64 [G, M]; None to leave it.
    """

    weight: QuantizedWeight
    bias: NDArray[np.float64] | None = None


Decide = Callable[[Measured], Decision]


def walk(
    work: Work, decide: Decide, *, stages: int = 0, rows: int = 16, biases: bool = True, name: str = "weights"
) -> Work:
    """The work with a decision at each site of its main graph.

    Args:
        work: weights that it has already stay as they are where `decide` is not asked.
        decide: told what was measured at a site; sites come in topological order.
        stages: at most this many; 0 for one whenever a site depends on another one.
        rows: places to look at, for each number that a unit sums over (4,096 at least).
        biases: give units that could have a bias, and have none, one of zeros.
        name: of what is being done, for progress.
    """
    work = work.calibrated()
    model = work.model.clone()
    if biases:
        add_missing(model, sites_of(model.units(), work.recipe().weights))
    return _Walk(replace(work, model=model), stages, rows, name).run(decide)


class _Walk:
    """The state of one walk; `model` is the work's, whose biases it changes."""

    def __init__(self, work: Work, stages: int, rows: int, name: str) -> None:
        assert work.calibration is not None
        self._work, self._name, self._rows = work, name, rows
        recipe = work.recipe()
        self._reference = work.model.clone()
        self._model = work.model
        units = self._reference.units()
        self._stages = plan(units, sites_of(units, recipe.weights), stages)
        numbers = Numbers.of(self._reference, recipe, work.calibration, work.calibrators)
        chosen = {key: weight.params for key, weight in work.weights.items() if key in recipe.weights}
        self._numbers = replace(numbers, weights={**numbers.weights, **chosen})
        self._weights: dict[Key, QuantizedWeight] = {}

    def run(self, decide: Decide) -> Work:
        with ExitStack() as stack:
            shelves = [stack.enter_context(Shelf(_MEMORY)) for _ in range(2)]
            self._float, self._quantized = shelves
            self._start()
            for number, stage in enumerate(self._stages):
                self._work.progress(self._name, number / len(self._stages))
                measured = self._measure(stage)
                for each in measured:
                    self._apply(each.site, decide(each))
                if number + 1 < len(self._stages):
                    self._pass_on(stage)
        return replace(self._work, weights={**self._work.weights, **self._weights})

    def _start(self) -> None:
        """Bring the samples to the first stage."""
        if not self._stages:
            return
        wanted = self._stages[0].live
        fed = {info.name for info in self._reference.inputs}
        for number, sample in enumerate(self._work.samples):
            for shelf in (self._float, self._quantized):
                shelf.put(number, {name: np.asarray(sample[name]) for name in fed})
        if set(wanted) <= fed:
            return
        for shelf, quantized in ((self._float, False), (self._quantized, True)):
            self._advance(shelf, wanted, quantized=quantized)

    def _measure(self, stage: Stage) -> list[Measured]:
        """Statistics of the stage's sites; leaves the float values behind the stage on their shelf."""
        collector = Collector(stage.sites, self._numbers, len(self._work.samples), self._rows, self._work.seed)
        made = tuple(dict.fromkeys(site.makes for site in stage.sites))
        hidden = tuple(dict.fromkeys(site.reads for site in stage.sites if site.reads not in stage.live))
        with ExitStack() as stack:
            probe = stack.enter_context(self._runner(self._quantized, hidden, quantized=True))
            right = stack.enter_context(self._runner(self._float, (*made, *stage.left), quantized=False))
            for number in range(len(self._work.samples)):
                before = self._quantized.get(number)
                outputs = right(self._float.get(number))
                collector.update(number, {**before, **probe(before)}, outputs)
                self._float.put(number, {name: outputs[name] for name in stage.left})
        return collector.measured()

    def _apply(self, site: Site, decision: Decision) -> None:
        self._weights[site.key] = decision.weight
        if decision.bias is not None:
            change_bias(self._model, site, decision.bias)

    def _pass_on(self, stage: Stage) -> None:
        """Bring the quantized values behind the stage."""
        self._advance(self._quantized, stage.left, quantized=True)

    def _advance(self, shelf: Shelf, outputs: Sequence[str], *, quantized: bool) -> None:
        with self._runner(shelf, outputs, quantized=quantized) as run:
            for number in range(len(self._work.samples)):
                shelf.put(number, run(shelf.get(number)))

    def _runner(self, shelf: Shelf, outputs: Sequence[str], *, quantized: bool) -> _Part:
        """Runs from what is on the shelf to `outputs`."""
        source = self._model if quantized else self._reference
        inputs = shelf.get(0)
        computed = tuple(name for name in outputs if name not in inputs)
        model: QuantizedModel | None = None
        if computed:
            model = part(source, inputs, computed)
            model = self._numbers.quantize(model, self._weights) if quantized else model
        return _Part(model, outputs, self._work)


class _Part:
    """Runs a part of the model; values that only pass through it are handed on."""

    def __init__(self, model: QuantizedModel | None, outputs: Iterable[str], work: Work) -> None:
        self._outputs = tuple(outputs)
        self._fed = () if model is None else tuple(info.name for info in model.inputs)
        self._run = None if model is None else Runner(model, registry=work.registry)

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> Tensors:
        found = {} if self._run is None else self._run({name: values[name] for name in self._fed})
        return {name: found[name] if name in found else values[name] for name in self._outputs}

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *args: object) -> None:
        if self._run is not None:
            self._run.close()
