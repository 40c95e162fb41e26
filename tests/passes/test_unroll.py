"""Short loops are written out; how many trips they make may follow from a counter."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from deepseek_core.ir.frontend import load_model
from deepseek_core.passes import UnrollLimits, prepare
from deepseek_core.passes.trips import trip_count
from deepseek_core.passes.unroll import UnrollLoops

X = {"x": np.array([0.3, -0.7], np.float32)}

COUNTED = """g (float[2] x) => (float[2] y, float[N, 2] s) <int64 n = {%d}> {
  y, s = Loop (n, , x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] k, float[2] m) {
    d = Identity(c)
    f = Cast <to = 1> (i)
    g = Add(h, f)
    k = Tanh(g)
    m = Neg(k)
  }>
}"""


def test_a_counted_loop_is_written_out(change, ops):
    model = change(COUNTED % 3, [UnrollLoops()], X)
    assert "Loop" not in ops(model)
    assert ops(model).count("Tanh") == 3
    assert ops(model)[-4:] == ["Unsqueeze", "Unsqueeze", "Unsqueeze", "Concat"]
    tanh = [node for node in model.graph if node.op_type == "Tanh"]
    assert [node.outputs[0].name for node in tanh] == ["k", "k_1", "y"]
    assert len({node.name for node in model.graph}) == len(model.graph)


@pytest.mark.parametrize(
    ("limits", "unrolled"), [((3, 15), True), ((2, 100), False), ((3, 14), False), ((0, 9), False)]
)
def test_limits(change, ops, limits, unrolled):
    model = change(COUNTED % 3, [UnrollLoops(UnrollLimits(*limits))], X)
    assert ("Loop" not in ops(model)) == unrolled


def test_preparing_folds_what_the_trip_numbers_decide(change, ops):
    """Each trip adds a constant number; the casts of the numbers are folded away."""
    assert "Cast" not in ops(change(COUNTED % 3, prepare, X))
    assert "Loop" in ops(change(COUNTED % 3, lambda model: prepare(model, UnrollLimits(trips=0)), X))


WHILE = """g (float[2] x) => (float[2] y) <bool t = {1}, int64 start = {%d}, int64 step = {%d}, int64 end = {5}> {
  last, y = Loop (, t, start, x) <body = b (int64 i, bool c, int64 a, float[2] h) => (bool d, int64 e, float[2] k) {
    e = Add(a, step)
    d = Less(e, end)
    k = Tanh(h)
  }>
}"""


def trips_of(text, limit=8):
    (loop,) = load_model(onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)).graph
    return trip_count(loop, limit, 21)


@pytest.mark.parametrize(("start", "step", "trips"), [(0, 1, 5), (0, 2, 3), (4, 1, 1), (9, 1, 1), (0, 0, None)])
def test_a_counter_tells_the_trips(change, ops, start, step, trips):
    """`while i < 5: i += step`, as exporters write it: the body runs, then says whether to go on."""
    assert trips_of(WHILE % (start, step)) == trips
    if trips is not None:
        assert ops(change(WHILE % (start, step), prepare, X)) == ["Tanh"] * trips


def test_the_trips_stop_counting_at_the_limit():
    assert trips_of(WHILE % (0, 1), limit=5) == 5
    assert trips_of(WHILE % (0, 1), limit=4) is None
    assert trips_of((WHILE % (0, 1)).replace("Loop (,", "Loop (start,").replace("start = {0}", "start = {3}")) == 2
    bounded = (WHILE % (0, 1)).replace("Loop (,", "Loop (step,")
    assert trips_of(bounded) == 1


def test_a_condition_on_data_is_not_counted(change, ops):
    text = """g (float[2] x) => (float[2] y) <bool t = {1}, float one = {1}> {
      y = Loop (, t, x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] k) {
        k = Mul(h, h)
        u = ReduceSum <keepdims = 0> (k)
        d = Greater(u, one)
      }>
    }"""
    assert trips_of(text) is None
    assert "Loop" in ops(change(text, prepare, {"x": np.array([0.9, 0.9], np.float32)}))


def test_a_loop_in_a_loop_and_a_branch_in_it(change, ops):
    text = """g (float[2] x, bool c) => (float[2] y) <int64 n = {2}> {
      y = Loop (n, , x) <body = b (int64 i, bool p, float[2] h) => (bool d, float[2] k) {
        d = Identity(p)
        q = If (c) <
          then_branch = t () => (float[2] u) { u = Tanh(h) },
          else_branch = e () => (float[2] v) { v = Neg(h) }
        >
        k = Loop (n, , q) <body = f (int64 j, bool r, float[2] l) => (bool s, float[2] o) {
          s = Identity(r)
          o = Add(l, h)
        }>
      }>
    }"""
    model = change(text, [UnrollLoops()], *({**X, "c": np.array(c)} for c in (True, False)))
    assert "Loop" not in ops(model)
    assert (ops(model).count("If"), ops(model).count("Add")) == (2, 4)


def test_carried_values_may_change_places(change, ops):
    """Each trip hands its second value to the first place, and what it was given to both."""
    text = """g (float[2] x, float[2] z) => (float[2] y, float[2] v) <int64 n = {3}> {
      y, v = Loop (n, , x, z) <body = b (int64 i, bool p, float[2] h, float[2] l) => (bool d, float[2] k, float[2] m) {
        d = Identity(p)
        k = Identity(l)
        m = Add(h, l)
      }>
    }"""
    assert "Loop" not in ops(change(text, prepare, {**X, "z": np.array([1, 2], np.float32)}))
