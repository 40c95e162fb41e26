"""Sensitivities as data: how much noise at the outputs each source of rounding makes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepseek_core.errors import ConfigError

__all__ = ["Sensitivity"]

Noises = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Noise at the outputs, relative to their signal, by source.

    Errors of different sources are taken as uncorrelated, so that their noises add up; `joint` over the sum says how
    true that is.

    Attributes:
        values: value name → type in words → noise when only that value is rounded.
        units: unit name → format → noise when only the unit's constants are rounded.
        joint: format → measured noise with everything in that format.
        samples: how many samples the figures rest on.
    """

    values: Noises
    units: Noises
    joint: Mapping[str, float]
    samples: int

    def to_json(self) -> dict[str, Any]:
        """JSON form; `from_json` is its inverse."""
        return {
            "values": {name: dict(own) for name, own in self.values.items()},
            "units": {name: dict(own) for name, own in self.units.items()},
            "joint": dict(self.joint),
            "samples": self.samples,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sensitivity:
        """Read `to_json`'s form.

        Raises:
            ConfigError: the data has another form.
        """
        try:
            return cls(_noises(data["values"]), _noises(data["units"]), dict(data["joint"]), int(data["samples"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"not a sensitivity ({error!r})", fix="measure it anew") from None


def _noises(data: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {key: float(noise) for key, noise in own.items()} for name, own in data.items()}
