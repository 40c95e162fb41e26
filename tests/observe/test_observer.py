"""Values in branches and loop bodies are seen every time they are computed, in the memory of one piece."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx.parser
import pytest

from deepseek_core.calibration import TensorStats, collect
from deepseek_core.errors import CalibrationError
from deepseek_core.ir.frontend import load_model
from deepseek_core.observe import Observer
from deepseek_core.options import CompileOptions
from deepseek_core.registry import discover

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
F = np.float32


@pytest.fixture(scope="module", params=["reference", "cpu"])
def seen(request):
    """`seen(text, names, feeds)`: name → list of the arrays that an observer on a backend shows, and their number."""
    backend, target = discover().resolve(request.param)

    def opened(piece):
        pieces.append(piece)
        return backend.load(backend.compile(piece, target, CompileOptions(optimize=0)))

    pieces: list = []

    def run(text, names, *feeds):
        model = load_model(onnx.parser.parse_model(HEADER + text))
        pieces.clear()
        observer = Observer(model, names, opened)
        shown = {name: [] for name in names}
        for feed in feeds:
            observer.observe(feed, lambda name, array: shown[name].append(np.array(array)))
        observer.close()
        observer.close()
        return shown

    run.pieces = pieces
    return run


BRANCH = """g (float[2] x, bool c) => (float[2] y) {
  v = Neg(x)
  r = If (c) <
    then_branch = a () => (float[2] p) { q = Add(v, x) p = Exp(v) },
    else_branch = b () => (float[2] s) { s = Sqrt(v) }
  >
  y = Tanh(r)
}"""


def test_the_branch_that_is_taken_is_seen(seen):
    x = np.array([-1, -4], F)
    shown = seen(BRANCH, ["x", "v", "p", "s", "r"], *({"x": x, "c": np.array(c)} for c in (True, True, False)))
    assert [len(arrays) for arrays in shown.values()] == [3, 3, 2, 1, 3]
    np.testing.assert_array_equal(shown["s"][0], [1, 2])
    np.testing.assert_allclose(shown["r"][0], np.exp(-x), rtol=1e-6)


def test_what_nobody_watches_is_not_computed(seen):
    shown = seen(BRANCH, ["v"], {"x": np.array([-1, -4], F), "c": np.array(True)})
    np.testing.assert_array_equal(shown["v"], [[1, 4]])
    assert [[node.op_type for node in piece.graph] for piece in seen.pieces] == [["Neg"]]


LOOP = """g (float[A] x, int64 n) => (float[B] y, float[C, 1] s)
<bool t = {1}, int64[1] zero = {0}, int64[1] one = {1}> {
  y, s = Loop (n, t, x) <body = b (int64 i, bool c, float[D] h) => (bool d, float[E] k, float[1] m) {
    d = Identity(c)
    first = Slice(h, zero, one)
    m = Neg(first)
    k = Concat <axis = 0> (h, m)
  }>
}"""


@pytest.mark.parametrize("trips", [0, 1, 4])
def test_every_trip_is_seen_even_if_shapes_change(seen, trips):
    shown = seen(LOOP, ["h", "k", "y", "s"], {"x": np.array([3, 5], F), "n": np.array(trips)})
    assert [array.shape for array in shown["h"]] == [(2 + trip,) for trip in range(trips)]
    assert [array.shape for array in shown["k"]] == [(3 + trip,) for trip in range(trips)]
    np.testing.assert_array_equal(shown["y"][0], [3, 5] + [-3] * trips)
    assert shown["s"][0].shape == (trips, 1)


def test_scan_and_nesting(seen):
    text = """g (float[2] x, float[3, 2] z, bool c) => (float[2] y, float[3, 2] s) {
      outer = Neg(x)
      y, s = Scan <num_scan_inputs = 1, body = b (float[2] h, float[2] l) => (float[2] k, float[2] m) {
        u = Add(h, l)
        k = If (c) <
          then_branch = a () => (float[2] p) { w = Add(u, outer) p = Neg(w) },
          else_branch = e () => (float[2] q) { q = Identity(u) }
        >
        m = Abs(k)
      }> (x, z)
    }"""
    x, z = np.array([1, 2], F), np.arange(6, dtype=F).reshape(3, 2)
    shown = seen(text, ["l", "u", "w", "m", "q"], {"x": x, "z": z, "c": np.array(True)})
    np.testing.assert_array_equal(shown["l"], z)
    state, sums, added = x, [], []
    for row in z:
        sums.append(state + row)
        added.append(sums[-1] - x)
        state = -added[-1]
    np.testing.assert_array_equal(shown["u"], sums)
    np.testing.assert_array_equal(shown["w"], added)
    np.testing.assert_array_equal(shown["m"], np.abs(added))
    assert not shown["q"]


def test_sequences_cross_between_pieces(seen):
    text = """g (float[2] x, int64 n) => (float[A] y) {
      none = SequenceEmpty()
      all = Loop (n, , none) <body = b (int64 i, bool c, seq(float[]) h) => (bool d, seq(float[]) k) {
        d = Identity(c)
        f = Cast <to = 1> (i)
        m = Add(x, f)
        k = SequenceInsert(h, m)
      }>
      y = ConcatFromSequence <axis = 0> (all)
    }"""
    shown = seen(text, ["m", "y"], {"x": np.array([1, 2], F), "n": np.array(3)})
    np.testing.assert_array_equal(shown["m"], [[1, 2], [2, 3], [3, 4]])
    np.testing.assert_array_equal(shown["y"], [[1, 2, 2, 3, 3, 4]])


def test_a_model_without_bodies_is_one_piece(seen):
    lines = "\n".join(f"v{i + 1} = Neg(v{i})" for i in range(40))
    text = f"g (float[4] v0) => (float[4] v40) {{ {lines} }}"
    names = [f"v{i}" for i in range(41)]
    shown = seen(text, names, {"v0": np.ones(4, F)})
    assert [arrays[0][0] for arrays in shown.values()] == [(-1) ** i for i in range(41)]
    assert [len(piece.outputs) for piece in seen.pieces] == [40]


def test_memory_is_that_of_one_trip(seen):
    """A loop of many trips over a large tensor; every trip's tensor together would be 64 MB."""
    text = """g (float[256, 256] x, int64 n) => (float[256, 256] y) {
      y = Loop (n, , x) <body = b (int64 i, bool c, float[256, 256] h) => (bool d, float[256, 256] k) {
        d = Identity(c)
        k = Sin(h)
      }>
    }"""
    model = load_model(onnx.parser.parse_model(HEADER + text))
    backend, target = discover().resolve("cpu")
    observer = Observer(
        model, ["h", "k"], lambda m: backend.load(backend.compile(m, target, CompileOptions(optimize=0)))
    )
    x = np.random.default_rng(0).normal(size=(256, 256)).astype(F)
    tracemalloc.start()
    stats = collect(observer, [{"x": x, "n": np.array(256)}], ["h", "k"])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    observer.close()
    assert stats["k"].count == 256 * x.size
    assert most < 8 * x.nbytes


def test_many_small_values_make_the_same_statistics_as_one_large():
    class Many:
        inputs = ()
        names = ("v",)

        def observe(self, feeds, see):
            for row in VALUES:
                see("v", row)

    whole = TensorStats()
    whole.update(VALUES)
    assert collect(Many(), [{}], ["v"])["v"] == whole


VALUES = np.random.default_rng(1).normal(size=(3000, 7)).astype(F)


def test_an_unknown_name_is_refused(seen):
    with pytest.raises(CalibrationError, match="computes no value 'w'"):
        seen(BRANCH, ["v", "w"])
