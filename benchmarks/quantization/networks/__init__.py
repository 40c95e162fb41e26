"""The networks that are judged, by name."""

from __future__ import annotations

import inspect
from pathlib import Path

from quantization.cache import build, code, digest, root
from quantization.networks.base import Network, Prepared
from quantization.networks.efficientnet_lite0 import EfficientNetLite0
from quantization.networks.minilm import MiniLM
from quantization.networks.mnist import Mnist
from quantization.networks.movielens import MovieLens
from quantization.networks.ocr_detector import OcrDetector
from quantization.networks.ocr_recogniser import OcrRecogniser
from quantization.networks.silero_vad import SileroVad, SileroVad16k
from quantization.networks.smollm2 import SmolLM2

__all__ = ["NETWORKS", "modules", "prepared"]

NETWORKS: dict[str, type[Network]] = {
    kind.name: kind
    for kind in (
        EfficientNetLite0,
        MiniLM,
        SmolLM2,
        SileroVad,
        SileroVad16k,
        OcrDetector,
        OcrRecogniser,
        Mnist,
        MovieLens,
    )
}


def modules(network: Network) -> list[Path]:
    """The code of a network: its file and the helpers that it names."""
    own = Path(inspect.getfile(type(network)))
    return [own, *(own.with_name(f"{module}.py") for module in network.helpers)]


def prepared(network: Network) -> Prepared:
    """The network on disk, prepared where that is missing or its code has changed."""
    own = code(modules(network))
    key = digest([], own, network.source()) if network.source() else own
    folder = root() / "networks" / f"{network.name}-{key[:8]}"
    return Prepared.of(build(folder, network.prepare))
