"""One judge for every quantized network: what it answers, compared with what the float network answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantization.cache import build, root
from quantization.metrics import sqnr
from quantization.networks.base import Answers, Array, Network, Prepared, load_arrays
from quantization.session import runner

__all__ = ["Verdict", "exact", "judge"]

Verdict = dict[str, Any]
"""`scores`, a value for each of the network's metrics; `agreement` with fp32 in 0 … 1; `sqnr` in dB."""


def exact(network: Network, prepared: Prepared) -> Answers:
    """What the float network answers, kept in the cache."""

    def make(folder: Path) -> None:
        answers = network.answers(runner(prepared.model), prepared.feeds())
        np.savez(folder / "answers.npz", **{f"{i:05}": answer for i, answer in enumerate(answers)})  # type: ignore[arg-type]

    folder = build(root() / "answers" / f"{network.name}-{prepared.task}", make)
    arrays = load_arrays(folder / "answers.npz")
    return [arrays[name] for name in sorted(arrays)]


def judge(network: Network, prepared: Prepared, model: Path) -> Verdict:
    """The scores of the ONNX file `model`, and how near to the float network it stays.

    Raises:
        Exception: whatever ONNX Runtime says about a model that it cannot run.
        ValueError: an answer is not finite, or of another shape than the float network's.
    """
    want = exact(network, prepared)
    got = network.answers(runner(model), prepared.feeds())
    if not all(np.isfinite(answer).all() for answer in got):
        raise ValueError("the outputs are not finite")
    truth: Mapping[str, Array] = prepared.labels()
    noise = sqnr(network.signal(want), network.signal(got))
    return {"scores": list(network.scores(got, truth)), "agreement": network.agreement(want, got), "sqnr": noise}
