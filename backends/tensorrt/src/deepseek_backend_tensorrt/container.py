"""The artifact: an engine in a frame, with what must be known before TensorRT is given it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepseek_core import Frame, TensorInfo

__all__ = ["FORMAT", "Container"]

FORMAT = "tensorrt"
_FRAME = Frame(b"DTRT", 1, "TensorRT artifact")


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
        return _FRAME.pack(listing, (self.engine,))

    @classmethod
    def decode(cls, data: bytes) -> Container:
        """Read a container.

        Raises:
            PackageError: it is none, damaged, or of another format version.
        """
        return _FRAME.unpack(data, cls._of)

    @classmethod
    def _of(cls, listing: Mapping[str, Any], sections: list[bytes]) -> Container:
        (engine,) = sections
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
