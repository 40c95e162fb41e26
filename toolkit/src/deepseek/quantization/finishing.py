"""From finished work to the model that users get, and the report on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deepseek.quantization.execution import Runner
from deepseek.quantization.report import Layer, QuantizationReport
from deepseek.quantization.report.layers import layers_of, size_of
from deepseek.quantization.report.spread import spreads_of
from deepseek.quantization.search.fidelity import decibels, fidelity
from deepseek.quantization.searching import Found
from deepseek.quantization.work import Work
from deepseek_core import Feeds, QuantizedModel
from deepseek_core.ir.verify import verify

__all__ = ["finished", "report_on"]

_SAMPLES = 8
"""Samples that the report is measured on."""
_SPREADS = 6


def finished(found: Found) -> QuantizedModel:
    """The quantized model with its provenance, verified."""
    result = found.work.quantized()
    first = next(iter(found.work.samples), {})
    result.metadata["sample_shapes"] = {name: list(array.shape) for name, array in first.items()}
    result.metadata["quantization"] = found.recipe.to_json()
    verify(result)
    return result


def report_on(
    found: Found,
    model: QuantizedModel,
    samples: Collection[Feeds],
    *,
    name: str,
    rows: int,
    notes: tuple[str, ...],
    seconds: float,
) -> QuantizationReport:
    """Measure a result on the first calibration samples, as they came.

    Args:
        rows: number of samples in all.
    """
    work, recipe = found.work, found.recipe
    samples = list(islice(samples, _SAMPLES))
    outputs, agreement = _outputs(work, model, samples)
    applied: Any = model.metadata["recipe"]
    layers = layers_of(
        work.origin, work.model, model, samples, applied["skipped"], registry=work.registry, progress=work.progress
    )
    noisiest = tuple(layer.output for layer in _noisiest(layers))
    return QuantizationReport(
        name,
        recipe.targets,
        str(recipe.precision),
        recipe.calibrator.method,
        rows,
        layers,
        outputs,
        agreement,
        size_of(work.origin),
        size_of(model),
        tuple(_words(spec.to_json()) for spec in recipe.steps),
        work.log,
        found.attempts,
        found.reference,
        found.value,
        found.shortfall,
        notes,
        tuple(spreads_of(model, work.calibration, noisiest)) if work.calibration is not None else (),
        seconds,
    )


@dataclass(frozen=True, slots=True)
class _Both:
    """Outputs of the float and of the quantized model, sample by sample."""

    work: Work
    model: QuantizedModel
    samples: Collection[Feeds]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        registry = self.work.registry
        with Runner(self.work.origin, registry=registry) as wanted, Runner(self.model, registry=registry) as got:
            yield from ((wanted(sample), got(sample)) for sample in self.samples)


def _outputs(work: Work, model: QuantizedModel, samples: Collection[Feeds]) -> tuple[dict[str, float], float]:
    """(signal to noise in dB by output, share of equal decisions)."""
    names = tuple(info.name for info in work.origin.outputs if info.dtype.startswith(("float", "bfloat")))
    if not names:
        return {}, 1.0
    pairs = list(_Both(work, model, samples))
    found = {name: decibels(fidelity(pairs, (name,)).noise) for name in names}
    return found, fidelity(pairs, names).agreement


def _noisiest(layers: Collection[Layer]) -> list[Layer]:
    measured = [layer for layer in layers if layer.sqnr is not None and layer.activation]
    return sorted(measured, key=lambda layer: layer.sqnr or 0.0)[:_SPREADS]


def _words(spec: dict[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in spec.items() if key != "step")
    return f"{spec['step']}({options})" if options else str(spec["step"])
