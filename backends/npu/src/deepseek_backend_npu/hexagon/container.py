"""The artifact of a Hexagon part, framed as `framing` says; its one section is ONNX with QNN's contexts as nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepseek_backend_npu.framing import RECOMPILE, pack, to_info, unpack
from deepseek_backend_npu.host import from_step, to_step
from deepseek_backend_npu.lowering.program import HostStep
from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError

__all__ = ["FORMAT", "HexagonContainer"]

FORMAT = "hexagon"
_VERSION = 1
_MAGIC = b"DSHX"


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
        return pack(_MAGIC, _VERSION, listing, {"context": self.context})

    @classmethod
    def decode(cls, data: bytes) -> HexagonContainer:
        """Read an artifact.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        try:
            return _from_listing(*unpack(data, _MAGIC, _VERSION))
        except (ValueError, KeyError, TypeError) as error:
            raise PackageError(f"the NPU artifact is malformed ({error})", fix=RECOMPILE) from None


def _from_listing(listing: Mapping[str, Any], sections: Mapping[str, bytes]) -> HexagonContainer:
    return HexagonContainer(
        device=str(listing["device"]),
        inputs=tuple(map(to_info, listing["inputs"])),
        outputs=tuple(map(to_info, listing["outputs"])),
        before=tuple(map(to_step, listing["before"])),
        after=tuple(map(to_step, listing["after"])),
        feeds=tuple(map(str, listing["feeds"])),
        results=tuple(map(str, listing["results"])),
        context=sections["context"],
    )
