"""The way data flows: import → prepare → recipe → calibrate → QuantizedModel → place → compile → Package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek_core.calibration import Calibration, collect
from deepseek_core.calibration import calibrator as make_calibrator
from deepseek_core.errors import BackendError, ModelError
from deepseek_core.executable import Executable
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.units import all_units
from deepseek_core.ir.verify import verify
from deepseek_core.observe import Observer
from deepseek_core.options import CompileOptions, Progress
from deepseek_core.package import Package
from deepseek_core.package.build import build
from deepseek_core.partition import Gates, Profile, Solver, place
from deepseek_core.passes import prepare
from deepseek_core.placement import Placement
from deepseek_core.quantize import Calibrators, apply_recipe, derive_recipe, observed_values
from deepseek_core.recipe import CalibratorSpec, Goal, Recipe
from deepseek_core.registry import Backend, Registry, discover
from deepseek_core.target import Target

__all__ = ["calibrate", "compile", "float_model", "quantize", "recipe_for"]

Samples = Iterable[Mapping[str, NDArray[Any]]]


def quantize(
    model: QuantizedModel | str | Path,
    samples: Samples,
    *,
    targets: Sequence[Target | str] = ("cpu",),
    registry: Registry | None = None,
    calibrator: CalibratorSpec | None = None,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize a float model after training.

    Args:
        model: float model, or a path to an ONNX file.
        samples: feeds (input name → array) to calibrate on; streamed once.
        targets: whose capability tables decide what is quantized and how, in order of preference.
        registry: the backends to use; default: the installed ones.
        calibrator: of every activation; default entropy (KL). A backend's own is named `backend:name`.
        recipe: exactly what to do, instead of deriving it from the targets.
        progress: told about the work.

    Raises:
        ModelError: the model cannot be read, is quantized already, or holds nothing the targets quantize.
        CalibrationError: the samples are empty, do not fit the inputs, or are not finite.
        ConfigError: a calibrator or one of its options is unknown.
        TargetError: a target is unknown.
    """
    registry = registry or discover()
    prepared = float_model(model)
    recipe = recipe or recipe_for(prepared, targets, registry=registry, calibrator=calibrator)
    calibrators = _checked_calibrators(recipe, registry, targets)
    shapes: dict[str, list[int]] = {}
    calibration = calibrate(prepared, recipe, _noting_shapes(samples, shapes), registry=registry, progress=progress)
    result = apply_recipe(prepared, recipe, calibration, calibrators)
    result.metadata["sample_shapes"] = shapes
    verify(result)
    return result


def compile(  # noqa: A001
    model: QuantizedModel | str | Path,
    targets: Sequence[Target | str] = ("cpu",),
    *,
    registry: Registry | None = None,
    options: CompileOptions | None = None,
    pins: Mapping[str, Target | str] | None = None,
    solver: Solver | None = None,
    profile: Profile | None = None,
    gates: Gates | None = None,
) -> Package:
    """Place a model on targets and compile each part.

    Args:
        model: quantized (or float) model, or the path of an ONNX file.
        targets: in order of preference.
        registry: the backends to use; default: the installed ones.
        options: how to compile; `options.progress` is told about the work. The package keeps them, without what
            is for a backend that no unit was placed on.
        pins: unit name → the target it must run on.
        solver: how to choose where several targets would run a unit; default: least latency.
        profile: measured costs; default: what `deepseek profile` measured for this user and this number of threads.
        gates: what the placement must reach.

    Raises:
        ModelError: the model cannot be read.
        TargetError: a target is unknown.
        ConfigError: `options` name a tap that is no value, or are for a backend that is not among the targets.
        PlacementError: a unit runs on no target; the message has every refusal.
        GateError: the placement does not reach what `gates` ask.
        BackendError: a target's toolchain is not installed, or a backend breaks the contract.
    """
    registry = registry or discover()
    options = options or CompileOptions()
    source = model if isinstance(model, QuantizedModel) else load_model(model)
    resolved = [registry.resolve(target) for target in targets]
    options.refuse_strangers(dict.fromkeys(backend.name for backend, _ in resolved))
    pinned = {name: registry.resolve(target)[1] for name, target in (pins or {}).items()}
    options.progress("place", 0.0)
    profile = profile or Profile.of_user(options.threads)
    placement = place(source, resolved, pinned, solver, profile=profile, gates=gates)
    _check_toolchains(resolved, placement)
    artifacts = tuple(build(source, placement, registry, options))
    return Package(source, placement, artifacts, _kept(options, placement))


def _check_toolchains(targets: Sequence[tuple[Backend, Target]], placement: Placement) -> None:
    used = set(placement.units.values())
    for backend, target in targets:
        here = backend.probe(target)
        if target in used and not here.can_compile:
            missing = ", ".join(lacking.what for lacking in here.missing) or "its toolchain"
            fix = "; ".join(lacking.fix for lacking in here.missing) or "compile on another machine"
            raise BackendError(f"{target} cannot compile here: {missing} is missing", fix=fix)


def _kept(options: CompileOptions, placement: Placement) -> CompileOptions:
    used = {target.backend for target in placement.units.values()}
    extra = {key: value for key, value in options.extra.items() if key.partition(".")[0] in used}
    return CompileOptions(options.optimize, options.threads, options.taps, extra)


def float_model(model: QuantizedModel | str | Path) -> QuantizedModel:
    """A prepared copy of a float model: the graph that a recipe speaks about.

    Raises:
        ModelError: the model holds quantized units.
    """
    source = model if isinstance(model, QuantizedModel) else load_model(model)
    quantized = next((unit for unit in all_units(source.graph) if unit.is_quantized), None)
    if quantized is not None:
        raise ModelError(
            f"the model is quantized already (unit '{quantized.name}')",
            fix="compile it as it is, or start from its float origin",
        )
    result = source.clone()
    prepare(result)
    return result


def recipe_for(
    prepared: QuantizedModel,
    targets: Sequence[Target | str],
    *,
    registry: Registry | None = None,
    calibrator: CalibratorSpec | None = None,
    goal: Goal = Goal.ACCURACY,
) -> Recipe:
    """What the targets want quantized: the first target's own recipe, else one derived from their tables.

    Raises:
        ModelError: nothing in the model can be quantized for the targets.
    """
    registry = registry or discover()
    resolved = [registry.resolve(target) for target in targets]
    backend, target = resolved[0]
    recipe = backend.recipe(prepared, target, goal)
    if recipe is None:
        recipe = derive_recipe(prepared, [b.capabilities(t) for b, t in resolved], calibrator)
    if not (recipe.activations or recipe.weights):
        reasons = "; ".join(f"{unit}: {reason}" for unit, reason in list(recipe.skipped.items())[:3]) or "no units"
        names = ", ".join(str(t) for _, t in resolved)
        raise ModelError(
            f"nothing in the model can be quantized for {names} ({reasons})",
            fix="choose another target, or compile the float model",
        )
    return recipe


def calibrate(
    prepared: QuantizedModel,
    recipe: Recipe,
    samples: Samples,
    *,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Statistics of every activation that `recipe` names, from one pass over `samples`.

    Activations in branches and loop bodies are counted every time they are computed, and so is one value of each
    body that runs quantized units: it tells whether the body ever ran. The float model runs on the CPU backend where
    it is installed, else on the reference backend. Statistics of disjoint shards merge exactly:
    `calibrate(a).merge(calibrate(b))` equals `calibrate(a + b)`.
    """
    backend, target = _runner(registry or discover())

    def opened(piece: QuantizedModel) -> Executable:
        return backend.load(backend.compile(piece, target, CompileOptions(optimize=0)))

    names = observed_values(prepared, recipe)
    observer = Observer(prepared, names, opened)
    try:
        return collect(observer, samples, names, progress=progress)
    finally:
        observer.close()


def _checked_calibrators(recipe: Recipe, registry: Registry, targets: Sequence[Target | str]) -> Calibrators:
    """Calibrators of the targets' backends; what the recipe names is tried before the long work begins."""
    backends = {backend.name: backend for backend, _ in map(registry.resolve, targets)}
    found = {f"{name}:{own}": f for name, backend in backends.items() for own, f in backend.calibrators().items()}
    for spec in {entry.calibrator for entry in recipe.activations.values()}:
        make_calibrator(spec, found)
    return found


def _noting_shapes(samples: Samples, shapes: dict[str, list[int]]) -> Samples:
    """Pass samples on and note the first one's shapes: what symbolic dimensions are in real use."""
    for sample in samples:
        if not shapes:
            shapes.update((name, list(np.shape(array))) for name, array in sample.items())
        yield sample


def _runner(registry: Registry) -> tuple[Backend, Target]:
    for name in ("cpu", "reference"):
        if name in registry.backends:
            backend, target = registry.resolve(name)
            if backend.probe(target).can_run:
                return backend, target
    raise ModelError("no backend here can run the float model for calibration", fix="pip install deepseek-backend-cpu")
