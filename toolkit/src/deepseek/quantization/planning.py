"""Which recipe to start from, by what a user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepseek.quantization.config import VARIABLE, QuantizerConfig
from deepseek.quantization.precision import Precision
from deepseek.quantization.recipe import QuantizationRecipe
from deepseek.quantization.run import start
from deepseek.quantization.search.effort import Effort
from deepseek_core import CalibratorSpec, QuantizedModel, Registry
from deepseek_core.errors import ConfigError, ModelError
from deepseek_core.ir.ops import Role

__all__ = [
    "PLAIN",
    "Wish",
    "asked_effort",
    "asked_precision",
    "asked_targets",
    "base_recipe",
    "calibrator_spec",
    "given_recipe",
    "refuse_beside_recipe",
    "refuse_empty",
    "unused_settings",
    "wants_fixed_shapes",
]

AUTO, PLAIN = "auto", "plain"

_FOUR_BITS = (Precision.INT4, Precision.W4A8)
_OTHERWISE = "choose another target or precision, or compile the float model"
_VARIES = "unknown before run time"
_SHAPES = 'fix the batch with config {"batch_size": 1}, or export the network with fixed shapes'


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asked for, checked.

    Attributes:
        precision: None: 4-bit weights in the way that suits the network.
        targets: in order of preference.
        calibrator: to start from.
        config: settings of the result.
        seed: of everything random.
        plain: no search, no steps.
        fixed_method: the user named the calibrator: the search leaves it.
        effort: of the search.
    """

    precision: Precision | None
    targets: tuple[str, ...]
    calibrator: CalibratorSpec
    config: QuantizerConfig
    seed: int = 0
    plain: bool = False
    fixed_method: bool = False
    effort: Effort = Effort.STANDARD


def asked_targets(backend: str | None, targets: str | Sequence[str] | None) -> tuple[str, ...]:
    """The targets, in order of preference.

    Raises:
        ConfigError: both arguments are given, or `targets` is empty.
    """
    if backend is not None and targets is not None:
        raise ConfigError("backend= and targets= are both given", fix="name all of them in targets=")
    if targets is None:
        return (backend or "cpu",)
    found = (targets,) if isinstance(targets, str) else tuple(targets)
    if not found:
        raise ConfigError("targets= is empty", fix="name at least one, for example 'cpu'")
    return found


def asked_precision(bits: int, precision: str | Precision | None) -> Precision | None:
    """The precision; None: 4-bit weights in the way that suits the network.

    Raises:
        ConfigError: `bits` or `precision` is unknown, or they contradict each other.
    """
    if isinstance(bits, bool) or bits not in (8, 4):
        raise ConfigError(f"bits={bits!r}", fix="give 8 or 4")
    if precision is None:
        return Precision.INT8 if bits == 8 else None
    try:
        found = Precision(precision)
    except ValueError:
        known = ", ".join(map(str, Precision))
        raise ConfigError(f"no precision is named {precision!r}", fix=f"known: {known}") from None
    if bits == 4 and found not in _FOUR_BITS:
        raise ConfigError(f"bits=4 and precision='{found}' contradict each other", fix="leave bits= out")
    return found


def asked_effort(effort: str) -> Effort:
    """The effort of the search.

    Raises:
        ConfigError: it is unknown.
    """
    try:
        return Effort(effort)
    except ValueError:
        raise ConfigError(f"effort={effort!r}", fix=f"give {', '.join(Effort)}") from None


def calibrator_spec(method: str | None, options: Mapping[str, Any] | None) -> CalibratorSpec:
    """The calibrator that was asked for.

    Raises:
        ConfigError: there are options of no method.
    """
    if method is None and options:
        raise ConfigError("there are options of a method, but no method", fix="give method=, for example 'percentile'")
    return CalibratorSpec(method or "entropy", tuple(sorted((options or {}).items())))


def given_recipe(recipe: QuantizationRecipe | str | Path | None) -> QuantizationRecipe | None:
    """The recipe that decides everything; None for `auto` and `plain`."""
    if recipe is None or recipe in (AUTO, PLAIN):
        return None
    return recipe if isinstance(recipe, QuantizationRecipe) else QuantizationRecipe.load(recipe)


def refuse_beside_recipe(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a recipe decides.

    Raises:
        ConfigError: one of them is given.
    """
    given = next((name for name, value in arguments.items() if value is not None), None)
    if given is not None:
        raise ConfigError(f"{given}= beside a recipe, which decides it", fix="leave it out, or change the recipe")


def unused_settings(recipe: QuantizationRecipe | None) -> tuple[str, ...]:
    """A note where the environment has settings that a given recipe does not."""
    if recipe is None or QuantizerConfig.read() in (QuantizerConfig(), recipe.config):
        return ()
    return (f"{VARIABLE} is not used: the recipe decides",)


def base_recipe(model: QuantizedModel, wish: Wish, registry: Registry) -> QuantizationRecipe:
    """The recipe without steps: precision, targets, calibrator and settings.

    Raises:
        ConfigError: the method or one of its options is unknown, or no target offers the precision.
        TargetError: a target is unknown.
        ModelError: the model is quantized already.
    """
    precision = wish.precision or Precision.INT4
    recipe = QuantizationRecipe(precision, wish.targets, wish.calibrator, (), wish.config, wish.seed)
    if wish.precision is None and not _covers(model, recipe, registry):
        recipe = replace(recipe, precision=Precision.W4A8)
    return recipe


def wants_fixed_shapes(model: QuantizedModel, recipe: QuantizationRecipe, registry: Registry) -> bool:
    """Whether a target leaves units in float because their shapes vary."""
    found = start(model, (), recipe, registry=registry).recipe()
    return any(_VARIES in reason for reason in found.skipped.values())


def refuse_empty(model: QuantizedModel, recipe: QuantizationRecipe, registry: Registry) -> None:
    """Refuse a network in which a recipe has nothing to quantize, before the long work begins.

    Raises:
        ModelError: it is so; the message has the first reasons.
    """
    found = start(model, (), recipe, registry=registry).recipe()
    if not (found.activations or found.weights):
        reasons = "; ".join(f"{unit}: {reason}" for unit, reason in list(found.skipped.items())[:3]) or "no units"
        raise ModelError(
            f"nothing in the model can be quantized for {', '.join(recipe.targets)} ({reasons})",
            fix=_SHAPES if _VARIES in reasons else _OTHERWISE,
        )


def _covers(model: QuantizedModel, recipe: QuantizationRecipe, registry: Registry) -> bool:
    """Whether a recipe takes more than half of the weights: their elements count."""
    try:
        work = start(model, (), recipe, registry=registry)
    except ConfigError:
        return False
    chosen, taken, total = work.recipe().weights, 0, 0
    for unit in work.model.units():
        for position, operand in enumerate(unit.inputs):
            constant = None if operand is None else operand.value.const_value
            if operand is not None and operand.role is Role.WEIGHT and constant is not None:
                total += constant.size
                taken += constant.size if (unit.node.name, position) in chosen else 0
    return 2 * taken > total
