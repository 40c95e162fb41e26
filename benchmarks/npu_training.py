"""Networks of known shapes, trained here on handwritten digits, so that their ranges are those of trained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import architectures
from quantization.cache import build, code, root
from quantization.networks.export import export
from quantization.networks.mnist import digits

__all__ = ["NETWORKS", "Trained"]

TRAINING, SHOWN = 4000, 32
BATCH, RATE = 32, 2e-3
Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trained:
    """A network on disk.

    Attributes:
        model: ONNX file, input `x`.
        train, judged: images [n, C, H, W] that it was trained on, and others.
    """

    model: Path
    train: Images
    judged: Images


def _mobilenet() -> Trained:
    """MobileNetV2's layers at 96 × 96."""
    from torch import nn

    def network() -> nn.Sequential:
        (layers,) = (each.build() for each in architectures.ARCHITECTURES if each.name == "MobileNetV2")
        assert isinstance(layers, nn.Sequential)
        layers[-1] = nn.Linear(1280, 10)
        return layers

    def enlarged(images: Images) -> Images:
        wide = np.pad(images.repeat(3, 2).repeat(3, 3), ((0, 0), (0, 0), (6, 6), (6, 6)), constant_values=-1)
        return np.repeat(wide, 3, 1)

    return _trained("mobilenetv2-96", network, enlarged, epochs=1)


def _resnet8() -> Trained:
    """ResNet-8 of MLPerf Tiny (Banbury et al., 2021)."""
    from torch import nn

    def network() -> nn.Sequential:
        stem = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        blocks = [architectures.Residual(*sizes) for sizes in ((16, 16, 1), (16, 32, 2), (32, 64, 2))]
        return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    return _trained("resnet-8", network, lambda images: images, epochs=2)


NETWORKS: dict[str, Callable[[], Trained]] = {"mobilenet": _mobilenet, "resnet8": _resnet8}
"""Name → the network; trained with the first call, then kept."""


def _trained(name: str, network: Callable[[], Any], drawn: Callable[[Images], Images], *, epochs: int) -> Trained:
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    train, judged = order[:TRAINING], order[TRAINING:]

    def make(folder: Path) -> None:
        import torch

        trained = _fit(network(), images[train], labels[train], drawn, epochs=epochs)
        example = (torch.from_numpy(drawn(images[:1])),)
        export(trained, example, folder / "model.onnx", inputs=("x",), outputs=("logits",))

    key = code([Path(__file__), Path(architectures.__file__)])[:8]
    folder = build(root() / "networks" / f"{name}-{key}", make)
    return Trained(folder / "model.onnx", drawn(images[train[:SHOWN]]), drawn(images[judged[:SHOWN]]))


def _fit(
    network: Any, images: Images, labels: NDArray[np.int64], drawn: Callable[[Images], Images], *, epochs: int
) -> Any:
    import torch
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the order of sums, and so the weights, must not depend on the machine's cores
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, epochs * -(-len(images) // BATCH))
    for _ in range(epochs):
        for rows in np.array_split(np.random.default_rng(0).permutation(len(images)), -(-len(images) // BATCH)):
            optimizer.zero_grad()
            logits = network.train()(torch.from_numpy(drawn(images[rows])))
            functional.cross_entropy(logits, torch.from_numpy(labels[rows])).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()
