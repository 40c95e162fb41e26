"""Control flow whose course is known disappears; what it gives stays."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_core.passes import prepare
from deepseek_core.passes.branches import MergeBranches
from deepseek_core.passes.conditions import FoldConditions

X = {"x": np.array([-1, 2], np.float32)}

IF = """g (float[2] x) => (float[2] y) <bool t = {%d}, float[2] w = {3, 4}> {
  v = Neg(x)
  r = If (t) <
    then_branch = a () => (float[2] p) { q = Add(v, w) p = Relu(q) },
    else_branch = b () => (float[2] s) { s = Sub(v, w) }
  >
  y = Tanh(r)
}"""


@pytest.mark.parametrize(("condition", "left"), [(1, ["Neg", "Add", "Relu", "Tanh"]), (0, ["Neg", "Sub", "Tanh"])])
def test_a_constant_condition_leaves_its_branch(change, ops, condition, left):
    model = change(IF % condition, [FoldConditions()], X)
    assert ops(model) == left
    names = {value.name for node in model.graph for value in node.outputs}
    assert {"v", "r", "y"} <= names, "what others know by name keeps it"


def test_an_output_of_the_model_keeps_its_name(change, ops):
    text = """g (float[2] x) => (float[2] y, float[2] z) <bool t = {1}, float[2] w = {3, 4}> {
      y, z = If (t) <
        then_branch = a () => (float[2] p, float[2] q) { p = Add(x, w) q = Relu(p) },
        else_branch = b () => (float[2] r, float[2] s) { r = Neg(x) s = Abs(x) }
      >
    }"""
    model = change(text, [FoldConditions()], X)
    assert ops(model) == ["Add", "Relu"]
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


def test_conditions_inside_branches_are_folded_too(change, ops):
    text = """g (float[2] x, bool c) => (float[2] y) <bool f = {0}> {
      y = If (c) <
        then_branch = a () => (float[2] p) {
          p = If (f) <
            then_branch = d () => (float[2] u) { u = Neg(x) },
            else_branch = e () => (float[2] v) { w = Abs(x) v = Sqrt(w) }
          >
        },
        else_branch = b () => (float[2] s) { s = Relu(x) }
      >
    }"""
    feeds = [{**X, "c": np.array(c)} for c in (True, False)]
    assert ops(change(text, [FoldConditions()], *feeds)) == ["If", "Abs", "Sqrt", "Relu"]


LOOP = """g (float[2] x) => (float[2] y, float[N, 2] s) <int64 n = {%d}, bool t = {%d}> {
  y, s = Loop (n, t, x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] k, float[2] m) {
    d = Identity(c) k = Tanh(h) m = Neg(k)
  }>
}"""


@pytest.mark.parametrize(("trips", "condition"), [(0, 1), (-1, 1), (5, 0)])
def test_a_loop_without_trips_gives_what_it_starts_from(change, ops, trips, condition):
    model = change(LOOP % (trips, condition), [FoldConditions()], X)
    assert "Loop" not in ops(model)
    assert [value.name for value in model.graph.outputs] == ["y", "s"]


def test_a_loop_with_a_trip_stays(change, ops):
    assert ops(change(LOOP % (1, 1), [FoldConditions()], X)) == ["Loop", "Identity", "Tanh", "Neg"]


def test_a_loop_whose_empty_result_has_no_known_shape_stays(change, ops):
    text = (LOOP % (0, 1)).replace("float[2] m", "float[M] m").replace("float[2] h", "float[M] h")
    text = text.replace("float[2] k", "float[M] k").replace("float[2] x", "float[K] x").replace("[N, 2]", "[N, K]")
    assert "Loop" in ops(change(text, [FoldConditions()]))


SAME = """g (float[2] x, bool c) => (float[2] y) {
  y = If (c) <
    then_branch = a () => (float[2] p) <float[2] w = {1, 2}> { q = LeakyRelu <alpha = 0.1> (x) p = Add(q, w) },
    else_branch = b () => (float[2] s) <float[2] v = {%d, 2}> { r = LeakyRelu <alpha = %s> (x) s = Add(r, v) }
  >
}"""


def test_equal_branches_are_one(change, ops):
    feeds = [{**X, "c": np.array(c)} for c in (True, False)]
    assert ops(change(SAME % (1, "0.1"), [MergeBranches()], *feeds)) == ["LeakyRelu", "Add"]
    assert ops(change(SAME % (2, "0.1"), [MergeBranches()], *feeds))[0] == "If"
    assert ops(change(SAME % (1, "0.2"), [MergeBranches()], *feeds))[0] == "If"


def test_branches_that_draw_random_numbers_differ(change, ops):
    text = """g (float[2] x, bool c) => (float[2] y) {
      y = If (c) <
        then_branch = a () => (float[2] p) { q = RandomNormal <shape = [2]> () p = Add(x, q) },
        else_branch = b () => (float[2] s) { r = RandomNormal <shape = [2]> () s = Add(x, r) }
      >
    }"""
    assert ops(change(text, [MergeBranches()]))[0] == "If"


def test_a_condition_that_shapes_decide_is_folded_by_preparing(change, ops):
    """`if x.shape[1] == 4`: the exporter could not know, the file does."""
    text = """g (float[2, 4] x) => (float[2, 4] y) <int64 four = {4}, int64 one = {1}> {
      shape = Shape(x)
      size = Gather(shape, one)
      c = Equal(size, four)
      y = If (c) <
        then_branch = a () => (float[2, 4] p) { p = Relu(x) },
        else_branch = b () => (float[2, 4] s) { s = Neg(x) }
      >
    }"""
    assert ops(change(text, prepare, {"x": np.ones((2, 4), np.float32)})) == ["Relu"]
