"""The artifact of a Hexagon part, in a frame; its one section is ONNX with QNN's contexts as nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepseek_backend_npu.host import from_step, to_info, to_step
from deepseek_backend_npu.lowering.program import HostStep
from deepseek_core import Frame, TensorInfo

__all__ = ["FORMAT", "HexagonContainer"]

FORMAT = "hexagon"
_FRAME = Frame(b"DSHX", 1, "Hexagon artifact")


@dataclass(frozen=True, slots=True)
class HexagonContainer:
    """Everything that running a part needs.

    Attributes:
        device: version that it was prepared for, for example `hexagon-v73`.
        inputs, outputs: of the part.
        before, after: the host's conversions at either border.
        feeds, results: names of the context's inputs and outputs.
        context: ONNX; empty where nothing runs on the HTP.
    """

    device: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    before: tuple[HostStep, ...]
    after: tuple[HostStep, ...]
    feeds: tuple[str, ...]
    results: tuple[str, ...]
    context: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The bytes that `decode` reads; equal contents have equal bytes."""
        listing = {
            "device": self.device,
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "before": [from_step(step) for step in self.before],
            "after": [from_step(step) for step in self.after],
            "feeds": self.feeds,
            "results": self.results,
        }
        return _FRAME.pack(listing, (self.context,))

    @classmethod
    def decode(cls, data: bytes) -> HexagonContainer:
        """Read an artifact.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        return _FRAME.unpack(data, _from_listing)


def _from_listing(listing: Mapping[str, Any], sections: list[bytes]) -> HexagonContainer:
    (context,) = sections
    return HexagonContainer(
        device=str(listing["device"]),
        inputs=tuple(map(to_info, listing["inputs"])),
        outputs=tuple(map(to_info, listing["outputs"])),
        before=tuple(map(to_step, listing["before"])),
        after=tuple(map(to_step, listing["after"])),
        feeds=tuple(map(str, listing["feeds"])),
        results=tuple(map(str, listing["results"])),
        context=context,
    )
