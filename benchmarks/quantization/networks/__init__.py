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
from quantization.networks.silero_vad import SileroVad
from quantization.networks.smollm2 import SmolLM2

__all__ = ["NETWORKS", "prepared"]

NETWORKS: dict[str, type[Network]] = {
    kind.name: kind
    for kind in (EfficientNetLite0, MiniLM, SmolLM2, SileroVad, OcrDetector, OcrRecogniser, Mnist, MovieLens)
}


def prepared(network: Network) -> Prepared:
    """The network on disk, prepared where that is missing or its code has changed."""
    own = Path(inspect.getfile(type(network)))
    files = [own, *(own.with_name(f"{module}.py") for module in network.helpers)]
    key = digest([], code(files), network.source()) if network.source() else code(files)
    folder = root() / "networks" / f"{network.name}-{key[:8]}"
    return Prepared.of(build(folder, network.prepare))
