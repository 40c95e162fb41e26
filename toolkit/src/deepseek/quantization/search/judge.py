"""Judge quantized models on held-out samples, and by the user's own measure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from numpy.typing import NDArray

from deepseek.quantization.execution import Runner
from deepseek.quantization.search.fidelity import Fidelity, fidelity, float_outputs
from deepseek_core import Feeds, QuantizedModel, Registry

__all__ = ["Evaluate", "Judge"]

Tensors = dict[str, NDArray[Any]]

Evaluate = Callable[[Callable[[Feeds], Tensors]], float]
"""The user's measure, higher is better: given a model as a function from feeds to outputs by name."""

_REMEMBERED = 2**26
"""Bytes of float outputs that are kept; the rest is computed anew for every candidate."""


class Judge:
    """Compares candidates with the float model that they come from.

    Args:
        origin: the float model.
        samples: to compare on.
        evaluate: the user's measure.
        registry: the backends to use.
    """

    def __init__(
        self, origin: QuantizedModel, samples: Collection[Feeds], evaluate: Evaluate | None, registry: Registry
    ) -> None:
        self._origin, self._samples, self._evaluate, self._registry = origin, samples, evaluate, registry
        self._names = float_outputs(origin)
        self._known: list[Tensors] = []

    @property
    def is_asked(self) -> bool:
        """Whether there is a measure of the user's."""
        return self._evaluate is not None

    def fidelity(self, model: QuantizedModel) -> Fidelity:
        """How close a candidate's outputs are."""
        with Runner(model, registry=self._registry) as runner:
            return fidelity(zip(self._references(), runner.stream(self._samples), strict=True), self._names)

    def value(self, model: QuantizedModel) -> float | None:
        """What `evaluate` says of a model; None without one. What it raises goes through."""
        if self._evaluate is None:
            return None
        with Runner(model, registry=self._registry) as runner:
            return float(self._evaluate(runner))

    def _references(self) -> Iterator[Tensors]:
        """Float outputs of every sample: the remembered ones, then computed ones."""
        yield from self._known
        done = len(self._known)
        if done == len(self._samples):
            return
        room = _REMEMBERED - sum(_size(tensors) for tensors in self._known)
        with Runner(self._origin, registry=self._registry) as runner:
            for position, sample in enumerate(self._samples):
                if position < done:
                    continue
                outputs = runner(sample)
                found = {name: outputs[name] for name in self._names}
                room -= _size(found)
                if position == len(self._known) and room >= 0:
                    self._known.append(found)
                yield found


def _size(tensors: Tensors) -> int:
    return sum(array.nbytes for array in tensors.values())
