"""Run two models on the same feeds and compare every tensor they share.

Tensors are compared at the borders of units, where a quantized layer's codes are what its device computed: the codes
themselves become outputs of the models, so no kernel runs differently for being watched. Tensors match by the name of
their real value, which quantization keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import length_hint

from deepseek_core.diff.result import Diff, TensorDiff
from deepseek_core.diff.sides import Border, Side
from deepseek_core.diff.tally import Tally
from deepseek_core.errors import CalibrationError, ModelError
from deepseek_core.executable import Feeds
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions, Progress
from deepseek_core.package import Package
from deepseek_core.pipeline import compile as compile_model
from deepseek_core.registry import Registry, discover
from deepseek_core.runtime import Session

__all__ = ["compare"]


def compare(
    a: Package | QuantizedModel,
    b: Package | QuantizedModel,
    feeds: Feeds | Iterable[Feeds],
    *,
    threshold: float | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Diff:
    """Compare two models tensor by tensor.

    Args:
        a, b: a compiled package runs on the targets it was placed on; anything else on the CPU backend, or on the
            reference backend without one. A float model is the reference for the other; of two quantized models
            `a` is.
        feeds: one sample or several.
        threshold: in dB; see `TensorDiff.diverges`.

    Raises:
        ModelError: the models share no tensor.
        FeedError: the feeds do not fit the models' inputs.
        CalibrationError: there are no feeds.
    """
    registry = registry or discover()
    ours, theirs = Side(_model(a)), Side(_model(b))
    pairs = {
        name: (x, theirs.borders[name]) for name, x in ours.borders.items() if _compares(x, theirs.borders.get(name))
    }
    if not pairs:
        raise ModelError("the models share no tensor by name", fix="compare a model with what was made from it")
    tallies = {name: Tally(comparable=_same_codes(x, y)) for name, (x, y) in pairs.items()}
    swapped = theirs.is_float and not ours.is_float
    samples = [feeds] if isinstance(feeds, Mapping) else feeds
    total, count = length_hint(samples), 0
    with _open(a, ours, pairs, registry) as first, _open(b, theirs, pairs, registry) as second:
        for count, sample in enumerate(samples, start=1):
            arrays = ({**sample, **first.run(sample)}, {**sample, **second.run(sample)})
            for name, (x, y) in pairs.items():
                real = (x.real(arrays[0]), y.real(arrays[1]))
                tallies[name].add(*(real[::-1] if swapped else real))
                tallies[name].add_codes(x.codes(arrays[0]), y.codes(arrays[1]))
            if progress is not None:
                progress(f"comparing, sample {count}", min(count / total, 1.0) if total else 0.0)
    if not count:
        raise CalibrationError("there is no sample to compare on", fix="give at least one")
    found = tuple(_result(name, x, tallies[name]) for name, (x, _) in pairs.items())
    return Diff(found, tuple(sorted(ours.borders.keys() ^ theirs.borders.keys())), count, threshold)


def _model(source: Package | QuantizedModel) -> QuantizedModel:
    return source.model if isinstance(source, Package) else source


def _compares(x: Border, y: Border | None) -> bool:
    """Whether two borders are one tensor, and not an input that both are fed alike."""
    return y is not None and not (x.op == y.op == "input")


def _same_codes(x: Border, y: Border) -> bool:
    return x.qparams is not None and y.qparams is not None and x.qparams.equals(y.qparams)


def _result(name: str, border: Border, tally: Tally) -> TensorDiff:
    return TensorDiff(name, border.unit, border.op, tally.shape, tally.sqnr, tally.max_error, tally.lsb)


def _open(source: Package | QuantizedModel, side: Side, names: Iterable[str], registry: Registry) -> Session:
    """A session of the model with its borders as outputs, placed as the source is."""
    model = side.watched(names)
    if isinstance(source, Package) and source.placement is not None:
        pins = dict(source.placement.units)
        targets = tuple(dict.fromkeys(pins.values()))
        options = replace(source.options, taps=())
        return Session(compile_model(model, targets, registry=registry, options=options, pins=pins), registry)
    general = ("cpu",) if "cpu" in registry.backends else ("reference",)
    return Session(compile_model(model, general, registry=registry, options=CompileOptions(optimize=0)), registry)
