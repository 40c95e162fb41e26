"""A recipe: everything that decides a quantization, as data. Same recipe, model and samples: the same bits."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.quantization import toml
from deepseek.quantization.config import QuantizerConfig
from deepseek.quantization.precision import Precision
from deepseek.quantization.steps import StepSpec
from deepseek_core import CalibratorSpec
from deepseek_core.atomic import atomic_write
from deepseek_core.errors import ConfigError

__all__ = ["QuantizationRecipe"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class QuantizationRecipe:
    """Which tensors become quantized (by targets and precision), how ranges are found, and what else is done.

    Attributes:
        precision: types of activations and weights.
        targets: whose capability tables decide, in order of preference.
        calibrator: of every activation.
        steps: run in this order.
        config: what the result must be like.
        seed: of everything random.
    """

    precision: Precision = Precision.INT8
    targets: tuple[str, ...] = ("cpu",)
    calibrator: CalibratorSpec = field(default_factory=CalibratorSpec)
    steps: tuple[StepSpec, ...] = ()
    config: QuantizerConfig = field(default_factory=QuantizerConfig)
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` is its inverse."""
        return {
            "version": _VERSION,
            "precision": str(self.precision),
            "targets": list(self.targets),
            "calibrator": self.calibrator.to_json(),
            "steps": [spec.to_json() for spec in self.steps],
            "config": self.config.to_json(),
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QuantizationRecipe:
        """Read `to_json`'s form; keys may be left out.

        Raises:
            ConfigError: a key, step or option is unknown, or has a value of the wrong kind.
        """
        known = ("version", "precision", "targets", "calibrator", "steps", "config", "seed")
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(f"a recipe has no '{unknown[0]}'", fix=f"use {', '.join(known)}")
        if data.get("version", _VERSION) != _VERSION:
            raise ConfigError(f"recipe of version {data['version']!r}", fix=f"this release reads version {_VERSION}")
        try:
            return cls(
                Precision(data.get("precision", Precision.INT8)),
                tuple(str(target) for target in data.get("targets", ("cpu",))),
                CalibratorSpec.from_json(data.get("calibrator", {"method": "entropy"})),
                tuple(StepSpec.from_json(entry) for entry in data.get("steps", ())),
                QuantizerConfig.from_json(data.get("config", {})),
                int(data.get("seed", 0)),
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ConfigError(f"not a recipe ({error})", fix="write it as QuantizationRecipe.to_json does") from None

    def save(self, path: str | Path) -> None:
        """Write a `.json` file, or TOML under any other name; atomically. `load` is its inverse.

        Raises:
            StorageError: the file cannot be written.
        """
        data = self.to_json()
        as_json = Path(path).suffix.lower() == ".json"
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n" if as_json else toml.dumps(data)
        with atomic_write(path) as file:
            file.write(text.encode())

    @classmethod
    def load(cls, path: str | Path) -> QuantizationRecipe:
        """Read a `.toml` or `.json` file.

        Raises:
            ConfigError: the file cannot be read or is no recipe.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            data = json.loads(text) if Path(path).suffix.lower() == ".json" else tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"cannot read recipe '{path}' ({error.strerror})", fix="give a .toml or .json") from None
        except ValueError as error:
            raise ConfigError(f"recipe '{path}' cannot be parsed: {error}", fix="mend it") from None
        if not isinstance(data, dict):
            raise ConfigError(f"recipe '{path}' is not a table", fix="write it as QuantizationRecipe.to_json does")
        return cls.from_json(data)
