"""Merging on random graphs: exact cover, order, convexity, groups kept, nothing left to join."""

import random
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_core.partition.graph import UnitGraph
from deepseek_core.partition.merge import contract, merge


def graph_of(successors):
    """A UnitGraph's edges without its model."""
    graph = object.__new__(UnitGraph)
    graph.units = tuple(SimpleNamespace(name=str(i)) for i in range(len(successors)))
    before = [set() for _ in successors]
    for node, after in enumerate(successors):
        for follower in after:
            before[follower].add(node)
    graph.__dict__["successors"] = tuple(map(frozenset, successors))
    graph.__dict__["predecessors"] = tuple(map(frozenset, before))
    return graph


@st.composite
def dags(draw, largest=14):
    size = draw(st.integers(0, largest))
    density = draw(st.sampled_from([0.1, 0.25, 0.5]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    return [{j for j in range(i + 1, size) if rng.random() < density} for i in range(size)], rng


def edges_between(parts, successors):
    home = {unit: number for number, part in enumerate(parts) for unit in part}
    return {(home[i], home[j]) for i, after in enumerate(successors) for j in after if home[i] != home[j]}


def has_cycle(count, edges):
    left = set(range(count))
    while left:
        free = {n for n in left if not any(b == n and a in left for a, b in edges)}
        if not free:
            return True
        left -= free
    return False


@settings(max_examples=400, deadline=None)
@given(dags(), st.integers(1, 3))
def test_parts(dag, colors):
    successors, rng = dag
    assignment = [rng.randrange(colors) for _ in successors]
    parts = merge(graph_of(successors), assignment)
    assert sorted(unit for part in parts for unit in part) == list(range(len(successors)))
    assert all(len({assignment[unit] for unit in part}) == 1 for part in parts)
    edges = edges_between(parts, successors)
    assert all(before < after for before, after in edges)
    for a in range(len(parts)):
        for b in range(a + 1, len(parts)):
            if assignment[parts[a][0]] == assignment[parts[b][0]]:
                joined = {(x if x != b else a, y if y != b else a) for x, y in edges} - {(a, a)}
                assert has_cycle(len(parts), joined), f"{parts[a]} and {parts[b]} could be joined"


@settings(max_examples=300, deadline=None)
@given(dags())
def test_groups_stay_together(dag):
    successors, rng = dag
    graph = graph_of(successors)
    assignment = [rng.randrange(2) for _ in successors]
    groups = []
    for _ in range(3):
        group = [u for u in range(len(successors)) if assignment[u] == 0 and rng.random() < 0.4]
        if len(group) > 1 and not set(group) & {u for g in groups for u in g} and contract(graph, [*groups, group]):
            groups.append(group)
    parts = merge(graph, assignment, groups)
    assert sorted(unit for part in parts for unit in part) == list(range(len(successors)))
    assert all(any(set(group) <= set(part) for part in parts) for group in groups)
    assert all(before < after for before, after in edges_between(parts, successors))


@settings(max_examples=300, deadline=None)
@given(dags(), st.data())
def test_convexity_agrees_with_contraction(dag, data):
    """A set is convex exactly when contracting it leaves no cycle."""
    successors, _ = dag
    graph = graph_of(successors)
    members = data.draw(st.sets(st.integers(0, max(len(successors) - 1, 0)), min_size=0)) if successors else set()
    assert graph.is_convex(members) == (contract(graph, [sorted(members)] if members else []) is not None)


def test_long_alternation_is_quick():
    """A chain that changes target at every unit cannot be joined at all."""
    successors = [{i + 1} if i < 2999 else set() for i in range(3000)]
    assert len(merge(graph_of(successors), [i % 2 for i in range(3000)])) == 3000
