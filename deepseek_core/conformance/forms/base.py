"""Forms: everything about a node but its numbers, bent so that it keeps to a capability rule's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from deepseek_core.target import Limit

__all__ = [
    "Array",
    "AttributeValue",
    "Family",
    "Form",
    "Settings",
    "Shape",
    "Variant",
    "breaks",
    "fit",
    "no_variants",
    "with_subject",
]

Shape = tuple[int, ...]
AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...]
Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a limit can speak about; a family turns it into a form.

    Attributes:
        shape: of the first data input.
        channels: output channels of an accumulating op.
        attributes: written explicitly wherever a limit may want another value.
        others: shapes of the further data inputs; empty: as the first.
    """

    shape: Shape
    channels: int = 4
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    others: tuple[Shape, ...] = ()

    def but(
        self,
        *,
        shape: Shape | None = None,
        channels: int | None = None,
        others: tuple[Shape, ...] | None = None,
        **attributes: AttributeValue | None,
    ) -> Settings:
        """A copy with some things changed; None removes an attribute."""
        merged = {**self.attributes, **attributes}
        return Settings(
            shape if shape is not None else self.shape,
            channels if channels is not None else self.channels,
            {name: value for name, value in merged.items() if value is not None},
            others if others is not None else self.others,
        )

    def without_samples(self) -> Settings:
        """A copy whose axis 0 is 0."""
        first = self.shape[0]
        others = tuple((0, *s[1:]) if len(s) == len(self.shape) and s[0] == first else s for s in self.others)
        return self.but(shape=(0, *self.shape[1:]), others=others)

    def with_attribute(self, name: str, value: AttributeValue) -> Settings:
        """A copy with one attribute set."""
        return replace(self, attributes={**self.attributes, name: value})


@dataclass(frozen=True, slots=True)
class Form:
    """A node without its numbers.

    Attributes:
        op: op key.
        data: shapes of the data inputs, in the order of their positions.
        weight: shape of the constant weight, if the op has one.
        bias: number of bias elements the op takes, 0 where it takes none.
        aux: constants at further input positions (indices, shapes, parameters).
        attributes: of the node.
        constant: positions, counted among the data inputs, that are constants of the model.
        outputs: number of outputs.
        reduced: multiply-accumulates behind one output element.
    """

    op: str
    data: tuple[Shape, ...]
    weight: Shape | None = None
    bias: int = 0
    aux: Mapping[int, Array] = field(default_factory=dict)
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    constant: frozenset[int] = frozenset()
    outputs: int = 1
    reduced: int = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """Settings under a name, with a sentence that says what they would break."""

    name: str
    probes: str
    settings: Settings


def no_variants(base: Settings) -> Iterable[Variant]:
    """For ops whose base form says it all."""
    return ()


@dataclass(frozen=True, slots=True)
class Family:
    """How cases of one op are shaped.

    Attributes:
        base: settings for a rank (None: the op's usual one).
        form: settings → form.
        variants: shapes and attributes worth testing beside the base, from the fitted base.
        ranks: ranks the op allows; a rule without a rank limit promises all of them.
        batched: axis 0 counts samples, so it may be 0 and may be symbolic.
    """

    base: Callable[[int | None], Settings]
    form: Callable[[Settings], Form]
    variants: Callable[[Settings], Iterable[Variant]] = no_variants
    ranks: tuple[int, ...] = ()
    batched: bool = True


def breaks(limit: Limit, value: object) -> bool:
    """Whether a value (each element of a sequence) is outside a limit."""
    if isinstance(value, (tuple, list)):
        return any(breaks(limit, element) for element in value)
    if limit.allowed is not None and value not in limit.allowed:
        return True
    if isinstance(value, str) or value is None:
        return False
    number = float(value)  # type: ignore[arg-type]
    below = limit.minimum is not None and number < limit.minimum
    return below or (limit.maximum is not None and number > limit.maximum)


def fit(family: Family, limits: Sequence[Limit]) -> Settings:
    """The base of a family, moved inside `limits`."""
    base = family.base(None)
    for limit in limits:
        if limit.subject == "rank" and breaks(limit, len(base.shape)):
            base = family.base(int(_inside(limit, len(base.shape))))
    for limit in sorted(limits, key=lambda entry: entry.subject == "elements"):
        value = _subject(base, limit)
        if limit.subject in ("rank", "static") or value is None or not breaks(limit, value):
            continue
        base = with_subject(family, base, limit.subject, _inside(limit, value))
    return base


def with_subject(family: Family, base: Settings, subject: str, value: float | str) -> Settings:
    """`base` with what a limit speaks about set to `value` (every element of a list attribute)."""
    kind, _, name = subject.partition(":")
    if kind == "attr":
        old = base.attributes.get(name)
        if isinstance(old, tuple):
            return base.with_attribute(name, tuple(int(value) for _ in old))
        if isinstance(value, str) or isinstance(old, float):
            return base.with_attribute(name, value)
        return base.with_attribute(name, int(value) if float(value).is_integer() else float(value))
    number = int(value)
    match kind:
        case "rank":
            return replace(family.base(number), channels=base.channels)
        case "dim":
            return base.but(shape=_with_dim(base.shape, int(name), number))
        case "channels":
            return base.but(channels=number)
        case "elements":
            return base.but(shape=(*(1 for _ in base.shape[:-1]), number))
    return base


def _subject(base: Settings, limit: Limit) -> object:
    kind, _, name = limit.subject.partition(":")
    match kind:
        case "attr":
            return base.attributes.get(name, limit.default)
        case "rank":
            return len(base.shape)
        case "dim":
            axis = int(name)
            return base.shape[axis] if -len(base.shape) <= axis < len(base.shape) else None
        case "channels":
            return base.channels
        case "elements":
            return prod(base.shape)
    return None


def _inside(limit: Limit, value: object) -> float | str:
    """A value the limit accepts, as near to `value` as it goes."""
    if isinstance(value, (tuple, list)):
        value = next(element for element in value if breaks(limit, element))
    if limit.allowed is not None:
        numbers = [v for v in limit.allowed if not isinstance(v, str)]
        if numbers and not isinstance(value, str) and value is not None:
            return min(numbers, key=lambda v: abs(v - float(value)))  # type: ignore[arg-type]
        return limit.allowed[0]
    number = float(value)  # type: ignore[arg-type]
    if limit.minimum is not None and number < limit.minimum:
        return limit.minimum
    assert limit.maximum is not None
    return limit.maximum


def _with_dim(shape: Shape, axis: int, size: int) -> Shape:
    if not -len(shape) <= axis < len(shape):
        return shape
    axis %= len(shape)
    return (*shape[:axis], size, *shape[axis + 1 :])
