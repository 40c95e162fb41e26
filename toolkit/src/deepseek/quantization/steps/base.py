"""What a step is, and how a recipe names one with its options."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from deepseek_core.errors import ConfigError

if TYPE_CHECKING:
    from deepseek.quantization.work import Work

__all__ = ["STEPS", "Step", "StepSpec"]


class Step(Protocol):
    """A frozen dataclass; its fields, all with defaults, are the options."""

    def __call__(self, work: Work) -> Work:
        """The work with the step done. Does not change its argument, nor the models it holds."""
        ...


STEPS: Mapping[str, str] = {
    "assign": "deepseek.quantization.steps.assign:Assign",
    "augment": "deepseek.quantization.steps.augment:Augment",
    "correct_bias": "deepseek.quantization.steps.correct_bias:CorrectBias",
    "equalize": "deepseek.quantization.steps.equalize:Equalize",
    "fewer_samples": "deepseek.quantization.steps.fewer_samples:FewerSamples",
    "gptq": "deepseek.quantization.steps.gptq:Gptq",
    "hold_out": "deepseek.quantization.steps.hold_out:HoldOut",
    "keep_float": "deepseek.quantization.steps.keep_float:KeepFloat",
    "learn_rounding": "deepseek.quantization.steps.learn_rounding:LearnRounding",
    "progressive": "deepseek.quantization.steps.progressive:Progressive",
    "ranges": "deepseek.quantization.steps.ranges:Ranges",
    "round_to_nearest": "deepseek.quantization.steps.round_to_nearest:RoundToNearest",
    "smooth": "deepseek.quantization.steps.smooth:Smooth",
    "spare_outliers": "deepseek.quantization.steps.spare_outliers:SpareOutliers",
}
"""Name → `module:class`; imported when a recipe uses it."""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step by name with the options that differ from its defaults."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Step:
        """The step.

        Raises:
            ConfigError: the step or an option is unknown, or a value is impossible.
        """
        if self.name not in STEPS:
            close = difflib.get_close_matches(self.name, STEPS, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise ConfigError(f"no step is named '{self.name}'", fix=f"{hint}known: {', '.join(sorted(STEPS))}")
        module, _, name = STEPS[self.name].partition(":")
        kind = getattr(importlib.import_module(module), name)
        known = {f.name: f.default for f in fields(kind)}
        for key, value in self.options.items():
            if key not in known:
                raise ConfigError(
                    f"step '{self.name}' has no option '{key}'", fix=f"known: {', '.join(known) or 'none'}"
                )
            _check_kind(f"option '{key}' of step '{self.name}'", value, known[key])
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in self.options.items()}
        step: Step = kind(**values)
        return step

    def to_json(self) -> dict[str, Any]:
        """`{"step": name, option: value, …}`."""
        return {"step": self.name, **{k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepSpec:
        """Read `to_json`'s form; names and options are checked.

        Raises:
            ConfigError: see `build`.
        """
        if not isinstance(data.get("step"), str):
            raise ConfigError("a step of a recipe has no name", fix='write it as {"step": "name", …}')
        spec = cls(data["step"], {key: value for key, value in data.items() if key != "step"})
        spec.build()
        return spec


def _check_kind(what: str, value: object, default: object) -> None:
    """The kind of an option is that of its default; an int will do for a float."""
    kind = type(default)
    if default is MISSING or default is None or isinstance(value, kind):
        fits = not (isinstance(value, bool) and kind in (int, float))
    else:
        fits = (kind is float and isinstance(value, int)) or (kind is tuple and isinstance(value, list))
    if not fits:
        raise ConfigError(f"{what} is {value!r}", fix=f"give a {kind.__name__}")
