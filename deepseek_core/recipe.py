"""What is to be quantized, and how: data that reproduces a result bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from deepseek_core.errors import ConfigError
from deepseek_core.scheme import QuantScheme

__all__ = ["CalibratorSpec", "Goal", "Recipe", "TensorRecipe"]


class Goal(StrEnum):
    """What a recipe is asked to favour."""

    ACCURACY = "accuracy"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class CalibratorSpec:
    """A calibrator by name with its options, for example `percentile` with `{"percentile": 99.99}`."""

    method: str = "entropy"
    options: tuple[tuple[str, float | int | str], ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"method": self.method, "options": dict(self.options)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CalibratorSpec:
        return cls(str(data["method"]), tuple(sorted(dict(data.get("options", {})).items())))


@dataclass(frozen=True, slots=True)
class TensorRecipe:
    """How one float tensor becomes quantized.

    Attributes:
        scheme: with `axis` resolved.
        calibrator: how an activation's range is found; weights use their own values and ignore it
            unless it names a method other than min-max.
    """

    scheme: QuantScheme
    calibrator: CalibratorSpec = field(default_factory=CalibratorSpec)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Schemes by name. Names are unique over a prepared model, so nodes and values of bodies are named alike.

    Attributes:
        activations: value name → recipe; a Q → DQ pair is put behind the value.
        weights: `(node name, input position)` → recipe of a constant input.
        biases: `(node name, input position)` of biases to quantize to int32 with scale activation × weight.
        shared: value name → value whose scale and zero point it takes (ops that only move values).
        skipped: name of a unit's compute node → why it stays in float; every other unit is quantized.
    """

    activations: Mapping[str, TensorRecipe] = field(default_factory=dict)
    weights: Mapping[tuple[str, int], TensorRecipe] = field(default_factory=dict)
    biases: frozenset[tuple[str, int]] = frozenset()
    shared: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """JSON form; `from_json` is its inverse."""
        return {
            "activations": {name: _entry(r) for name, r in self.activations.items()},
            "weights": [{"node": n, "input": i, **_entry(r)} for (n, i), r in self.weights.items()],
            "biases": [{"node": n, "input": i} for n, i in sorted(self.biases)],
            "shared": dict(self.shared),
            "skipped": dict(self.skipped),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Read `to_json`'s form.

        Raises:
            ConfigError: the data has another form.
        """
        try:
            return cls(
                {name: _read(entry) for name, entry in data["activations"].items()},
                {(e["node"], e["input"]): _read(e) for e in data["weights"]},
                frozenset((e["node"], e["input"]) for e in data["biases"]),
                dict(data.get("shared", {})),
                dict(data.get("skipped", {})),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"not a recipe ({error!r})", fix="write it as Recipe.to_json does") from None


def _entry(recipe: TensorRecipe) -> dict[str, object]:
    return {"scheme": recipe.scheme.to_json(), "calibrator": recipe.calibrator.to_json()}


def _read(entry: Mapping[str, Any]) -> TensorRecipe:
    return TensorRecipe(QuantScheme.from_json(entry["scheme"]), CalibratorSpec.from_json(entry["calibrator"]))
