"""Fast assignment of large graphs: coarsen, move, refine.

A labelling is improved in V-cycles: neighbours with one label are merged along heavy edges (heavy-edge matching,
Karypis and Kumar, SIAM J. Sci. Comput. 20(1), 1998) into fewer and fewer clusters, then clusters of every level,
coarsest first, move to better labels. As only equals are merged, every cycle starts from the labelling it had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.forest import Forest
from deepseek_core.partition.optimize.labelling import Labelling

__all__ = ["improve", "starts"]

Labels = NDArray[np.int64]

_COARSEST = 8


def starts(problem: Labelling) -> list[Labels]:
    """Labellings to begin with: the forest's best, everything on one label where allowed, each unit's cheapest."""
    _, forest = Forest.of(problem).solve()
    cheapest = problem.unary.argmin(axis=1)
    single = []
    for label in range(problem.unary.shape[1]):
        single.append(np.where(np.isfinite(problem.unary[:, label]), label, cheapest))
    return [forest, cheapest, *single]


def improve(problem: Labelling, labels: Labels, cycles: int = 2) -> Labels:
    """V-cycles until one brings nothing."""
    best = problem.descend(labels)
    value = problem.energy(best)
    for cycle in range(cycles):
        found = _cycle(problem, best, np.random.default_rng(cycle))
        energy = problem.energy(found)
        if energy >= value * (1 - 1e-12):
            break
        best, value = found, energy
    return best


def _cycle(problem: Labelling, labels: Labels, rng: np.random.Generator) -> Labels:
    levels = []
    while len(problem.unary) > _COARSEST:
        cluster = _match(problem, labels, rng)
        count = int(cluster.max()) + 1
        if count > 0.95 * len(cluster):
            break
        levels.append((problem, cluster))
        merged = np.zeros(count, np.int64)
        merged[cluster] = labels
        problem, labels = problem.contract(cluster), merged
    labels = problem.descend(labels)
    for finer, cluster in reversed(levels):
        labels = finer.descend(labels[cluster])
    return labels


def _match(problem: Labelling, labels: Labels, rng: np.random.Generator) -> Labels:
    """Cluster numbers: each unit alone or with one neighbour of its label, heavy edges first."""
    tensors = problem.tensors
    equal = np.flatnonzero(labels[tensors.source] == labels[tensors.reader])
    weight = problem.weight.sum(axis=(1, 2)) / np.diff(tensors.start)
    heavy = weight[tensors.tensor[equal]] * rng.uniform(0.5, 1.0, len(equal))
    order = equal[np.argsort(-heavy, kind="stable")]
    mate = list(range(len(labels)))
    for one, other in zip(tensors.source[order].tolist(), tensors.reader[order].tolist(), strict=True):
        if mate[one] == one and mate[other] == other:
            mate[other] = one
            mate[one] = -1
    leader = np.array(mate)
    leader[leader < 0] = np.flatnonzero(leader < 0)
    return np.unique(leader, return_inverse=True)[1].astype(np.int64)
