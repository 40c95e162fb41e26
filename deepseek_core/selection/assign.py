"""The cheapest labelling of units when neighbours with different labels pay for the conversion between them."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from deepseek_core.errors import BackendError

__all__ = ["Border", "assign"]


@dataclass(frozen=True, slots=True)
class Border:
    """A tensor between two units and what it costs, in seconds, when their labels differ."""

    first: str
    second: str
    cost: float


def assign(
    costs: Mapping[str, Mapping[str, float]], borders: Iterable[Border], labels: tuple[str, str]
) -> dict[str, str]:
    """Label each unit so that the sum of unit costs and border costs is smallest.

    With two labels this is a minimum cut, so the answer is exact (Greig, Porteous and Seheult, 1989). On a tie the
    first label wins.

    Args:
        costs: unit → label → seconds; a label left out is impossible for that unit.
        borders: between units of `costs`.
        labels: the two labels.

    Returns:
        unit → label, in the order of `costs`.

    Raises:
        BackendError: a cost is negative or not finite, or a unit has neither label.
    """
    flow = _Flow()
    for unit, by_label in costs.items():
        if not any(label in by_label for label in labels):
            raise BackendError(f"'{unit}' has no kernel among {', '.join(labels)}", fix="give it a candidate")
        if_first, if_second = (_checked(by_label[x], unit) if x in by_label else math.inf for x in labels)
        flow.connect(_SOURCE, (unit,), if_second)
        flow.connect((unit,), _SINK, if_first)
    for border in borders:
        cost = _checked(border.cost, f"{border.first} → {border.second}")
        flow.connect((border.first,), (border.second,), cost)
        flow.connect((border.second,), (border.first,), cost)
    takes_second = flow.sink_side()
    return {unit: labels[(unit,) in takes_second] for unit in costs}


def _checked(cost: float, what: str) -> float:
    if not (math.isfinite(cost) and cost >= 0):
        raise BackendError(f"cost of '{what}' is {cost} s", fix="give finite, non-negative costs")
    return cost


_SOURCE, _SINK = "source", "sink"


class _Flow:
    """Maximum flow by blocking flows on level graphs (Dinic, 1970)."""

    def __init__(self) -> None:
        self._residual: dict[Hashable, dict[Hashable, float]] = {_SOURCE: {}, _SINK: {}}

    def connect(self, start: Hashable, end: Hashable, capacity: float) -> None:
        forward = self._residual.setdefault(start, {})
        forward[end] = forward.get(end, 0.0) + capacity
        self._residual.setdefault(end, {}).setdefault(start, 0.0)

    def sink_side(self) -> set[Hashable]:
        """Saturate the network; the nodes that can still reach the sink (the smallest such side)."""
        while _SINK in (levels := self._levels()):
            open_edges = {node: list(edges) for node, edges in self._residual.items()}
            while path := self._path(levels, open_edges):
                self._push(path)
        backwards: set[Hashable] = {_SINK}
        queue = deque(backwards)
        while queue:
            node = queue.popleft()
            found = {n for n in self._residual[node] if self._residual[n][node] > 0} - backwards
            backwards |= found
            queue.extend(found)
        return backwards

    def _levels(self) -> dict[Hashable, int]:
        levels: dict[Hashable, int] = {_SOURCE: 0}
        queue = deque(levels)
        while queue:
            node = queue.popleft()
            for neighbour, capacity in self._residual[node].items():
                if capacity > 0 and neighbour not in levels:
                    levels[neighbour] = levels[node] + 1
                    queue.append(neighbour)
        return levels

    def _path(self, levels: dict[Hashable, int], open_edges: dict[Hashable, list[Hashable]]) -> list[Hashable]:
        """A shortest path with capacity left; edges found dead are dropped for the rest of the phase."""
        path: list[Hashable] = [_SOURCE]
        while path and path[-1] != _SINK:
            node = path[-1]
            edges = open_edges[node]
            while edges:
                neighbour = edges[-1]
                if self._residual[node][neighbour] > 0 and levels.get(neighbour) == levels[node] + 1:
                    path.append(neighbour)
                    break
                edges.pop()
            else:
                path.pop()
                if path:
                    open_edges[path[-1]].pop()
        return path

    def _push(self, path: list[Hashable]) -> None:
        edges = list(itertools.pairwise(path))
        amount = min(self._residual[a][b] for a, b in edges)
        for a, b in edges:
            self._residual[a][b] -= amount
            self._residual[b][a] += amount
