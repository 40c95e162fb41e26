"""Assignment without parts: unit costs and transfers as arrays, local moves on all units at once.

The energy of a labelling is Σ unary[unit, label] + Σ over tensors t and labels e ≠ label of t's producer that some
reader of t has, of weight[t, label of the producer, e].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deepseek_core.partition.optimize.problem import PartitionProblem, Tensors

__all__ = ["Labelling"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_ROUNDS = 200


@dataclass(frozen=True, eq=False)
class Labelling:
    """The problem of choosing one label a unit.

    Attributes:
        unary: float64 [units, labels]; inf forbids.
        weight: float64 [tensors, labels, labels]; zero on the diagonal.
        tensors: who makes and reads what; its bytes are not used.
    """

    unary: Floats
    weight: Floats
    tensors: Tensors

    @classmethod
    def of(cls, problem: PartitionProblem, launch_share: float = 0.0, scale: Floats | None = None) -> Labelling:
        """The additive objective with launches charged to edges.

        Args:
            launch_share: how much of a launch is charged where a unit and the last unit it waits for differ. In a
                chain 1 is exact; where parallel branches share parts, less is.
            scale: float64 [devices], prices of a second on each device; default 1.
        """
        unary, weight = problem.allowed, problem.transfer
        if scale is not None:
            unary = unary * scale
        if launch_share:
            weight = weight + launch_share * _launches(problem)
        return cls(unary, weight, problem.tensors)

    @cached_property
    def _pins(self) -> tuple[Labels, Labels]:
        return self.tensors.tensor, self.tensors.reader

    def energy(self, labels: Labels) -> float:
        """Energy of a labelling."""
        present = self._counts(labels) > 0
        own = self.weight[np.arange(len(self.tensors)), labels[self.tensors.producer]]
        return float(self.unary[np.arange(len(labels)), labels].sum() + own[present].sum())

    def choices(self, labels: Labels) -> Floats:
        """float64 [units, labels]: energy that depends on a unit, for each label, all others kept."""
        tensor, reader = self._pins
        counts = self._counts(labels)
        given = np.einsum("tae,te->ta", self.weight, counts > 0)
        own = self.weight[np.arange(len(self.tensors)), labels[self.tensors.producer]]
        others = counts[tensor]
        others[np.arange(len(reader)), labels[reader]] -= 1
        taken = np.where(others == 0, own[tensor], 0.0)
        result = self.unary.copy()
        for label in range(result.shape[1]):
            result[:, label] += np.bincount(self.tensors.producer, given[:, label], len(result))
            result[:, label] += np.bincount(reader, taken[:, label], len(result))
        return result

    def descend(self, labels: Labels) -> Labels:
        """Move units while that lowers the energy, in each round some that share no tensor (so gains add up)."""
        labels = labels.copy()
        rows = np.arange(len(labels))
        for _ in range(_ROUNDS):
            choices = self.choices(labels)
            best = choices.argmin(axis=1)
            gain = choices[rows, labels] - choices[rows, best]
            movers = gain > 1e-12 * np.abs(choices[rows, best])
            if not movers.any():
                break
            chosen = self._independent(np.where(movers, gain, 0.0), movers)
            labels[chosen] = best[chosen]
        return labels

    def contract(self, cluster: Labels) -> Labelling:
        """The problem with the units of each cluster (numbered from 0) as one."""
        count, labels = int(cluster.max()) + 1, self.unary.shape[1]
        unary = np.zeros((count, labels))
        for label in range(labels):
            unary[:, label] = np.bincount(cluster, self.unary[:, label], count)
        tensor, reader = self._pins
        producer = cluster[self.tensors.producer]
        outside = producer[tensor] != cluster[reader]
        keys = np.unique(tensor[outside] * count + cluster[reader[outside]])
        kept, sizes = np.unique(keys // count, return_counts=True)
        start = np.concatenate(([0], np.cumsum(sizes)))
        tensors = Tensors(producer[kept], np.zeros(len(kept)), keys % count, start)
        return Labelling(unary, self.weight[kept], tensors)._joined()

    def _joined(self) -> Labelling:
        """Tensors with the same producer and the same only reader as one."""
        tensors, count = self.tensors, len(self.unary)
        single = np.diff(tensors.start) == 1
        key = tensors.producer[single] * count + tensors.reader[tensors.start[:-1][single]]
        if key.size < 2:
            return self
        pairs, home = np.unique(key, return_inverse=True)
        weight = np.zeros((len(pairs), *self.weight.shape[1:]))
        np.add.at(weight, home, self.weight[single])
        many = ~single
        sizes = np.concatenate((np.ones(len(pairs), np.int64), np.diff(tensors.start)[many]))
        joined = Tensors(
            np.concatenate((pairs // count, tensors.producer[many])),
            np.zeros(len(sizes)),
            np.concatenate((pairs % count, tensors.reader[many[tensors.tensor]])),
            np.concatenate(([0], np.cumsum(sizes))),
        )
        return Labelling(self.unary, np.concatenate((weight, self.weight[many])), joined)

    def _counts(self, labels: Labels) -> Labels:
        """int64 [tensors, labels]: readers of each tensor that have each label; the producer's own left in."""
        tensor, reader = self._pins
        width = self.unary.shape[1]
        flat = np.bincount(tensor * width + labels[reader], minlength=len(self.tensors) * width)
        return flat.reshape(len(self.tensors), width)

    def _independent(self, gain: Floats, movers: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Movers with the highest gain among all that share a tensor with them."""
        tensor, reader = self._pins
        rank = np.zeros(len(gain), np.int64)
        moving = np.flatnonzero(movers)
        rank[moving[np.argsort(gain[moving], kind="stable")]] = np.arange(1, len(moving) + 1)
        if not len(self.tensors):
            return movers
        highest = np.maximum(np.maximum.reduceat(rank[reader], self.tensors.start[:-1]), rank[self.tensors.producer])
        blocked = np.bincount(reader, highest[tensor] > rank[reader], len(gain)) > 0
        blocked |= np.bincount(self.tensors.producer, highest > rank[self.tensors.producer], len(gain)) > 0
        return movers & ~blocked


def _launches(problem: PartitionProblem) -> Floats:
    """float64 [tensors, devices, devices]: launches charged to the tensor that each unit waits for longest."""
    tensors, count = problem.tensors, len(problem.launch)
    depth = [0] * problem.size
    for unit, before in enumerate(problem.predecessors):
        if before:
            depth[unit] = 1 + max(depth[b] for b in before)
    depths = np.array(depth, np.int64)
    order = np.lexsort((depths[tensors.source], tensors.reader))
    last = order[np.flatnonzero(np.diff(tensors.reader[order], append=-1))]
    charged = np.bincount(tensors.tensor[last], minlength=len(tensors)) > 0
    weight = np.where(np.eye(count, dtype=bool), 0.0, problem.launch)
    return np.where(charged[:, None, None], weight, 0.0)
