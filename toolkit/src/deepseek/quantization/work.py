"""The state that the steps of a recipe hand on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from deepseek.quantization.config import QuantizerConfig
from deepseek.quantization.constraints import allowed, apart, misaligned
from deepseek.quantization.notes import Note
from deepseek.quantization.precision import Precision, tables_for
from deepseek_core import CalibratorSpec, Capabilities, Feeds, QuantizedModel, Recipe, Registry
from deepseek_core.calibration import Calibration
from deepseek_core.calibration import calibrator as make_calibrator
from deepseek_core.options import Progress
from deepseek_core.pipeline import calibrate, float_model
from deepseek_core.quantize import Calibrators, QuantizedWeight, apply_recipe, derive_recipe

__all__ = ["Work"]


def _silent(what: str, fraction: float) -> None:
    return


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A model on its way to being quantized. Steps return a changed copy; nothing in it is changed in place.

    Attributes:
        origin: the prepared float model; its outputs are what is right.
        model: the prepared float model as the steps so far left it (scales moved between layers, biases corrected).
            Units and values keep their names.
        samples: calibration feeds; iterated as often as needed, in the same order each time.
        tables: capability tables of the targets, cut down to the precision.
        capabilities: the same tables, not cut down; `tables_at` cuts them to another precision.
        registry: the backends to use.
        calibrator: of every activation.
        kept: unit name → why it stays in float.
        unit_tables: unit name → the tables that decide about it instead of `tables` (mixed precision).
        ranges: value name → its calibrator, where it is another than `calibrator`.
        weight_ranges: calibrator of every weight: `minmax` or `mse`.
        weights: `(node name, input position)` → codes that a step chose; other weights are rounded to nearest.
        calibration: statistics of `model`; None until they are needed, and after the model has changed.
        seed: of everything random.
        progress: told about long work.
        log: what the steps did.
    """

    origin: QuantizedModel
    model: QuantizedModel
    samples: Collection[Feeds]
    tables: tuple[Capabilities, ...]
    capabilities: tuple[Capabilities, ...]
    registry: Registry
    calibrator: CalibratorSpec = field(default_factory=CalibratorSpec)
    kept: Mapping[str, str] = field(default_factory=dict)
    unit_tables: Mapping[str, tuple[Capabilities, ...]] = field(default_factory=dict)
    ranges: Mapping[str, CalibratorSpec] = field(default_factory=dict)
    weight_ranges: CalibratorSpec = field(default_factory=lambda: CalibratorSpec("minmax"))
    weights: Mapping[tuple[str, int], QuantizedWeight] = field(default_factory=dict)
    calibration: Calibration | None = None
    seed: int = 0
    progress: Progress = _silent
    log: tuple[Note, ...] = ()

    @classmethod
    def start(
        cls,
        model: QuantizedModel,
        samples: Collection[Feeds],
        precision: Precision,
        targets: tuple[str, ...],
        registry: Registry,
        *,
        calibrator: CalibratorSpec | None = None,
        config: QuantizerConfig | None = None,
        seed: int = 0,
        progress: Progress = _silent,
    ) -> Self:
        """Work on a float model, not prepared yet.

        Raises:
            ModelError: the model is quantized already.
            TargetError: a target is unknown.
            ConfigError: no target offers the precision, or the calibrator is unknown.
        """
        config = config or QuantizerConfig()
        prepared = apart(float_model(model), config)
        resolved = map(registry.resolve, targets)
        tables = tuple(allowed(backend.capabilities(target), config) for backend, target in resolved)
        work = cls(
            prepared,
            prepared,
            samples,
            tuple(tables_for(precision, tables)),
            tables,
            registry,
            calibrator or CalibratorSpec(),
            misaligned(prepared, config),
            seed=seed,
            progress=progress,
        )
        make_calibrator(work.calibrator, work.calibrators)
        return work

    @property
    def calibrators(self) -> Calibrators:
        """Calibrators that the targets' backends bring, by `backend:name`."""
        names = dict.fromkeys(table.target.backend for table in self.capabilities)
        backends = [self.registry.backends[name] for name in names]
        return {f"{b.name}:{own}": factory for b in backends for own, factory in b.calibrators().items()}

    def tables_at(self, precision: Precision) -> tuple[Capabilities, ...]:
        """The targets' tables cut down to another precision, for single units.

        Raises:
            ConfigError: no target offers it.
        """
        return tuple(tables_for(precision, self.capabilities))

    def recipe(self) -> Recipe:
        """Scheme of every tensor that becomes quantized."""
        found = derive_recipe(
            self.model, self.tables, self.calibrator, keep_float=self.kept, unit_tables=self.unit_tables
        )
        activations = {
            name: replace(entry, calibrator=self.ranges.get(name, entry.calibrator))
            for name, entry in found.activations.items()
        }
        weights = {key: replace(entry, calibrator=self.weight_ranges) for key, entry in found.weights.items()}
        return replace(found, activations=activations, weights=weights)

    def calibrated(self) -> Self:
        """The work with statistics of the model as it is now."""
        recipe = self.recipe()
        if not recipe.activations:
            return self if self.calibration is not None else replace(self, calibration=Calibration())
        if self.calibration is not None and all(name in self.calibration for name in recipe.activations):
            return self
        found = calibrate(self.model, recipe, self.samples, registry=self.registry, progress=self.progress)
        return replace(self, calibration=found)

    def with_model(self, model: QuantizedModel) -> Self:
        """The work on a changed float model: statistics and chosen codes are void."""
        return replace(self, model=model, calibration=None, weights={})

    def quantized(self) -> QuantizedModel:
        """The model quantized as things stand."""
        work = self.calibrated()
        assert work.calibration is not None
        recipe = work.recipe()
        weights = {key: weight for key, weight in work.weights.items() if key in recipe.weights}
        return apply_recipe(work.model, recipe, work.calibration, work.calibrators, weights=weights)
