"""Channels whose factors are chosen together: those that meet in a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.quantization.scaling.sweep import Freedom, Touch
from deepseek.quantization.scaling.variables import Ids

__all__ = ["Group", "groups"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One choice to make.

    Attributes:
        variables: intp [V], the variables of the group, ascending.
        values: value name → its variables as positions in `variables`; -1 where the factor is 1.
        makers: constants that are multiplied, with ids likewise.
        readers: constants that are divided, with ids likewise.
    """

    variables: Ids
    values: dict[str, Ids]
    makers: tuple[Touch, ...]
    readers: tuple[Touch, ...]

    def expand(self, factors: NDArray[np.float64], ids: Ids) -> NDArray[np.float64]:
        """`factors` [V] at positions `ids`, 1 at -1."""
        return np.append(factors, 1.0)[ids]


def groups(found: Freedom) -> list[Group]:
    """Groups with both makers and readers, in the order of the graph."""
    owner = _owners(found)
    members: dict[int, list[str]] = {}
    for name, ids in found.ids.items():
        members.setdefault(owner[int(ids[ids > 0][0])], []).append(name)
    result = []
    for root, names in members.items():
        variables = np.unique(np.concatenate([found.ids[name].reshape(-1) for name in names]))
        variables = variables[variables > 0]
        touches = [t for t in found.touches if owner[int(t.ids[t.ids > 0][0])] == root]
        local = [Touch(t.node, t.position, _local(t.ids, variables), t.power) for t in touches]
        makers, readers = (tuple(t for t in local if t.power == power) for power in (+1, -1))
        if makers and readers:
            result.append(Group(variables, {n: _local(found.ids[n], variables) for n in names}, makers, readers))
    return result


def _owners(found: Freedom) -> NDArray[np.intp]:
    """Variable → the smallest variable of its group."""
    owner = np.arange(found.count)
    changed = True
    while changed:  # labels spread along chains of tensors; a handful of rounds
        changed = False
        for ids in _linked(found):
            least = owner[ids].min()
            if (owner[ids] != least).any():
                owner[ids], changed = least, True
    return owner


def _linked(found: Freedom) -> Iterator[Ids]:
    for ids in (*found.ids.values(), *(t.ids for t in found.touches)):
        yield np.unique(ids[ids > 0])


def _local(ids: Ids, variables: Ids) -> Ids:
    position = np.minimum(np.searchsorted(variables, ids), len(variables) - 1)
    return np.where(variables[position] == ids, position, -1)
