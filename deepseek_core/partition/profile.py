"""What was measured on this machine, for placements to rest on: units, parts, launches and links."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from deepseek_core.cost import Basis
from deepseek_core.ir.units import Unit
from deepseek_core.partition.transfer import Link
from deepseek_core.registry import Backend
from deepseek_core.selection import TuningCache, cache_folder, unit_signature
from deepseek_core.target import Target

__all__ = ["DeviceProfile", "Profile"]

_ALONE, _LAUNCH, _COMPANY, _PART, _LINK = "alone", "launch", "company", "part", "link"
_FASTEST_LINK = 1e15
"""Bytes per second that stand for a link whose time does not grow with the size, as far as could be measured."""


class _Figures(Protocol):
    """Where figures are kept: see `TuningCache`."""

    def get(self, context: str, signature: str) -> Mapping[str, float]: ...

    def put(self, context: str, signature: str, seconds: Mapping[str, float]) -> None: ...

    def save(self) -> None: ...


class _Nothing:
    """Keeps no figures."""

    def get(self, context: str, signature: str) -> Mapping[str, float]:
        return {}

    def put(self, context: str, signature: str, seconds: Mapping[str, float]) -> None:
        return

    def save(self) -> None:
        return


class DeviceProfile:
    """Figures of one target, in seconds, on the device and with the toolchain that are here now.

    Attributes:
        context: what the figures hold for; the key in the cache.
    """

    def __init__(self, cache: _Figures, context: str) -> None:
        self.context, self._cache = context, cache

    @property
    def launch(self) -> float | None:
        """What a part takes beside its units."""
        return self._cache.get(self.context, _LAUNCH).get(_LAUNCH)

    @property
    def company(self) -> float:
        """What a unit takes among others over what it takes alone, launches aside."""
        return self._cache.get(self.context, _LAUNCH).get(_COMPANY, 1.0)

    @staticmethod
    def signature(unit: Unit) -> str:
        """What the figures of a unit are kept under; equal units share them."""
        return unit_signature(unit)

    def alone(self, unit: Unit) -> float | None:
        """A unit as a part of its own, its launch included."""
        return self._cache.get(self.context, unit_signature(unit)).get(_ALONE)

    def part(self, units: Sequence[Unit]) -> float | None:
        """Exactly these units as one part."""
        return self._cache.get(self.context, _part_signature(units)).get(_PART)

    def record_launch(self, seconds: float, company: float = 1.0) -> None:
        """Remember what a part takes beside its units, and how units in company compare with units alone."""
        self._cache.put(self.context, _LAUNCH, {_LAUNCH: seconds, _COMPANY: company})

    def record_alone(self, unit: Unit, seconds: float) -> None:
        """Remember a unit measured as a part of its own."""
        self._cache.put(self.context, unit_signature(unit), {_ALONE: seconds})

    def record_part(self, units: Sequence[Unit], seconds: float) -> None:
        """Remember a part."""
        self._cache.put(self.context, _part_signature(units), {_PART: seconds})


class Profile:
    """The figures of all targets, and of the links between them.

    Args:
        cache: where they are kept.
        threads: that executables run with; figures hold for one number of threads.
    """

    def __init__(self, cache: _Figures, threads: int = 0) -> None:
        self._cache, self._threads = cache, threads
        self._devices: dict[Target, DeviceProfile] = {}

    @classmethod
    def of_user(cls, threads: int = 0) -> Profile:
        """What this user measured on this machine; empty where nothing was."""
        return cls(TuningCache(cache_folder() / "profile.json"), threads)

    @classmethod
    def empty(cls) -> Profile:
        """Nothing was measured."""
        return cls(_Nothing(), 0)

    def device(self, backend: Backend, target: Target) -> DeviceProfile:
        """Figures of one target."""
        if target not in self._devices:
            self._devices[target] = DeviceProfile(self._cache, _context(backend, target, self._threads))
        return self._devices[target]

    def links(self, targets: Sequence[tuple[Backend, Target]]) -> Mapping[tuple[Target, Target], Link]:
        """The measured links among some targets, by ordered pair."""
        found = {}
        for pair in ((a, b) for a in targets for b in targets if a[1] != b[1]):
            figures = self._cache.get(self._pair(*pair), _LINK)
            if figures:
                found[pair[0][1], pair[1][1]] = _link(figures, *pair)
        return found

    def record_link(
        self, source: tuple[Backend, Target], to: tuple[Backend, Target], latency: float, second_per_byte: float | None
    ) -> None:
        """Remember one direction between two targets; None where only small tensors were measured."""
        figures = {} if second_per_byte is None else {"second_per_byte": second_per_byte}
        self._cache.put(self._pair(source, to), _LINK, {"latency": latency, **figures})

    def save(self) -> None:
        """Merge what is new into the file."""
        self._cache.save()

    def _pair(self, source: tuple[Backend, Target], to: tuple[Backend, Target]) -> str:
        return f"{self.device(*source).context} → {self.device(*to).context}"


def _context(backend: Backend, target: Target, threads: int) -> str:
    here = backend.probe(target)
    tools = ", ".join(f"{name} {version}" for name, version in sorted(here.toolchain.items()))
    device = here.devices[0] if here.devices else "no device"
    return f"{target} {backend.info.version} on {device} [{tools}], {threads or 'default'} threads"


def _link(figures: Mapping[str, float], source: tuple[Backend, Target], to: tuple[Backend, Target]) -> Link:
    per_byte = figures.get("second_per_byte")
    if per_byte is None:
        bandwidth = min(backend.capabilities(target).bandwidth for backend, target in (source, to))
        return Link(figures["latency"], bandwidth, Basis.MEASURED, bandwidth_basis=Basis.ANALYTIC)
    return Link(figures["latency"], min(1 / per_byte, _FASTEST_LINK) if per_byte > 0 else _FASTEST_LINK)


def _part_signature(units: Sequence[Unit]) -> str:
    text = "\n".join(map(unit_signature, units))
    return f"{len(units)} units {hashlib.sha256(text.encode()).hexdigest()}"
