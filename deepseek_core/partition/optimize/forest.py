"""Dynamic programming over a forest of edges: a labelling to start from, and a lower bound.

Each tensor is stood for by the edge to one of its readers, which costs no more than the tensor. Of the edges into a
unit one is in the forest; the forest's best labelling is found exactly, from leaves to roots. The other edges are
decoupled with Lagrange multipliers, improved by subgradient steps of Polyak's length, as in dual decomposition for
graphical models (Komodakis, Paragios and Tziritas, IEEE TPAMI 33(3), 2011). Every step gives a valid bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.labelling import Labelling

__all__ = ["Forest"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_DEEPEST = 256
"""Trees are cut at this depth, so that a step is this many array operations; the dual mends the cuts."""


@dataclass(frozen=True, eq=False)
class Forest:
    """A labelling problem as a forest and the edges beside it.

    Attributes:
        problem: whose energy is bounded.
        tree: edges of the forest, as positions in `problem.tensors` (each tensor is one edge).
        rest: all other edges.
        head: int64 [tensors], the reader that stands for each tensor.
    """

    problem: Labelling
    tree: Labels
    rest: Labels
    head: Labels

    @classmethod
    def of(cls, problem: Labelling) -> Forest:
        """Take the heaviest edge into each unit."""
        tensors = problem.tensors
        if not len(tensors):
            none = np.zeros(0, np.int64)
            return cls(problem, none, none, none)
        incoming = np.bincount(tensors.reader, minlength=len(problem.unary))
        order = np.lexsort((incoming[tensors.reader], tensors.tensor))
        head = tensors.reader[order[tensors.start[:-1]]]
        weight = problem.weight.sum(axis=(1, 2))
        edges = np.lexsort((weight, head))
        tree = np.sort(edges[np.flatnonzero(np.diff(head[edges], append=-1))])
        tree = tree[_depths(tensors.producer[tree], head[tree], len(problem.unary))[head[tree]] % _DEEPEST != 0]
        rest = np.setdiff1d(np.arange(len(tensors)), tree)
        return cls(problem, tree, rest, head)

    @cached_property
    def _levels(self) -> list[Labels]:
        """Edges of the forest by the depth of their heads, roots first."""
        depth = _depths(self.problem.tensors.producer[self.tree], self.head[self.tree], len(self.problem.unary))
        depth = depth[self.head[self.tree]]
        order = np.argsort(depth, kind="stable")
        cuts = np.flatnonzero(np.diff(depth[order])) + 1
        return [self.tree[part] for part in np.split(order, cuts)] if order.size else []

    def solve(self, unary: Floats | None = None) -> tuple[float, Labels]:
        """The least energy over the forest's edges alone, and its labelling."""
        total = (self.problem.unary if unary is None else unary).copy()
        producer, choice = self.problem.tensors.producer, np.zeros((len(self.head), total.shape[1]), np.int64)
        for edges in reversed(self._levels):
            sums = self.problem.weight[edges] + total[self.head[edges], None, :]
            choice[edges] = sums.argmin(axis=2)
            np.add.at(total, producer[edges], sums.min(axis=2))
        labels = total.argmin(axis=1)
        roots = np.ones(len(total), bool)
        roots[self.head[self.tree]] = False
        for edges in self._levels:
            labels[self.head[edges]] = choice[edges, labels[producer[edges]]]
        return float(total[roots].min(axis=1).sum()), labels

    def bound(self, steps: int, known: float) -> float:
        """A lower bound on the least energy, after some subgradient steps; `known` is the energy of a labelling."""
        rest, problem = self.rest, self.problem
        ends = problem.tensors.producer[rest], self.head[rest]
        prices = [np.zeros((len(rest), problem.unary.shape[1])) for _ in ends]
        forbidden = [np.isinf(problem.unary[end]) for end in ends]
        best, patience, pace = 0.0, 0, 1.0
        for _ in range(max(steps, 1)):
            unary = problem.unary.copy()
            for end, price in zip(ends, prices, strict=True):
                np.subtract.at(unary, end, price)
            value, labels = self.solve(unary)
            apart, chosen = _cheapest(problem.weight[rest], prices, forbidden)
            value += apart
            if value > best:
                best, patience = value, 0
            else:
                patience += 1
                pace = pace / 2 if patience % 5 == 0 else pace
            if not self._step(labels, chosen, prices, pace * max(known - value, 0.0)):
                break
        return best

    def _step(self, labels: Labels, chosen: tuple[Labels, Labels], prices: list[Floats], gap: float) -> bool:
        """Move prices towards agreement; False when both sides agree already, or nothing is left to gain."""
        rows = np.arange(len(self.rest))
        ends = self.problem.tensors.producer[self.rest], self.head[self.rest]
        apart = [labels[end] != own for end, own in zip(ends, chosen, strict=True)]
        norm = 2.0 * sum(int(a.sum()) for a in apart)
        if not norm or gap <= 0:
            return False
        for end, own, price in zip(ends, chosen, prices, strict=True):
            np.add.at(price, (rows, own), gap / norm)
            np.add.at(price, (rows, labels[end]), -gap / norm)
        return True


def _cheapest(
    weight: Floats, prices: list[Floats], forbidden: list[NDArray[np.bool_]]
) -> tuple[float, tuple[Labels, Labels]]:
    """Every edge beside the forest on its own: the least sum, and the labels of its ends."""
    if not len(weight):
        return 0.0, (np.zeros(0, np.int64), np.zeros(0, np.int64))
    source, reader = (np.where(f, np.inf, p) for f, p in zip(forbidden, prices, strict=True))
    sums = (weight + source[:, :, None] + reader[:, None, :]).reshape(len(weight), -1)
    best, width = sums.argmin(axis=1), weight.shape[1]
    return float(sums.min(axis=1).sum()), (best // width, best % width)


def _depths(parent: Labels, child: Labels, size: int) -> Labels:
    """Depth of each node of a forest, by pointer doubling."""
    up = np.arange(size)
    up[child] = parent
    depth: Labels = (up != np.arange(size)).astype(np.int64)
    while True:
        further = depth[up]
        if not further.any():
            return depth
        depth = depth + further
        up = up[up]
