"""The result: a quantized network that is called as the float one was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from deepseek.quantization.frontends import Calls
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.report import QuantizationReport
from deepseek_core import CompileOptions, Feeds, QuantizedModel, Registry, Target, discover
from deepseek_core.ir.serialize import save, to_bytes
from deepseek_core.package import Package
from deepseek_core.pipeline import compile as compile_model
from deepseek_core.runtime import Session

__all__ = ["NetworkRunner", "QuantizedNetwork"]


class NetworkRunner:
    """A model behind the calls of the network that it came from.

    Args:
        run: outputs by name from feeds by name.
        calls: of the network.
    """

    def __init__(self, run: Any, calls: Calls) -> None:
        self._run, self._calls = run, calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Torch tensors in give torch tensors out, NumPy arrays NumPy arrays, nested as the network nests them."""
        return self._calls.call(self._run, args, kwargs)


class QuantizedNetwork:
    """A quantized network, with the recipe that made it and the report on it.

    Args:
        model: quantized.
        calls: of the float network.
        registry: the backends to use; default: the installed ones.

    Attributes:
        model: the quantized model.
        recipe: reproduces it bit for bit from the same network and samples.
        report: what was done, and what it cost.
    """

    def __init__(
        self,
        model: QuantizedModel,
        recipe: QuantizationRecipe,
        report: QuantizationReport,
        calls: Calls,
        *,
        registry: Registry | None = None,
    ) -> None:
        self.model, self.recipe, self.report = model, recipe, report
        self._registry, self._call = registry or discover(), NetworkRunner(self._run, calls)
        self._session: Session | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, on its own targets where they can run here, else on the CPU.

        Raises:
            FeedError: the arguments are not those of the network.
        """
        return self._call(*args, **kwargs)

    def compile(self, targets: Sequence[Target | str] | None = None, options: CompileOptions | None = None) -> Package:
        """A package for targets; default: those it was quantized for.

        Raises:
            PlacementError: a part of it runs on none of them.
        """
        return compile_model(self.model, targets or self.recipe.targets, registry=self._registry, options=options)

    def save(
        self, path: str | Path, *, targets: Sequence[Target | str] | None = None, key: bytes | None = None
    ) -> None:
        """Write a `.ds` file, atomically.

        Args:
            targets: compile for them first; without, the file holds the model, and `deepseek compile` goes on from it.
            key: Ed25519 private key in PEM form to sign with.

        Raises:
            StorageError: the file cannot be written.
        """
        package = Package(self.model) if targets is None else self.compile(targets)
        package.save(path, key)

    def to_onnx(self, path: str | Path | None = None) -> onnx.ModelProto:
        """The model as ONNX with QuantizeLinear and DequantizeLinear nodes; written to `path` as well, if given.

        Raises:
            StorageError: the file cannot be written.
        """
        if path is not None:
            save(self.model, path)
        proto = onnx.ModelProto()
        proto.ParseFromString(to_bytes(self.model))
        return proto

    def close(self) -> None:
        """Release what calls have opened; the next call opens it again."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _run(self, feeds: Feeds) -> dict[str, NDArray[np.generic]]:
        if self._session is None:
            package = self.compile(self._runnable(), CompileOptions(optimize=0))
            self._session = Session(package, self._registry)
        return self._session.run(feeds)

    def _runnable(self) -> Sequence[str]:
        """Its own targets if all of them run here."""
        resolved = [self._registry.resolve(target) for target in self.recipe.targets]
        here = all(backend.probe(target).can_run for backend, target in resolved)
        general = "cpu" if "cpu" in self._registry.backends else "reference"
        return self.recipe.targets if here else (general,)
