"""The artifact of an Ethos-U part, in a frame.

Sections: `payload` is the Ethos-U driver payload (see `payload`), `constants` the bytes of base address 0, `tosa` the
graph that both were compiled from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepseek_backend_npu.host import from_step, to_info, to_step
from deepseek_backend_npu.lowering.program import Border, HostStep
from deepseek_backend_npu.tosa.schema import DType
from deepseek_backend_npu.vela import Estimate, Placed
from deepseek_core import Frame, TensorInfo

__all__ = ["FORMAT", "Container"]

FORMAT = "ethos-u"
_FRAME = Frame(b"DSNP", 1, "NPU artifact")


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that running a part needs.

    Attributes:
        device: variant that it was compiled for, for example `ethos-u55-128`.
        tier: how it runs here: `emulated` or `reference`.
        inputs, outputs: of the part.
        before, after: the host's conversions at either border.
        feeds, results: tensors that host and NPU exchange.
        placed_feeds, placed_results: where they are in the NPU's memory.
        scratch, scratch_fast: bytes of base addresses 1 and 2.
        estimate: the compiler's figures; None where nothing runs on the NPU.
        payload, constants, tosa: the sections.
    """

    device: str
    tier: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    before: tuple[HostStep, ...] = ()
    after: tuple[HostStep, ...] = ()
    feeds: tuple[Border, ...] = ()
    results: tuple[Border, ...] = ()
    placed_feeds: tuple[Placed, ...] = ()
    placed_results: tuple[Placed, ...] = ()
    scratch: int = 0
    scratch_fast: int = 0
    estimate: Estimate | None = None
    payload: bytes = field(default=b"", repr=False)
    constants: bytes = field(default=b"", repr=False)
    tosa: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The bytes that `decode` reads; equal contents have equal bytes."""
        listing = {
            "device": self.device,
            "tier": self.tier,
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "before": [from_step(step) for step in self.before],
            "after": [from_step(step) for step in self.after],
            "feeds": [asdict(border) for border in self.feeds],
            "results": [asdict(border) for border in self.results],
            "placed_feeds": [asdict(placed) for placed in self.placed_feeds],
            "placed_results": [asdict(placed) for placed in self.placed_results],
            "scratch": self.scratch,
            "scratch_fast": self.scratch_fast,
            "estimate": None if self.estimate is None else asdict(self.estimate),
        }
        return _FRAME.pack(listing, (self.payload, self.constants, self.tosa))

    @classmethod
    def decode(cls, data: bytes) -> Container:
        """Read an artifact.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        return _FRAME.unpack(data, _from_listing)


def _from_listing(listing: Mapping[str, Any], sections: list[bytes]) -> Container:
    estimate, (payload, constants, tosa) = listing["estimate"], sections
    return Container(
        device=str(listing["device"]),
        tier=str(listing["tier"]),
        inputs=tuple(map(to_info, listing["inputs"])),
        outputs=tuple(map(to_info, listing["outputs"])),
        before=tuple(map(to_step, listing["before"])),
        after=tuple(map(to_step, listing["after"])),
        feeds=tuple(map(_to_border, listing["feeds"])),
        results=tuple(map(_to_border, listing["results"])),
        placed_feeds=tuple(Placed(**entry) for entry in listing["placed_feeds"]),
        placed_results=tuple(Placed(**entry) for entry in listing["placed_results"]),
        scratch=int(listing["scratch"]),
        scratch_fast=int(listing["scratch_fast"]),
        estimate=None if estimate is None else Estimate(**estimate),
        payload=payload,
        constants=constants,
        tosa=tosa,
    )


def _to_border(entry: Mapping[str, Any]) -> Border:
    return Border(entry["name"], DType(entry["dtype"]), tuple(entry["shape"]), tuple(entry["order"]))
