"""Join units of one target into few convex parts that no cycle runs through.

Two steps. A sweep cuts a topological order into runs: it stays on one target while any unit of it is ready, so
each run depends on earlier ones only. Then two runs of one target are joined while no path leads from one to the
other through a third: contracting such a pair of an acyclic graph leaves it acyclic, and a part convex.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence

from deepseek_core.partition.graph import UnitGraph, bits, strict_descendants

__all__ = ["contract", "merge"]

Edges = tuple[frozenset[int], ...]


def merge(
    graph: UnitGraph, assignment: Sequence[Hashable], groups: Iterable[Sequence[int]] = ()
) -> list[tuple[int, ...]]:
    """Parts in execution order, each the sorted positions of its units.

    Args:
        assignment: per unit, the target that runs it.
        groups: disjoint sets of units, each on one target, that must stay together; contracting them all must
            leave the graph acyclic (see `contract`).

    No two parts of one target that are returned could be joined without a cycle.
    """
    contracted = contract(graph, groups)
    if contracted is None:
        raise ValueError("groups that must stay together depend on each other in a circle")
    clusters, after = contracted
    targets = [assignment[members[0]] for members in clusters]
    choices = [_join(*_sweep(after, targets, first), targets) for first in dict.fromkeys(targets)]
    best = min(choices, key=len, default=[])
    return [tuple(sorted(unit for cluster in part for unit in clusters[cluster])) for part in best]


def contract(graph: UnitGraph, groups: Iterable[Sequence[int]]) -> tuple[list[tuple[int, ...]], Edges] | None:
    """The graph with each group as one node, in topological order; None when a cycle runs through the groups.

    Returns:
        The units of each node, and the nodes that follow each node.
    """
    clusters = [tuple(sorted(group)) for group in groups]
    grouped = {unit for cluster in clusters for unit in cluster}
    clusters += [(unit,) for unit in range(len(graph.units)) if unit not in grouped]
    clusters.sort()
    home = {unit: position for position, cluster in enumerate(clusters) for unit in cluster}
    after = tuple(
        frozenset(home[s] for unit in cluster for s in graph.successors[unit]) - {position}
        for position, cluster in enumerate(clusters)
    )
    order = _topological(after)
    if len(order) < len(clusters):
        return None
    return [clusters[old] for old in order], _renumbered(after, order)


def _topological(after: Edges) -> list[int]:
    """Order of the nodes, the lowest first among those that are ready; nodes on a cycle are left out."""
    waiting = _indegrees(after)
    ready = [node for node, count in enumerate(waiting) if not count]
    order = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for follower in after[node]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    return order


def _sweep(after: Edges, targets: Sequence[Hashable], first: Hashable) -> tuple[list[list[int]], Edges]:
    """Runs of nodes on one target, each as long as it can be, and the runs that follow each run."""
    waiting = _indegrees(after)
    ready: dict[Hashable, list[int]] = {}
    for node, count in enumerate(waiting):
        if not count:
            ready.setdefault(targets[node], []).append(node)
    runs: list[list[int]] = []
    current = first
    while any(ready.values()):
        if not ready.get(current):
            current = max(ready, key=lambda target: len(ready[target]))
        run: list[int] = []
        queue = ready[current]
        while queue:
            node = queue.pop()
            run.append(node)
            for follower in after[node]:
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.setdefault(targets[follower], []).append(follower)
        runs.append(run)
    home = {node: position for position, run in enumerate(runs) for node in run}
    edges = tuple(frozenset(home[f] for node in run for f in after[node]) - {i} for i, run in enumerate(runs))
    return runs, edges


def _join(runs: list[list[int]], after: Edges, targets: Sequence[Hashable]) -> list[list[int]]:
    """Join runs of one target while that makes no cycle; `runs` come and leave in topological order."""
    while (pair := _joinable(runs, after, targets)) is not None:
        keep, gone = pair
        runs[keep] += runs[gone]
        del runs[gone]
        moved = [i if i < gone else keep if i == gone else i - 1 for i in range(len(runs) + 1)]
        edges = [{moved[f] for f in followers} for followers in after]
        edges[keep] |= edges.pop(gone)
        after = tuple(frozenset(e - {i}) for i, e in enumerate(edges))
        order = _topological(after)
        runs, after = [runs[old] for old in order], _renumbered(after, order)
    return runs


def _joinable(runs: list[list[int]], after: Edges, targets: Sequence[Hashable]) -> tuple[int, int] | None:
    reach = strict_descendants(after)
    same: dict[Hashable, int] = {}
    for node in range(len(runs) - 1, -1, -1):
        target = targets[runs[node][0]]
        beyond = 0  # what a path of two or more edges leads to
        for follower in after[node]:
            beyond |= reach[follower]
        for other in bits(same.get(target, 0) & ~beyond):
            return node, other
        same[target] = same.get(target, 0) | 1 << node
    return None


def _renumbered(after: Edges, order: Sequence[int]) -> Edges:
    new: Mapping[int, int] = {old: position for position, old in enumerate(order)}
    return tuple(frozenset(new[f] for f in after[old]) for old in order)


def _indegrees(after: Edges) -> list[int]:
    counts = [0] * len(after)
    for followers in after:
        for follower in followers:
            counts[follower] += 1
    return counts
