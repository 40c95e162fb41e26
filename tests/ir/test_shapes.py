"""Shapes that follow from the inputs'."""

from __future__ import annotations

import onnx_ir as ir
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


@pytest.mark.parametrize(("sizes", "found"), [([2, 2], True), ([2, 3], False)])
def test_a_name_stands_for_one_size(build, sizes, found):
    """Of a Reshape to a shape that is computed, inference knows nothing; two sizes for a name say nothing either."""
    inputs = {"x": ("float", ["rows", 5]), "z": ("float", ["rows", 5]), "s": ("int64", [2])}
    model = load_model(
        build([("Reshape", ["x", "s"], ["r"]), ("Relu", ["r"], ["y"]), ("Relu", ["z"], ["u"])], inputs, ["y", "u"])
    )
    model.graph[0].outputs[0].shape = ir.Shape(["rows", 5])
    fixed = with_input_shapes(model, {name: [size, 5] for name, size in zip("xz", sizes, strict=True)})
    assert (fixed.outputs[0].shape == (2, 5)) is found


def test_impossible_shapes_are_refused(build):
    model = load_model(build([("Add", ["x", "z"], ["y"])], {"x": ("float", ["n"]), "z": ("float", ["m"])}, ["y"]))
    with pytest.raises(ModelError):
        with_input_shapes(model, {"x": [2], "z": [3]})
