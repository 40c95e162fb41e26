"""Read untrusted JSON strictly: exact keys, exact types, no duplicates, no NaN."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Json", "MalformedError"]


class MalformedError(ValueError):
    """JSON that is not what it must be; the message says where."""


class Json:
    """A value at a place in a document, with checked access.

    Every accessor raises `MalformedError` when the value has another form.
    """

    def __init__(self, value: object, place: str = "") -> None:
        self._value = value
        self._place = place

    @classmethod
    def parse(cls, text: bytes) -> Json:
        """Read a document; duplicate keys, NaN, infinity and excessive nesting are refused."""
        try:
            value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
        except RecursionError:
            raise MalformedError("it is nested too deeply") from None
        except ValueError as error:  # includes JSONDecodeError, UnicodeDecodeError and over-long integers
            raise MalformedError(f"it is not JSON ({error})") from None
        return cls(value)

    def fields(self, *names: str) -> Iterator[Json]:
        """Values of an object that has exactly these keys, in this order."""
        entries = self.entries()
        if set(entries) != set(names):
            odd = sorted(set(entries) ^ set(names))
            raise MalformedError(f"{self._at()} must have the keys {', '.join(names)} (see {', '.join(odd)})")
        return (entries[name] for name in names)

    def entries(self) -> dict[str, Json]:
        """Values of an object by key."""
        return {key: Json(value, f"{self._place}.{key}") for key, value in self._typed(dict, "an object").items()}

    def items(self) -> list[Json]:
        """Values of an array."""
        return [Json(value, f"{self._place}[{i}]") for i, value in enumerate(self._typed(list, "an array"))]

    def text(self, pattern: str = r"[\s\S]*") -> str:
        value = self._typed(str, "a string")
        if not re.fullmatch(pattern, value):
            raise MalformedError(f"{self._at()} is '{value[:40]}', which does not have the right form")
        return str(value)

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def integer(self) -> int:
        """An integer ≥ 0."""
        value = self._typed(int, "an integer")
        if isinstance(value, bool) or value < 0:
            raise MalformedError(f"{self._at()} must be a non-negative integer")
        return int(value)

    def number(self) -> float:
        value = self._typed((int, float), "a number")
        try:
            return float(value)
        except OverflowError:
            raise MalformedError(f"{self._at()} is too large") from None

    def plain(self) -> Any:
        """The value as it is."""
        return self._value

    def plain_object(self) -> dict[str, object]:
        """An object as it is."""
        return dict(self._typed(dict, "an object"))

    @property
    def is_null(self) -> bool:
        return self._value is None

    def _typed(self, kind: type | tuple[type, ...], words: str) -> Any:
        if not isinstance(self._value, kind):
            raise MalformedError(f"{self._at()} must be {words}")
        return self._value

    def _at(self) -> str:
        return f"'{self._place.lstrip('.')}'" if self._place else "it"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise MalformedError("a key is given twice")
    return entries


def _no_constant(name: str) -> object:
    raise MalformedError(f"{name} is not JSON")
