"""Windows: sums over their elements are what the reference backend computes."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_core.errors import ModelError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.lowering import Axis, transposed_axes, window_axes
from deepseek_core.reference import evaluate


def _convolved(node: onnx.NodeProto, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return evaluate(QuantizedModel(ir.from_proto(model)), {"x": x})["y"]


@st.composite
def layers(draw):
    """Sizes, kernel and attributes of a convolution over one or two axes."""
    rank = draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes = {
        "strides": [draw(st.integers(1, 3)) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(rank)],
    }
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode != "NOTSET":
        attributes["auto_pad"] = mode
    elif draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    return [draw(st.integers(5, 8)) for _ in range(rank)], kernel, attributes


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(-9, 10, shape).astype(np.float32)


def _meetings(axes):
    """Kernel element, place of the input and position of the window, for all that meet."""
    taps = itertools.product(*(range(axis.kernel) for axis in axes))
    for tap in taps:
        for position in itertools.product(*(axis.inside(k) for axis, k in zip(axes, tap, strict=True))):
            rows = zip(axes, tap, position, strict=True)
            yield tap, tuple(p * a.stride + k * a.dilation - a.begin for a, k, p in rows), position


@settings(max_examples=80, deadline=None)
@given(layers())
def test_a_convolution_is_the_sum_over_its_window(layer) -> None:
    size, kernel, attributes = layer
    x, w = _numbers((1, 1, *size)), _numbers((1, 1, *kernel))
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", **attributes)
    expected = _convolved(node, x, w)[0, 0]
    axes = window_axes(ir.from_proto(node), size, expected.shape, kernel)
    sums = np.zeros_like(expected)
    for tap, place, position in _meetings(axes):
        sums[position] += x[(0, 0, *place)] * w[(0, 0, *tap)]
    np.testing.assert_array_equal(sums, expected)


@settings(max_examples=80, deadline=None)
@given(layers(), st.booleans())
def test_a_transposed_convolution_spreads_over_its_window(layer, given_shape) -> None:
    size, kernel, attributes = layer
    x, w = _numbers((1, 1, *size)), _numbers((1, 1, *kernel))
    if given_shape and "auto_pad" not in attributes:
        attributes = {**attributes, "output_shape": [n * s for n, s in zip(size, attributes["strides"], strict=True)]}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "c", **attributes)
    expected = _convolved(node, x, w)[0, 0]
    axes = transposed_axes(ir.from_proto(node), expected.shape, size, kernel)
    sums = np.zeros_like(expected)
    for tap, place, position in _meetings(axes):
        sums[place] += x[(0, 0, *position)] * w[(0, 0, *tap)]
    np.testing.assert_array_equal(sums, expected)


def test_negative_padding_leaves_elements_out() -> None:
    axis = Axis(size=4, positions=3, kernel=1, begin=-1)
    assert axis.inside(0) == range(3)
    assert Axis(size=4, positions=5, kernel=2, begin=1).inside(0) == range(1, 5)
    assert not len(Axis(size=2, positions=2, kernel=9).inside(8))


def test_attributes_of_another_length_are_refused() -> None:
    node = ir.node("Conv", [ir.Value(name="x"), ir.Value(name="w")], {"strides": [1]}, name="c")
    with pytest.raises(ModelError, match="'strides' has 1 entries, not 2"):
        window_axes(node, (5, 5), (3, 3), (3, 3))
