"""Shapes that follow from the inputs'."""

from __future__ import annotations

import pytest

from deepseek_core.errors import ModelError
from deepseek_core.ir import with_input_shapes
from deepseek_core.ir.frontend import load_model


def test_every_shape_follows_from_the_inputs(build):
    model = load_model(
        build([("Relu", ["x"], ["r"]), ("Transpose", ["r"], ["y"])], {"x": ("float", ["rows", None])}, ["y"])
    )
    fixed = with_input_shapes(model, {"x": [2, 5], "nobody": [1]})
    assert (fixed.inputs[0].shape, fixed.outputs[0].shape) == ((2, 5), (5, 2))
    assert model.inputs[0].shape == ("rows", None), "the model itself is not changed"


def test_impossible_shapes_are_refused(build):
    model = load_model(build([("Add", ["x", "z"], ["y"])], {"x": ("float", ["n"]), "z": ("float", ["m"])}, ["y"]))
    with pytest.raises(ModelError):
        with_input_shapes(model, {"x": [2], "z": [3]})
