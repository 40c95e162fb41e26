"""What it takes to move a tensor between targets: measured where somebody did, analytic elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from deepseek_core.cost import Basis, Cost
from deepseek_core.errors import ConfigError
from deepseek_core.target import Capabilities, Target

__all__ = ["Link", "TransferModel"]


@dataclass(frozen=True, slots=True)
class Link:
    """One direction between two targets: seconds = latency + bytes / bandwidth.

    Attributes:
        latency: seconds.
        bandwidth: bytes per second.
        basis: where the two figures come from.
        joule_per_byte: energy, zero where not known.
        bandwidth_basis: where the bandwidth comes from, if not from there.

    Raises:
        ConfigError: a figure is negative or not finite.
    """

    latency: float
    bandwidth: float
    basis: Basis = Basis.MEASURED
    joule_per_byte: float = 0.0
    bandwidth_basis: Basis | None = None

    def __post_init__(self) -> None:
        figures = (self.latency, self.bandwidth, self.joule_per_byte)
        if not (all(isfinite(figure) and figure >= 0 for figure in figures) and self.bandwidth > 0):
            raise ConfigError(
                f"a link of {self.latency} s and {self.bandwidth} bytes/s", fix="give finite, non-negative figures"
            )

    def cost(self, size: int) -> Cost:
        """Cost of one transfer of `size` bytes."""
        moving = Cost.of(size / self.bandwidth, self.bandwidth_basis or self.basis, bytes=size)
        waiting = Cost.of(self.latency, self.basis) if self.latency or self.bandwidth_basis else Cost(0.0)
        return replace(waiting + moving, joules=self.joule_per_byte * size)


@dataclass(frozen=True, slots=True)
class TransferModel:
    """Links between targets.

    Attributes:
        measured: by ordered pair. A pair that is missing takes the bandwidth of its slower side and no latency.
    """

    measured: Mapping[tuple[Target, Target], Link] = field(default_factory=dict)

    def link(self, source: Capabilities, to: Capabilities) -> Link:
        """The link from one target to another."""
        known = self.measured.get((source.target, to.target))
        return known or Link(0.0, min(source.bandwidth, to.bandwidth), Basis.ANALYTIC)
