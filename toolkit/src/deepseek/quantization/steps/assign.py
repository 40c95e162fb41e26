"""Give units formats of their own: mixed precision as data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace

from deepseek.quantization.precision import Precision
from deepseek.quantization.search.half import to_half
from deepseek.quantization.work import Work
from deepseek_core.errors import ConfigError

__all__ = ["Assign"]


@dataclass(frozen=True, slots=True)
class Assign:
    """Units by name in each format; all others have the recipe's precision.

    Attributes:
        float32: units that are not quantized.
        float16: units in half precision, with casts around them.
        int8: W8A8.
        int4: 4-bit weights in blocks, float activations.
        w4a8: 4-bit weights, 8-bit activations.
        w8a16: 8-bit weights, 16-bit integer activations.
        fp8: float8_e4m3fn weights and activations.
        reason: why they are not in the recipe's precision; shown in the report.
    """

    float32: tuple[str, ...] = ()
    float16: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    int4: tuple[str, ...] = ()
    w4a8: tuple[str, ...] = ()
    w8a16: tuple[str, ...] = ()
    fp8: tuple[str, ...] = ()
    reason: str = "mixed precision"

    def __call__(self, work: Work) -> Work:
        units = {unit.name: unit for unit in work.model.units()}
        _check(self, units)
        kept, tables = dict(work.kept), dict(work.unit_tables)
        for name in (*self.float32, *self.float16):
            nodes = (units[name].node, units[name].activation)
            kept.update((node.name or "", self.reason) for node in nodes if node is not None)
        for precision in (p for p in Precision if p is not Precision.MIXED):
            names = getattr(self, precision)
            if names:
                own = work.tables_at(precision)
                tables.update((units[name].node.name or "", own) for name in names)
        weights = {key: own for key, own in work.weights.items() if key[0] not in kept and key[0] not in tables}
        work = replace(work.calibrated(), kept=kept, unit_tables=tables, weights=weights)
        if self.float16:
            return replace(work, model=to_half(work.model, self.float16), calibration=None)
        return work


def _check(step: Assign, units: Collection[str]) -> None:
    """Every name is a unit's, and stands once."""
    seen: set[str] = set()
    for option in fields(step):
        names = getattr(step, option.name)
        for name in names if isinstance(names, tuple) else ():
            if name not in units:
                raise ConfigError(f"the model has no unit '{name}'", fix="list them: deepseek inspect --units")
            if name in seen:
                raise ConfigError(f"unit '{name}' is assigned twice", fix="name it under one format")
            seen.add(name)
