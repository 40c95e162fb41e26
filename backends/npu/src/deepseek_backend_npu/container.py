"""The artifact: a listing, and the sections it names.

    offset  size  field
    0       4     magic "DSNP"
    4       4     format version, little-endian like every number here
    8       4     bytes of the listing
    12      4     CRC-32 of all that follows
    16      …     the listing: UTF-8 JSON
    …       …     the sections, each at a multiple of 16

Sections: `payload` is the Ethos-U driver payload (see `payload`), `constants` the bytes of base address 0, `tosa` the
graph that both were compiled from. Plain data throughout: nothing is executed or unpickled.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from deepseek_backend_npu.lowering.program import Border, HostStep
from deepseek_backend_npu.tosa.schema import DType
from deepseek_backend_npu.vela import Estimate, Placed
from deepseek_core import DType as ElementType
from deepseek_core import Granularity, QParams, QuantScheme, TensorInfo
from deepseek_core.errors import PackageError

__all__ = ["FORMAT", "Container"]

FORMAT = "ethos-u"
VERSION = 1
_HEADER = struct.Struct("<4sIII")
_MAGIC = b"DSNP"
_ALIGNMENT = 16
_RECOMPILE = "compile the model again"


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
        sections = {"payload": self.payload, "constants": self.constants, "tosa": self.tosa}
        listing = {
            "device": self.device,
            "tier": self.tier,
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "before": [_from_step(step) for step in self.before],
            "after": [_from_step(step) for step in self.after],
            "feeds": [asdict(border) for border in self.feeds],
            "results": [asdict(border) for border in self.results],
            "placed_feeds": [asdict(placed) for placed in self.placed_feeds],
            "placed_results": [asdict(placed) for placed in self.placed_results],
            "scratch": self.scratch,
            "scratch_fast": self.scratch_fast,
            "estimate": None if self.estimate is None else asdict(self.estimate),
            "sections": {name: len(data) for name, data in sections.items()},
        }
        text = json.dumps(listing, separators=(",", ":")).encode()
        body = _padded(text) + b"".join(_padded(data) for data in sections.values())
        return _HEADER.pack(_MAGIC, VERSION, len(text), zlib.crc32(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> Container:
        """Read an artifact.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise PackageError("not an artifact of the npu backend", fix=_RECOMPILE)
        _, version, size, checksum = _HEADER.unpack_from(data)
        if version != VERSION:
            raise PackageError(f"NPU artifact of format {version}, this backend reads {VERSION}", fix=_RECOMPILE)
        body = data[_HEADER.size :]
        if zlib.crc32(body) != checksum or size > len(body):
            raise PackageError("the NPU artifact is damaged (checksum differs)", fix=_RECOMPILE)
        try:
            return _from_listing(json.loads(body[:size]), body, size)
        except (ValueError, KeyError, TypeError) as error:
            raise PackageError(f"the NPU artifact is malformed ({error})", fix=_RECOMPILE) from None


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def _from_listing(listing: dict[str, Any], body: bytes, offset: int) -> Container:
    sections = {}
    for name in ("payload", "constants", "tosa"):
        offset += -offset % _ALIGNMENT
        size = int(listing["sections"][name])
        sections[name] = body[offset : offset + size]
        if len(sections[name]) != size or size < 0:
            raise ValueError(f"section '{name}' is cut off")
        offset += size
    estimate = listing["estimate"]
    return Container(
        device=str(listing["device"]),
        tier=str(listing["tier"]),
        inputs=tuple(map(_to_info, listing["inputs"])),
        outputs=tuple(map(_to_info, listing["outputs"])),
        before=tuple(map(_to_step, listing["before"])),
        after=tuple(map(_to_step, listing["after"])),
        feeds=tuple(map(_to_border, listing["feeds"])),
        results=tuple(map(_to_border, listing["results"])),
        placed_feeds=tuple(Placed(**entry) for entry in listing["placed_feeds"]),
        placed_results=tuple(Placed(**entry) for entry in listing["placed_results"]),
        scratch=int(listing["scratch"]),
        scratch_fast=int(listing["scratch_fast"]),
        estimate=None if estimate is None else Estimate(**estimate),
        payload=sections["payload"],
        constants=sections["constants"],
        tosa=sections["tosa"],
    )


def _to_info(entry: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(entry["name"], entry["dtype"], None if entry["shape"] is None else tuple(entry["shape"]))


def _to_border(entry: Mapping[str, Any]) -> Border:
    return Border(entry["name"], DType(entry["dtype"]), tuple(entry["shape"]), tuple(entry["order"]))


def _from_step(step: HostStep) -> dict[str, Any]:
    scheme = step.qparams.scheme
    return {
        "quantizes": step.quantizes,
        "source": step.source,
        "result": step.result,
        "dtype": str(scheme.dtype),
        "granularity": str(scheme.granularity),
        "axis": scheme.axis,
        "block_size": scheme.block_size,
        "scale": step.qparams.scale.tolist(),
        "zero": step.qparams.zero_point.astype(np.int64).tolist(),
    }


def _to_step(entry: Mapping[str, Any]) -> HostStep:
    dtype = ElementType(entry["dtype"])
    scheme = QuantScheme(dtype, Granularity(entry["granularity"]), axis=entry["axis"], block_size=entry["block_size"])
    zero = np.array(entry["zero"]).astype(str(dtype))
    qparams = QParams(scheme, np.array(entry["scale"], np.float32), zero)
    return HostStep(bool(entry["quantizes"]), entry["source"], entry["result"], qparams)
