"""Leave units in float."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["KeepFloat"]


@dataclass(frozen=True, slots=True)
class KeepFloat:
    """Keep the named units in float; what their neighbours then gain nothing from stays float, too.

    Attributes:
        units: names, as `deepseek inspect --units` lists them.
        reason: shown in the report.
    """

    units: tuple[str, ...] = ()
    reason: str = "kept in float by the recipe"

    def __call__(self, work: Work) -> Work:
        known = {unit.name for unit in work.model.units()}
        unknown = [name for name in self.units if name not in known]
        if unknown:
            raise ConfigError(f"the model has no unit '{unknown[0]}'", fix="list them: deepseek inspect --units")
        return replace(work, kept={**work.kept, **dict.fromkeys(self.units, self.reason)})
