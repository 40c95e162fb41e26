"""From what a user has (a module or a file, data or none) to a network with samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from deepseek.quantization.batch import fixed
from deepseek.quantization.data.batches import rows_of
from deepseek.quantization.data.elements import elements_of, folder_of
from deepseek.quantization.data.gather import Gathered, fitted, from_folder, gather
from deepseek.quantization.data.store import SampleStore
from deepseek.quantization.data.synthesis import synthesised
from deepseek.quantization.frontends import Network, Tensors, open_onnx
from deepseek.quantization.frontends.arrays import is_module
from deepseek_core.errors import CalibrationError, ConfigError
from deepseek_core.options import Progress

__all__ = ["Opened", "Opener"]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A network with the samples to calibrate it on.

    Attributes:
        network: see `Network`.
        samples: in batches that it takes, checked.
        rows: number of samples.
        notes: what a user should know about both.
    """

    network: Network
    samples: SampleStore
    rows: int
    notes: tuple[str, ...]

    def of_batch(self, batch: int) -> Opened:
        """The same network and samples in batches of one size."""
        network = replace(self.network, model=fixed(self.network.model, batch))
        return replace(self, network=network, samples=fitted(Gathered(self.samples, self.rows), network.model))


@dataclass(frozen=True, slots=True)
class Opener:
    """How to read a network and its data.

    Attributes:
        calibration: data in any form; None to make it up.
        example_inputs: of a torch module; None to take the first sample.
        batch: size that a module is to be exported for, should its batch be fixed.
        limit: most samples to read; None for all.
        seed: of made-up data.
        progress: told about the work.
    """

    calibration: Any
    example_inputs: Any
    batch: int | None
    limit: int | None
    seed: int
    progress: Progress

    def open(self, model: Any) -> Opened:
        """The network and its samples.

        Raises:
            ModelError: the network cannot be read or exported.
            CalibrationError: the data is empty or does not fit.
            ConfigError: the inputs of a module cannot be told.
        """
        if is_module(model):
            return self._module(model)
        if self.example_inputs is not None:
            raise ConfigError("example_inputs= is for torch modules", fix="leave it out: the file says what goes in")
        network = open_onnx(model)
        return self._finished(network, self._gathered(network))

    def _module(self, module: Any) -> Opened:
        from deepseek.quantization.frontends.torch import ModuleSource

        elements: Iterator[Any] = iter(()) if self._is_elsewhere else iter(elements_of(self.calibration))
        if self.example_inputs is not None:
            source = ModuleSource(module, self.example_inputs, is_call=True)
        else:
            first, elements = self._first(elements)
            source = ModuleSource(module, first, is_call=False)
        gathered = None if self._is_elsewhere else gather(elements, source.calls, self.limit, self.progress)
        self.progress("exporting the module", 0.0)
        example = dict(source.example) if gathered is None else gathered.largest()
        network = source.network(self._of_batch(example), {} if gathered is None else gathered.varying())
        return self._finished(network, gathered or self._gathered(network), example)

    @property
    def _is_elsewhere(self) -> bool:
        """Whether the samples are in a folder, or nowhere."""
        return self.calibration is None or folder_of(self.calibration) is not None

    def _first(self, elements: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
        if self._is_elsewhere:
            raise ConfigError(
                "nothing tells what the module's inputs look like", fix="give example_inputs=, a tensor or a tuple"
            )
        try:
            first = next(elements)
        except StopIteration:
            raise CalibrationError(
                "the calibration data holds no sample", fix="give at least one; 100 to 500 are usual"
            ) from None
        return first, chain([first], elements)

    def _of_batch(self, example: Tensors) -> Tensors:
        """The example with as many rows as the result is to take."""
        rows = rows_of(example)
        if self.batch is None or rows in (None, self.batch):
            return example
        return {name: np.resize(array, (self.batch, *array.shape[1:])) for name, array in example.items()}

    def _gathered(self, network: Network) -> Gathered | None:
        folder = folder_of(self.calibration)
        if folder is not None:
            return from_folder(folder, network.model.inputs, self.limit, self.progress)
        if self.calibration is None:
            return None
        elements: Iterable[Any] = elements_of(self.calibration)
        return gather(elements, network.calls, self.limit, self.progress)

    def _finished(self, network: Network, gathered: Gathered | None, example: Tensors | None = None) -> Opened:
        if gathered is None:
            sizes = {name: array.shape for name, array in (example or {}).items()}
            samples, note = synthesised(network, sizes, self.seed, self.progress)
            found = Gathered(samples, sum(rows_of(sample) or 1 for sample in samples))
            return Opened(network, fitted(found, network.model), found.rows, (*network.notes, note))
        notes = (*network.notes, *filter(None, (gathered.note,)))
        return Opened(network, fitted(gathered, network.model), gathered.rows, notes)
