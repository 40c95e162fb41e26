"""`Quantizer`: a network in, a quantized network out."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek.quantization.batch import fixed
from deepseek.quantization.config import QuantizerConfig
from deepseek.quantization.finishing import finished, report_on
from deepseek.quantization.opening import Opened, Opener
from deepseek.quantization.planning import (
    PLAIN,
    Wish,
    asked_effort,
    asked_precision,
    asked_targets,
    base_recipe,
    calibrator_spec,
    given_recipe,
    refuse_beside_recipe,
    refuse_empty,
    unused_settings,
    wants_fixed_shapes,
)
from deepseek.quantization.precision import Precision
from deepseek.quantization.quantized import NetworkRunner, QuantizedNetwork
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.search.budget import Budget
from deepseek.quantization.searching import Evaluate, Found, by_recipe, by_search, judged
from deepseek_core import Registry, discover
from deepseek_core.cli.progress import progress_bar
from deepseek_core.errors import ConfigError
from deepseek_core.options import Progress

__all__ = ["QuantizationWarning", "Quantizer"]


class QuantizationWarning(UserWarning):
    """Something that makes the result worth less than it could be."""


class Quantizer:
    """Quantizes a network after training.

    Args:
        model: a `torch.nn.Module`, or a float ONNX model: a path, bytes or an `onnx.ModelProto`.
        bits: of the weights, 8 or 4. Four: in blocks with float activations where the targets offer that for most of
            the weights, else by channel with 8-bit activations.
        method: how the ranges of activations are found: `kl_divergence` (or `entropy`), `minmax`, `percentile`,
            `mse`, or a backend's own as `backend:name`; default: `entropy`, unless the search finds a better one.
        calibration: samples like those that the network will see: an array or tensor with all of them, an iterable
            of arrays, tensors, tuples or mappings (a DataLoader of `(x, y)` as well), a folder, or a
            `data.Folder`. Without it data is made up, with a warning: real data is better.
        example_inputs: what a torch module can be called with; default: the first sample.
        precision: `int8`, `int4`, `w4a8`, `w8a16`, `fp8` or `mixed`; default: by `bits`. `mixed` finds the fastest
            mix that keeps the budget, or 25 dB of output SQNR where there is none.
        backend: whose capability table decides what is quantized and how; default `cpu`.
        targets: several of them, preferred first, instead of `backend`.
        max_drop: how much lower than of the float network `evaluate` may be, in its own unit.
        evaluate: `evaluate(network) -> float`, higher is better; `network` is called as the model is. Its data must
            not be the calibration's.
        min_sqnr: least signal-to-noise ratio of the outputs, in dB.
        min_agreement: least share of equal top-1 decisions with the float network.
        effort: of the search where no limit says when to stop: `quick`, `standard` or `thorough`, each of which tries
            more than the one before.
        recipe: `auto` (default) searches for one, `plain` does without steps; else a `QuantizationRecipe` or its
            file, which decides everything but the model and the samples.
        config: settings of the result, as in the environment variable `DS_CONFIG`, over which it goes.
        method_options: of the method, for example `{"percentile": 99.99}`.
        max_samples: most calibration samples to read, or files of a folder, spread evenly; None for all.
        resume: folder for the results of finished trials of the search, so that it can go on after an interruption.
        seed: of everything random.
        progress: True for a bar on a terminal, False for none, or a function that is told about the work.
        registry: the backends to use; default: the installed ones.
        name: of the network, for the report; default: the module's class or the file's name.

    Raises:
        ConfigError: an argument is unknown, impossible, or contradicts another.
    """

    def __init__(
        self,
        model: Any,
        bits: int = 8,
        method: str | None = None,
        *,
        calibration: Any = None,
        example_inputs: Any = None,
        precision: str | Precision | None = None,
        backend: str | None = None,
        targets: str | Sequence[str] | None = None,
        max_drop: float | None = None,
        evaluate: Callable[[Callable[..., Any]], float] | None = None,
        min_sqnr: float | None = None,
        min_agreement: float | None = None,
        effort: str = "standard",
        recipe: QuantizationRecipe | str | Path | None = None,
        config: Mapping[str, Any] | QuantizerConfig | None = None,
        method_options: Mapping[str, Any] | None = None,
        max_samples: int | None = 512,
        resume: str | Path | None = None,
        seed: int = 0,
        progress: bool | Progress = True,
        registry: Registry | None = None,
        name: str | None = None,
    ) -> None:
        if max_drop is not None and evaluate is None:
            raise ConfigError("max_drop= needs something to measure", fix="give evaluate=, or min_sqnr= instead")
        if max_samples is not None and max_samples < 1:
            raise ConfigError(f"max_samples={max_samples}", fix="give 1 or more, or None for all")
        self._given = given_recipe(recipe)
        if self._given is not None:
            own = {"precision": precision, "backend": backend, "targets": targets, "method": method, "config": config}
            refuse_beside_recipe(own | {"method_options": method_options or None, "bits": None if bits == 8 else bits})
        self._model, self._calibration, self._example = model, calibration, example_inputs
        self._wish = Wish(
            asked_precision(bits, precision),
            asked_targets(backend, targets),
            calibrator_spec(method, method_options),
            QuantizerConfig.read(config),
            seed,
            plain=recipe == PLAIN,
            fixed_method=method is not None,
            effort=asked_effort(effort),
        )
        self._budget, self._evaluate = Budget(max_drop, min_sqnr, min_agreement), evaluate
        self._limit, self._resume, self._name = max_samples, resume, name
        self._progress, self._registry = progress, registry or discover()

    def optimize(self) -> QuantizedNetwork:
        """Quantize the network.

        A budget that cannot be met gives the best that was found: `report.shortfall` says what is missed.

        Raises:
            ModelError: the network cannot be read, exported or quantized.
            CalibrationError: the calibration data is empty or does not fit the network.
            ConfigError: a setting does not fit the network, the targets or the recipe.
            Exception: what `evaluate` raises; a note says how to go on from there.
        """
        began = time.perf_counter()
        with self._telling() as progress:
            opened = self._opened(progress)
            notes = (*opened.notes, *unused_settings(self._given))
            for note in notes:
                warnings.warn(note, QuantizationWarning, stacklevel=2)
            opened, recipe = self._planned(opened)
            found = self._found(opened, recipe, progress)
            model = finished(found)
            found = judged(found, model, self._budget, self._measure(opened))
            seconds = time.perf_counter() - began
            report = report_on(
                found,
                model,
                opened.samples,
                name=self._name or opened.network.name,
                rows=opened.rows,
                notes=notes,
                seconds=seconds,
            )
            result = fixed(model, found.recipe.config.batch_size)
        return QuantizedNetwork(result, found.recipe, report, opened.network.calls, registry=self._registry)

    def _opened(self, progress: Progress) -> Opened:
        batch = (self._given or self._wish).config.batch_size
        opener = Opener(self._calibration, self._example, batch, self._limit, self._wish.seed, progress)
        return opener.open(self._model)

    def _planned(self, opened: Opened) -> tuple[Opened, QuantizationRecipe]:
        """What to start from; a batch that is to be fixed in the end is fixed now where a target asks for it."""
        model, registry = opened.network.model, self._registry
        recipe = self._given or base_recipe(model, self._wish, registry)
        batch = recipe.config.batch_size
        fixed(model, batch)
        if batch is not None and wants_fixed_shapes(model, recipe, registry):
            opened = opened.of_batch(batch)
        refuse_empty(opened.network.model, recipe, registry)
        return opened, recipe

    def _found(self, opened: Opened, recipe: QuantizationRecipe, progress: Progress) -> Found:
        model, samples = opened.network.model, opened.samples
        if self._given is not None or self._wish.plain:
            return by_recipe(model, samples, recipe, registry=self._registry, progress=progress)
        return by_search(
            model,
            samples,
            recipe,
            self._budget,
            fixed_method=self._wish.fixed_method,
            effort=self._wish.effort,
            evaluate=self._measure(opened),
            resume=self._resume,
            registry=self._registry,
            progress=progress,
        )

    def _measure(self, opened: Opened) -> Evaluate | None:
        """The user's measure of a model, as the search asks for it."""
        evaluate = self._evaluate
        if evaluate is None:
            return None
        return lambda run: evaluate(NetworkRunner(run, opened.network.calls))

    @contextlib.contextmanager
    def _telling(self) -> Iterator[Progress]:
        """Whom to tell about the work."""
        if callable(self._progress):
            yield self._progress
        elif self._progress:
            with progress_bar() as bar:
                yield bar
        else:
            yield _silent


def _silent(what: str, fraction: float) -> None:
    return
