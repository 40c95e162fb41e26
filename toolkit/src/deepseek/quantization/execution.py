"""Run a model, float or quantized, and look at any of its values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from deepseek_core import CompileOptions, Feeds, QuantizedModel, Registry, discover
from deepseek_core.errors import ModelError

__all__ = ["Runner"]

Tensors = dict[str, NDArray[Any]]


class Runner:
    """A model opened for study: no kernel search, and the named values beside its outputs.

    Args:
        model: float or quantized; not changed.
        taps: names of float values of the main graph to return as well.
        registry: the backends to use; default: the installed ones.

    Raises:
        ModelError: no installed backend can run models here.
    """

    def __init__(self, model: QuantizedModel, taps: Sequence[str] = (), registry: Registry | None = None) -> None:
        backend, target = _general(registry or discover())
        inputs = {info.name for info in model.inputs}
        self._fed = tuple(name for name in dict.fromkeys(taps) if name in inputs)
        wanted = tuple(name for name in dict.fromkeys(taps) if name not in inputs)
        self._executable = backend.load(backend.compile(model, target, CompileOptions(optimize=0, taps=wanted)))

    def __call__(self, feeds: Feeds) -> Tensors:
        """Outputs and taps by name."""
        found = self._executable.run(feeds)
        return {**found, **{name: feeds[name] for name in self._fed}}

    def stream(self, samples: Iterable[Feeds]) -> Iterator[Tensors]:
        """`self(feeds)` for each sample in turn."""
        return map(self, samples)

    def close(self) -> None:
        self._executable.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _general(registry: Registry) -> tuple[Any, Any]:
    """The CPU backend where it is installed, else the reference backend."""
    for name in ("cpu", "reference"):
        if name in registry.backends:
            backend, target = registry.resolve(name)
            if backend.probe(target).can_run:
                return backend, target
    raise ModelError("no backend here can run models", fix="pip install deepseek-backend-cpu")
