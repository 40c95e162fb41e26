"""What lowerings ask of nodes: answers, and one line where there is none."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.errors import BackendError
from deepseek_core.ir.ops import Role
from deepseek_core.ir.units import Operand
from deepseek_core.lowering import clip_bounds, constant_of, reduced_axes, scalar_of, shape_of

X = ir.Value(name="x")


def _constant(*numbers: float) -> ir.Value:
    return ir.Value(name="c", const_value=ir.tensor(np.array(numbers, np.float32)))


def _axes(*axes: int) -> ir.Value:
    return ir.Value(name="axes", const_value=ir.tensor(np.array(axes, np.int64)))


def test_shapes_are_known_or_refused() -> None:
    known = ir.Value(name="k", shape=ir.Shape([2, 3]))
    assert shape_of(Operand(known, known, Role.DATA)) == (2, 3)
    for shape in (None, ir.Shape(["n", 3])):
        value = ir.Value(name="unknown", shape=shape)
        with pytest.raises(BackendError, match="the shape of 'unknown' is not known"):
            shape_of(Operand(value, value, Role.DATA))


def test_constants_are_there_or_refused() -> None:
    assert constant_of(_constant(1, 2)).tolist() == [1, 2]
    for value, name in ((X, "'x'"), (None, "an input")):
        with pytest.raises(BackendError, match=f"{name} is not constant"):
            constant_of(value)


def test_a_scalar_may_be_left_out() -> None:
    node = ir.node("Clip", [X, None, _constant(4)])
    assert [scalar_of(node, position) for position in (1, 2, 3)] == [None, 4.0, None]
    with pytest.raises(BackendError, match="'c' has 2 elements, not one"):
        scalar_of(ir.node("Clip", [X, _constant(1, 2)]), 1)


@pytest.mark.parametrize(
    ("node", "bounds"),
    [
        (ir.node("Relu", [X]), (0.0, math.inf)),
        (ir.node("Clip", [X]), (-math.inf, math.inf)),
        (ir.node("Clip", [X, None, _constant(6)]), (-math.inf, 6.0)),
        (ir.node("Clip", [X, _constant(-1), _constant(6)]), (-1.0, 6.0)),
        (ir.node("Clip", [X], {"min": 0.0, "max": 2.0}), (0.0, 2.0)),
    ],
)
def test_bounds_of_activations(node, bounds) -> None:
    assert clip_bounds(node) == bounds


@pytest.mark.parametrize(
    ("node", "axes"),
    [
        (ir.node("ReduceMean", [X]), (0, 1, 2, 3)),
        (ir.node("ReduceMean", [X, _axes(-1, 1)]), (1, 3)),
        (ir.node("ReduceMean", [X], {"axes": [2, -4]}), (0, 2)),
        (ir.node("ReduceMean", [X, _axes()]), (0, 1, 2, 3)),
        (ir.node("ReduceMean", [X, _axes()], {"noop_with_empty_axes": 1}), ()),
        (ir.node("ReduceMean", [X], {"noop_with_empty_axes": 1}), ()),
        (ir.node("ReduceMean", [X, _axes(2)], {"noop_with_empty_axes": 1}), (2,)),
    ],
)
def test_axes_of_reductions(node, axes) -> None:
    assert reduced_axes(node, 4) == axes


def test_axes_computed_at_run_time_are_refused() -> None:
    with pytest.raises(BackendError, match="'axes' is not constant"):
        reduced_axes(ir.node("ReduceMean", [X, ir.Value(name="axes")]), 4)
