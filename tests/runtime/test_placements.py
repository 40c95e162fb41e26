"""Any graph, placed in any way, run in any manner: the outputs of one part on one target."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_core.partition import PreferenceSolver
from deepseek_core.pipeline import compile
from deepseek_core.runtime import Session

UNARY, BINARY = ("Abs", "Erf", "Neg", "Floor"), ("Add", "Mul", "Sub")
TARGETS = ("a", "b", "c")
INPUTS = [{"x": np.array([[-1, 0.5, 2]], np.float32) * i, "z": np.array([[3, i, -i]], np.float32)} for i in range(4)]


@st.composite
def placed(draw):
    """Nodes (op, inputs, output), wanted outputs, and the target of each node."""
    nodes, values = [], ["x", "z"]
    for number in range(draw(st.integers(1, 8))):
        op = draw(st.sampled_from(UNARY + BINARY))
        count = 1 if op in UNARY else 2
        nodes.append((op, draw(st.lists(st.sampled_from(values), min_size=count, max_size=count)), f"v{number}"))
        values.append(f"v{number}")
    read = {name for _, names, _ in nodes for name in names}
    ends = [output for *_, output in nodes if output not in read]  # every node is needed
    more = draw(st.lists(st.sampled_from([name for name in values[2:] if name not in ends] or ends), unique=True))
    targets = draw(st.lists(st.sampled_from(TARGETS), min_size=len(nodes), max_size=len(nodes)))
    return nodes, list(dict.fromkeys(ends + more)), targets


class Losing:
    """Fails on every call from the n-th."""

    def __init__(self, executable, left):
        self._it, self._left = executable, left

    def __getattr__(self, name):
        return getattr(self._it, name)

    def run(self, feeds):
        if next(self._left, None) is None:
            raise ConnectionError("lost")
        return self._it.run(feeds)


@pytest.fixture
def packages(fake, registry_of, graph_of):
    """`packages(nodes, outputs, targets)`: fakes by name, registry, the package, and the outputs it must give."""

    def make(nodes, outputs, targets):
        fakes = {name: fake(name) for name in TARGETS}
        registry = registry_of(*fakes.values())
        model = graph_of(nodes, {"x": (1, 3), "z": (1, 3)}, outputs)
        pins = {node.name: target for node, target in zip(model.graph, targets, strict=True)}
        with Session(compile(model, ["a"], registry=registry), registry) as session:
            expected = [session.run(feeds) for feeds in INPUTS]
        return (
            fakes,
            registry,
            compile(model, TARGETS, registry=registry, solver=PreferenceSolver(), pins=pins),
            expected,
        )

    return make


def assert_same(found, expected):
    for outputs, want in zip(found, expected, strict=True):
        assert list(outputs) == list(want)
        for name, array in want.items():
            np.testing.assert_array_equal(outputs[name], array)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=placed(), depth=st.integers(1, 5))
def test_placements_compute_the_same(packages, made, depth):
    _, registry, package, expected = packages(*made)
    before = threading.active_count()
    with Session(package, registry) as session:
        assert_same([session.run(feeds) for feeds in INPUTS], expected)
        assert_same(session.stream(INPUTS, depth), expected)
    assert threading.active_count() == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=placed(), depth=st.integers(1, 5), data=st.data())
def test_losing_devices_changes_no_result(packages, made, depth, data):
    fakes, registry, package, expected = packages(*made)
    lost = data.draw(st.lists(st.sampled_from(TARGETS), max_size=2, unique=True))
    for name in lost:
        left = iter(range(data.draw(st.integers(0, 8))))
        fakes[name].wrap = lambda executable, left=left: Losing(executable, left)
    before = threading.active_count()
    with Session(package, registry, fallback=TARGETS) as session:
        assert_same(session.stream(INPUTS, depth), expected)
        assert_same([session.run(feeds) for feeds in INPUTS], expected)
        assert {record.lost.backend for record in session.fallbacks} <= set(lost)
        assert {name.split()[0] for name in session.devices}.isdisjoint(r.lost.backend for r in session.fallbacks)
        moved = {unit for record in session.fallbacks for unit in record.units}
        assert all(bool(part.moved) == bool(moved & set(part.units)) for part in session.describe())
    assert threading.active_count() == before
    assert all(executable.closed for fake in fakes.values() for executable in fake.opened)
