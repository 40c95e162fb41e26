"""Plans: which kernels, where tensors lie, what borders and loops mean."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.lowering.borders import Borders
from deepseek_backend_rocm.lowering.emitter import loops
from deepseek_backend_rocm.lowering.weights import DEPTHS, padded_depth
from deepseek_backend_rocm.lowering.windows import Window
from deepseek_backend_rocm.plan.memory import plan_memory
from deepseek_backend_rocm.plan.steps import Buffer, Place, Step
from deepseek_backend_rocm.program import ALIGNMENT


def test_the_small_network_becomes_these_kernels(network) -> None:
    plan = lower(network)
    kernels = [step.kernel for step in plan.steps]
    assert kernels == ["quantize", "copy", "conv", "depthwise", "conv", "pool", "lookup", "conv"]
    modes = [step.constants["MODE"] for step in plan.steps if step.kernel == "conv"]
    assert modes == [2, 0, 0]
    adding = plan.steps[4]
    assert adding.constants["ADD"] is True
    assert adding.memory["addend"] is plan.steps[2].memory["y"]
    assert plan.steps[-1].constants["REAL"] is True


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=14))
def test_no_two_buffers_that_live_together_overlap(pieces) -> None:
    buffers = [Buffer(size) for size, _, _ in pieces]
    lives = [(min(a, b), max(a, b)) for _, a, b in pieces]
    steps = [
        Step("fill", {f"b{i}": b for i, b in enumerate(buffers) if lives[i][0] <= t <= lives[i][1]}, {})
        for t in range(9)
    ]
    arena, bound = plan_memory(steps, [], [Place("y", "int8", (buffers[0].bytes,), buffers[0])])
    lives[0] = (lives[0][0], 9)
    assert bound <= arena
    for i, one in enumerate(buffers):
        assert one.place % ALIGNMENT == 0
        assert one.place + one.bytes <= arena
        for j, other in enumerate(buffers[:i]):
            together = lives[i][0] <= lives[j][1] and lives[j][0] <= lives[i][1]
            apart = one.place + one.bytes <= other.place or other.place + other.bytes <= one.place
            assert apart or not together or 0 in (one.bytes, other.bytes)


_AXIS = st.tuples(*(st.integers(1, n) for n in (9, 4, 3, 3)), st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(_AXIS, _AXIS)
def test_positions_of_a_class_meet_the_same_taps(down, across) -> None:
    rows = [(size, k, s, d, b, e) for size, k, s, d, b, e in (down, across)]
    positions = tuple(max((size + b + e - (k - 1) * d - 1) // s + 1, 1) for size, k, s, d, b, e in rows)
    size, kernel, strides, dilations, begin, end = zip(*rows, strict=True)
    window = Window(size, positions, kernel, strides, dilations, begin, end)
    borders = Borders.of(window)
    for y, x in itertools.product(*map(range, positions)):
        kind = borders.classes[y] * borders.columns + borders.classes[positions[0] + x]
        for tap, (r, s) in enumerate(itertools.product(*map(range, kernel))):
            at = (y * strides[0] - begin[0] + r * dilations[0], x * strides[1] - begin[1] + s * dilations[1])
            inside = all(0 <= place < limit for place, limit in zip(at, size, strict=True))
            assert borders.inside[kind, tap] == inside


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.randoms())
def test_loops_visit_every_element_once(dims, random) -> None:
    """The kernels' own arithmetic, in Python, over a tensor and a permutation of its axes."""
    order = list(range(len(dims)))
    random.shuffle(order)
    shuffled = np.arange(np.prod(dims)).reshape(dims).transpose(order)
    strides = [stride // 8 for stride in shuffled.strides]
    values, rank = loops(shuffled.shape, x=strides)
    assert rank in (1, 3, 6)
    sizes = [1] * 6
    inner = [values[f"d{axis}"] for axis in range(1, rank)]
    sizes[:rank] = [values["count"] // int(np.prod(inner)), *inner]
    grid = np.indices(sizes[:rank]).reshape(rank, -1)
    places = sum(grid[axis] * values[f"x{axis}"] for axis in range(rank))
    np.testing.assert_array_equal(places, shuffled.reshape(-1))


@given(st.integers(1, 5000))
def test_rows_of_weights_are_padded_to_what_kernels_take(products) -> None:
    depth = padded_depth(products)
    assert products <= depth < products + DEPTHS[-1]
    assert any(depth % step == 0 for step in DEPTHS)
