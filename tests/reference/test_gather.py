"""GatherElements against a loop over places, along axes of more elements than onnx.reference gets right."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from deepseek_core.errors import ModelError


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("size", [3, 64, 200])
def test_each_place_names_where_it_comes_from(run, axis, size) -> None:
    generator = np.random.default_rng(size)
    shape, wanted = [4, 5, 6], [2, 3, 4]
    shape[axis], wanted[axis] = size, 7
    data = generator.standard_normal(shape, np.float32)
    indices = generator.integers(-size, size, wanted)
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], axis=axis)
    found = run([node], {"x": data, "i": indices}, ["y"])["y"]
    for place in np.ndindex(*wanted):
        source = list(place)
        source[axis] = indices[place]
        assert found[place] == data[tuple(source)]


def test_an_index_outside_is_refused(run) -> None:
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], name="pick")
    with pytest.raises(ModelError, match=r"node 'pick' .* out of bounds"):
        run([node], {"x": np.zeros((2, 2), np.float32), "i": np.array([[2, 0]])}, ["y"])
