"""Bodies that give a constant, an input, or a sequence, and that bind nothing."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek_core.passes import prepare
from deepseek_core.passes.conditions import FoldConditions
from deepseek_core.passes.unroll import UnrollLoops

X = {"x": np.array([-1, 2], np.float32)}


@pytest.mark.parametrize("condition", [0, 1])
@pytest.mark.parametrize("steps", [[FoldConditions()], prepare], ids=["alone", "prepare"])
def test_a_branch_that_gives_a_constant(change, ops, condition, steps):
    text = f"""g (float[2] x) => (float[2] y, float[2] z) <bool t = {{{condition}}}> {{
      y, r = If (t) <
        then_branch = a () => (float[2] p, float[2] q) <float[2] p = {{1, 2}}> {{ q = Neg(x) }},
        else_branch = b () => (float[2] s, float[2] o) <float[2] o = {{3, 4}}> {{ s = Abs(x) }}
      >
      z = Tanh(r)
    }}"""
    model = change(text, steps, X)
    assert "If" not in ops(model)
    assert [value.name for value in model.graph.outputs] == ["y", "z"]


@pytest.mark.parametrize("steps", [[UnrollLoops()], prepare], ids=["alone", "prepare"])
def test_a_loop_whose_body_gives_constants_and_inputs(change, ops, steps):
    text = """g (float[2] x) => (float[2] y, float[2] z, float[N, 2] s, float[N, 2] o) <int64 n = {2}> {
      y, z, s, o = Loop (n, , x, x) <body = b (int64 i, bool c, float[2] h, float[2] l)
        => (bool d, float[2] k, float[2] h, float[2] p, float[2] l) <bool d = {1}, float[2] p = {5, 6}> {
        k = Add(h, l)
      }>
    }"""
    assert "Loop" not in ops(change(text, steps, X, peer=False))


def test_a_sequence_is_carried(change, ops):
    text = """g (float[2] x) => (float[A] y) <int64 n = {3}> {
      none = SequenceEmpty()
      all = Loop (n, , none) <body = b (int64 i, bool c, seq(float[]) h) => (bool d, seq(float[]) k) {
        d = Identity(c)
        f = Cast <to = 1> (i)
        m = Add(x, f)
        k = SequenceInsert(h, m)
      }>
      y = ConcatFromSequence <axis = 0> (all)
    }"""
    assert "Loop" not in ops(change(text, [UnrollLoops()], X))


def test_a_loop_that_uses_a_constant_of_its_own_in_a_nested_body(change, ops):
    text = """g (float[2] x, bool c) => (float[2] y) <int64 n = {2}> {
      y = Loop (n, , x) <body = b (int64 i, bool g, float[2] h) => (bool d, float[2] k) <float[2] w = {2, 3}> {
        d = Identity(g)
        k = If (c) <
          then_branch = t () => (float[2] u) <float[2] v = {1, 1}> { e = Add(h, w) u = Add(e, v) },
          else_branch = f () => (float[2] o) { o = Mul(h, w) }
        >
      }>
    }"""
    model = change(text, [UnrollLoops()], *({**X, "c": np.array(c)} for c in (True, False)), peer=False)
    assert ops(model).count("If") == 2
