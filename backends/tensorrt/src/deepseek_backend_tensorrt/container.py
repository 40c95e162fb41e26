"""The artifact: an engine with what must be known before TensorRT is given it. Plain data; nothing is unpickled.

offset  size  field
0       4     magic "DTRT"
4       4     format version, little-endian like every number here
8       8     bytes of the listing
16      4     CRC-32 of all that follows
20      …     the listing: UTF-8 JSON
…       …     the engine
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepseek_core import TensorInfo
from deepseek_core.errors import PackageError

__all__ = ["FORMAT", "Container"]

FORMAT = "tensorrt"
VERSION = 1
_HEADER = struct.Struct("<4sIQI")
_MAGIC = b"DTRT"
_FIX = "compile the model again"


@dataclass(frozen=True, slots=True)
class Container:
    """One part, ready to be opened.

    Attributes:
        device: the architecture, as targets write it.
        product: `tensorrt` or `rtx`.
        version: of the product that built it.
        version_compatible: later versions of the generation run it too.
        driver: CUDA version that the builder's machine had; None where it had no driver.
        inputs, outputs: what the part takes and gives, with the model's own types.
        engine: the bytes for TensorRT.
        layers: layers of the engine: name, kind, types at its border, ONNX nodes.
        run: options of the runtime: `lanes`, `graphs`.
    """

    device: str
    product: str
    version: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    engine: bytes
    version_compatible: bool = False
    driver: str | None = None
    layers: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The bytes that `decode` reads."""
        listing = {
            "device": self.device,
            "product": self.product,
            "version": self.version,
            "version_compatible": self.version_compatible,
            "driver": self.driver,
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "layers": [dict(layer) for layer in self.layers],
            "run": dict(self.run),
        }
        text = json.dumps(listing, separators=(",", ":"), sort_keys=True).encode()
        body = text + self.engine
        return _HEADER.pack(_MAGIC, VERSION, len(text), zlib.crc32(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> Container:
        """Read a container.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC:
            raise PackageError("not an engine of the tensorrt backend", fix=_FIX)
        _, version, size, checksum = _HEADER.unpack_from(data)
        if version != VERSION:
            raise PackageError(f"engine of format {version}, this backend reads {VERSION}", fix=_FIX)
        body = memoryview(data)[_HEADER.size :]
        if zlib.crc32(body) != checksum or size > len(body):
            raise PackageError("the engine is damaged (checksum differs)", fix=_FIX)
        try:
            return cls._of(json.loads(bytes(body[:size])), bytes(body[size:]))
        except (ValueError, KeyError, TypeError) as error:
            raise PackageError(f"the engine's listing is malformed ({error!r})", fix=_FIX) from None

    @classmethod
    def _of(cls, listing: dict[str, Any], engine: bytes) -> Container:
        return cls(
            str(listing["device"]),
            str(listing["product"]),
            str(listing["version"]),
            tuple(_info(entry) for entry in listing["inputs"]),
            tuple(_info(entry) for entry in listing["outputs"]),
            engine,
            bool(listing["version_compatible"]),
            listing["driver"],
            tuple(listing["layers"]),
            dict(listing["run"]),
        )


def _info(entry: dict[str, Any]) -> TensorInfo:
    return TensorInfo(entry["name"], entry["dtype"], tuple(entry["shape"]))
