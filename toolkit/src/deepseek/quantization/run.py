"""Run a recipe: from a float model and samples to a quantized model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.work import Work
from deepseek_core import Feeds, QuantizedModel, Registry, discover
from deepseek_core.ir.frontend import load_model
from deepseek_core.options import Progress

__all__ = ["run", "start"]


def start(
    model: QuantizedModel | str | Path,
    samples: Collection[Feeds],
    recipe: QuantizationRecipe,
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Work:
    """The work before the first step."""
    source = model if isinstance(model, QuantizedModel) else load_model(model)
    extra = {} if progress is None else {"progress": progress}
    return Work.start(
        source,
        samples,
        recipe.precision,
        recipe.targets,
        registry or discover(),
        calibrator=recipe.calibrator,
        config=recipe.config,
        seed=recipe.seed,
        **extra,
    )


def run(work: Work, recipe: QuantizationRecipe) -> Work:
    """Every step of the recipe in its order."""
    steps = [spec.build() for spec in recipe.steps]
    for number, step in enumerate(steps):
        work.progress(recipe.steps[number].name, number / len(steps))
        work = step(work)
    return work
