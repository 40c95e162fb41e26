"""What every trip computes alike is computed once; what may fail is not computed in vain."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_core.passes.hoist import HoistInvariants

X = np.random.default_rng(0).normal(size=(2, 2)).astype(np.float32)

LOOP = """g (float[2, 2] x, %s) => (float[2, 2] y) <float[2, 2] w = {1, 2, 3, 4}, bool t = {1}> {
  y = Loop (%s) <body = b (int64 i, bool c, float[2, 2] h) => (bool d, float[2, 2] k) <float[2] one = {1, 1}> {
    d = Identity(c)
    p = Transpose <perm = [1, 0]> (w)
    q = Add(p, one)
    r = MatMul(h, q)
    k = Tanh(r)
  }>
}"""


def positions(model):
    return [node.op_type for node in model.graph]


def test_constant_work_leaves_a_loop_even_if_it_may_make_no_trip(change):
    """Shapes are all known, so nothing of it can fail."""
    feeds = [{"x": X, "n": np.array(n)} for n in (0, 1, 3)]
    model = change(LOOP % ("int64 n", "n, t, x"), [HoistInvariants()], *feeds)
    assert positions(model) == ["Transpose", "Add", "Loop"]
    body = model.graph[2].attributes["body"].as_graph()
    assert [node.op_type for node in body] == ["Identity", "MatMul", "Tanh"]
    assert not body.initializers, "the constant that left the body is an initializer of the graph around it"


RESHAPE = """g (float[2, 2] x, int64[2] s, int64 n) => (float[2, 2] y) <int64 three = {3}, bool t = {1}> {
  y = Loop (%s, t, x) <body = b (int64 i, bool c, float[2, 2] h) => (bool d, float[2, 2] k) {
    d = Identity(c)
    r = Reshape(x, s)
    k = Add(h, r)
  }>
}"""


def test_what_may_fail_stays_in_a_loop_that_may_make_no_trip(change):
    good, bad = np.array([2, 2]), np.array([5, 5])
    feeds = [{"x": X, "s": good, "n": np.array(2)}, {"x": X, "s": bad, "n": np.array(0)}]
    assert positions(change(RESHAPE % "n", [HoistInvariants()], *feeds)) == ["Loop"]
    model = change(RESHAPE % "three", [HoistInvariants()], {"x": X, "s": good, "n": np.array(2)})
    assert positions(model) == ["Reshape", "Loop"]


@pytest.mark.parametrize(("divisor", "left"), [("float", ["Div", "Loop"]), ("int64", ["Loop"])])
def test_a_division_that_may_be_by_zero_stays(change, divisor, left):
    text = f"""g ({divisor}[2] x, {divisor}[2] s, int64 n) => ({divisor}[2] y) <bool t = {{1}}> {{
      y = Loop (n, t, x) <body = b (int64 i, bool c, {divisor}[2] h) => (bool d, {divisor}[2] k) {{
        d = Identity(c)
        r = Div(x, s)
        k = Add(h, r)
      }}>
    }}"""
    kind = {"float": np.float32, "int64": np.int64}[divisor]
    feed = {"x": np.array([4, 6], kind), "s": np.array([2, 3], kind), "n": np.array(2)}
    assert positions(change(text, [HoistInvariants()], feed)) == left


def test_work_leaves_nested_loops_as_far_as_it_can(change):
    text = """g (float[2] x) => (float[2] y) <int64 n = {2}, bool t = {1}> {
      y = Loop (n, t, x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] k) {
        d = Identity(c)
        k = Loop (n, t, h) <body = e (int64 j, bool f, float[2] l) => (bool m, float[2] o) {
          m = Identity(f)
          u = Exp(x)
          v = Neg(h)
          w = Add(u, v)
          o = Add(l, w)
        }>
      }>
    }"""
    model = change(text, [HoistInvariants()], {"x": np.array([0.5, -1], np.float32)})
    assert positions(model) == ["Exp", "Loop"]
    assert [node.op_type for node in model.graph[1].attributes["body"].as_graph()] == ["Identity", "Neg", "Add", "Loop"]


def test_scan_bodies_and_random_numbers(change):
    text = """g (float[2] x, float[3, 2] z) => (float[2] y, float[3, 2] s) {
      y, s = Scan <num_scan_inputs = 1, body = b (float[2] h, float[2] l) => (float[2] k, float[2] m) {
        u = Exp(x)
        r = RandomNormal <shape = [2]> ()
        o = Mul(r, r)
        v = Mul(l, u)
        k = Add(h, v)
        m = Sub(k, v)
      }> (x, z)
    }"""
    model = change(text, [HoistInvariants()], {"x": X[0], "z": np.ones((3, 2), np.float32)})
    assert positions(model) == ["Exp", "Scan"]
