"""Mixed precision as an optimisation: least predicted latency at bounded predicted noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from deepseek.quantization.search.formats import FLOAT16, FLOAT32, Format, Menu
from deepseek.quantization.search.mixing.prices import Prices
from deepseek.quantization.search.sensitivity import Sensitivity

__all__ = ["Assignment", "Problem"]

Assignment = Mapping[str, str]
"""Unit name → format name, for every unit."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Choose a format for every unit.

    The noise of an assignment is the sum of what its roundings make by themselves. A value is rounded once, for all
    who read it, when its maker or a reader has it quantized; the constants of a unit are rounded with the unit.
    Its latency is the sum of the units' and of the conversions': a value that is read in a type in which it is not
    made is converted once for that type.
    """

    menu: Menu
    prices: Prices
    sensitivity: Sensitivity

    def favouring(self, name: str, price: float) -> Problem:
        """The problem with a price on every unit that is not in one format though it could be.

        Args:
            price: seconds.
        """
        units = {
            unit: {form: seconds + price * (form != name and name in own) for form, seconds in own.items()}
            for unit, own in self.prices.units.items()
        }
        return replace(self, prices=replace(self.prices, units=units))

    @cached_property
    def makers(self) -> Mapping[str, str]:
        """Value → the unit that makes it; inputs of the model have none."""
        return {value: name for name, formats in self.menu.units.items() for form in formats for value in form.makes}

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Value → the units that read it in some format."""
        found: dict[str, dict[str, None]] = {}
        for name, formats in self.menu.units.items():
            for form in formats:
                for value in form.reads:
                    found.setdefault(value, {})[name] = None
        return {value: tuple(names) for value, names in found.items()}

    @cached_property
    def values(self) -> tuple[str, ...]:
        """Every value that a unit makes or reads."""
        return tuple(dict.fromkeys((*self.makers, *self.readers)))

    def form(self, unit: str, name: str) -> Format:
        """A format of a unit by name."""
        return next(form for form in self.menu.units[unit] if form.name == name)

    def types_made(self, value: str, assignment: Assignment) -> tuple[str, ...]:
        """The types a value comes in at no cost; inputs of the model are float32."""
        maker = self.makers.get(value)
        if maker is None:
            return (FLOAT32,)
        return self.form(maker, assignment[maker]).makes.get(value, (FLOAT32,))

    def types_read(self, value: str, assignment: Assignment) -> set[str]:
        """The types a value is read in; outputs of the model are float32."""
        found = {self.form(r, assignment[r]).reads.get(value) for r in self.readers.get(value, ())}
        return {kind for kind in found if kind is not None} | ({FLOAT32} if value in self.menu.outputs else set())

    def rounded(self, value: str, assignment: Assignment) -> set[str]:
        """The types other than float32 that a value is rounded to."""
        made = self.types_made(value, assignment)
        forced = {made[0]} if len(made) == 1 else set()
        return (forced | self.types_read(value, assignment)) - {FLOAT32}

    @cached_property
    def roots(self) -> Mapping[str, str]:
        """Value → the value it is a rearrangement of: codes of the one are codes of the other, rounded once."""
        found: dict[str, str] = {}
        for recipe in self.menu.recipes.values():
            for value, source in recipe.shared.items():
                found.setdefault(value, source)
        return {value: self._root(value, found) for value in self.values}

    def _root(self, value: str, sources: Mapping[str, str]) -> str:
        while value in sources:
            value = sources[value]
        return value

    def noise(self, assignment: Assignment) -> float:
        """Predicted noise at the outputs, relative to the signal."""
        rounded = {(self.roots[value], kind) for value in self.values for kind in self.rounded(value, assignment)}
        units = sum(self.unit_noise(unit, form) for unit, form in assignment.items())
        return units + sum(self.value_noise(value, kind) for value, kind in sorted(rounded))

    def seconds(self, assignment: Assignment) -> float:
        """Predicted latency."""
        total = sum(self.prices.units[unit][form] for unit, form in assignment.items())
        return total + sum(self.converting(value, assignment) for value in self.values)

    def converting(self, value: str, assignment: Assignment) -> float:
        """Seconds that the conversions of one value take."""
        wanted = self.types_read(value, assignment) - set(self.types_made(value, assignment))
        return sum(self.conversion(value, kind) for kind in wanted)

    def conversion(self, value: str, to: str) -> float:
        """Seconds to bring a value into a type; back to float32 as long as the longest way there."""
        known = self.prices.conversions[value]
        return known[to] if to != FLOAT32 else max((s for kind, s in known.items() if kind != FLOAT32), default=0.0)

    def unit_noise(self, unit: str, form: str) -> float:
        """Noise of a unit's rounded constants."""
        return self.sensitivity.units.get(unit, {}).get(form, 0.0)

    def value_noise(self, value: str, kind: str) -> float:
        """Noise of a rounded value."""
        return self.sensitivity.values.get(value, {}).get(kind, 0.0)

    def is_sound(self, assignment: Assignment) -> bool:
        """Whether the recipe derived from an assignment would be what the assignment says."""
        return all(self.unit_is_sound(unit, assignment) for unit in assignment) and all(
            self.value_is_sound(value, assignment) for value in self.values
        )

    def value_is_sound(self, value: str, assignment: Assignment) -> bool:
        """Whether a value is wanted in one quantized type at most."""
        return len(self.rounded(value, assignment) - {FLOAT16}) <= 1

    def unit_is_sound(self, unit: str, assignment: Assignment) -> bool:
        form = self.form(unit, assignment[unit])
        if form.follows:
            quantized = [(v, kind) for v, kind in form.reads.items() if kind != FLOAT32]
            if not all(kind in self.types_made(v, assignment) and v in self.makers for v, kind in quantized):
                return False
        if form.is_for_readers:
            return any(kinds[0] in self.types_read(value, assignment) for value, kinds in form.makes.items())
        return True
