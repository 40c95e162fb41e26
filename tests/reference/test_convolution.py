"""Convolutions on codes against loops over single products."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from deepseek_core.errors import ModelError

TYPES = {np.dtype(t): (int(np.iinfo(t).min), int(np.iinfo(t).max)) for t in (np.int8, np.uint8, np.int16, np.uint16)}


@dataclass
class Setting:
    """A convolution with everything that can go wrong in it."""

    x: np.ndarray
    w: np.ndarray
    x_zero: int
    w_zero: np.ndarray
    attributes: dict = field(default_factory=dict)

    def padded(self, n, c, place):
        """Centred code at a place that may be in the padding, where the real value is 0."""
        if any(not 0 <= p < size for p, size in zip(place, self.x.shape[2:], strict=True)):
            return 0
        return int(self.x[(n, c, *place)]) - self.x_zero


@st.composite
def convolutions(draw, types=tuple(TYPES), transposed=False):
    rank = draw(st.integers(1, 2))
    group = draw(st.sampled_from([1, 1, 2, 3]))
    inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    spatial = [draw(st.integers(1, 5)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes = {"strides": strides, "dilations": dilations, "group": group}
    if transposed:
        attributes["pads"] = [draw(st.integers(0, (e - 1) // 2)) for e in extent * 2]
        attributes["output_padding"] = [draw(st.integers(0, max(s, 1) - 1)) for s in strides]
        shape = (group * inner, outer, *kernel)
    else:
        mode = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
        if mode == "NOTSET":
            begin = [draw(st.integers(0, 2)) for _ in range(rank)]
            lacking = [max(0, e - n - b) for e, n, b in zip(extent, spatial, begin, strict=True)]
            attributes["pads"] = [*begin, *(draw(st.integers(m, m + 2)) for m in lacking)]
        else:
            attributes["auto_pad"] = mode
        shape = (group * outer, inner, *kernel)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x_type, w_type = draw(st.sampled_from(types)), draw(st.sampled_from(types))
    channels = shape[1] if transposed else shape[0]
    zeros = rng.integers(*TYPES[w_type], channels if draw(st.booleans()) else 1, endpoint=True)
    return Setting(
        rng.integers(*TYPES[x_type], (draw(st.integers(1, 2)), group * inner, *spatial), endpoint=True).astype(x_type),
        rng.integers(*TYPES[w_type], shape, endpoint=True).astype(w_type),
        draw(st.sampled_from([*TYPES[x_type], 3])),
        zeros.astype(w_type),
        attributes,
    )


def scalar_conv(s: Setting, positions) -> dict:
    """Sums by output index, in Python's unbounded integers."""
    group, (outer, inner, *kernel) = s.attributes["group"], s.w.shape
    pads = begin(s, positions)
    sums = {}
    for n, m, *place in itertools.product(range(len(s.x)), range(outer), *map(range, positions)):
        total = 0
        for c, *tap in itertools.product(range(inner), *map(range, kernel)):
            where = [
                p * stride + t * d - b
                for p, stride, t, d, b in zip(
                    place, s.attributes["strides"], tap, s.attributes["dilations"], pads, strict=True
                )
            ]
            weight = int(s.w[(m, c, *tap)]) - int(s.w_zero[m % len(s.w_zero)])
            total += s.padded(n, m // (outer // group) * inner + c, where) * weight
        sums[n, m, *place] = total
    return sums


def begin(s: Setting, positions):
    """Padding before the input: given, or what makes the output ceil(input / stride) long."""
    mode = s.attributes.get("auto_pad")
    if mode is None:
        return s.attributes["pads"][: len(positions)]
    rows = zip(positions, s.attributes["strides"], s.w.shape[2:], s.attributes["dilations"], s.x.shape[2:], strict=True)
    total = [max(0, (p - 1) * stride + (k - 1) * d + 1 - n) for p, stride, k, d, n in rows]
    return [t // 2 if mode == "SAME_UPPER" else t - t // 2 for t in total]


def scalar_conv_transpose(s: Setting, sizes) -> dict:
    group, (channels, outer, *kernel) = s.attributes["group"], s.w.shape
    sums = dict.fromkeys(itertools.product(range(len(s.x)), range(group * outer), *map(range, sizes)), 0)
    for n, c, *place in np.ndindex(*s.x.shape):
        for j, *tap in itertools.product(range(outer), *map(range, kernel)):
            where = [
                p * stride + t * d - b
                for p, stride, t, d, b in zip(
                    place, s.attributes["strides"], tap, s.attributes["dilations"], s.attributes["pads"], strict=False
                )
            ]
            index = (n, c // (channels // group) * outer + j, *where)
            if index in sums:
                weight = int(s.w[(c, j, *tap)]) - int(s.w_zero[j % len(s.w_zero)])
                sums[index] += (int(s.x[(n, c, *place)]) - s.x_zero) * weight
    return sums


def unit(op: str, s: Setting, scales, bias=None, activation=None):
    """DQ → op (→ activation) → Q, and its constants; `scales` are those of x, w and y."""
    x_scale, w_scale, y_scale, y_zero = scales
    channel = 1 if op == "ConvTranspose" else 0
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["x_real"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w_real"], axis=channel),
    ]
    constants = {"xs": np.float32(x_scale), "xz": np.asarray(s.x_zero, s.x.dtype), "w": s.w, "ws": w_scale}
    constants |= {"wz": s.w_zero if w_scale.ndim else s.w_zero.reshape(())}
    constants |= {"ys": np.float32(y_scale), "yz": y_zero}
    inputs = ["x_real", "w_real"]
    if bias is not None:
        product = (np.float32(x_scale) * w_scale).astype(np.float32)
        repeats = s.attributes["group"] if op == "ConvTranspose" and product.ndim else 1
        constants |= {"b": bias, "bs": np.tile(product, repeats) if product.ndim else product}
        nodes.append(helper.make_node("DequantizeLinear", ["b", "bs"], ["b_real"], axis=0))
        inputs.append("b_real")
    nodes.append(helper.make_node(op, inputs, ["real"], **s.attributes))
    if activation:
        nodes.append(helper.make_node(activation, ["real"], ["active"]))
    nodes.append(helper.make_node("QuantizeLinear", ["active" if activation else "real", "ys", "yz"], ["y"]))
    return nodes, constants


@settings(max_examples=150)
@given(convolutions(types=(np.dtype(np.int8), np.dtype(np.uint8))))
def test_conv_integer_is_the_sum_of_products(run, scalar, s):
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **s.attributes)
    constants = {"w": s.w, "xz": np.asarray(s.x_zero, s.x.dtype), "wz": s.w_zero if s.w_zero.size > 1 else s.w_zero[0]}
    y = run([node], {"x": s.x}, ["y"], constants)["y"]
    assert y.dtype == np.int32
    for index, total in scalar_conv(s, y.shape[2:]).items():
        assert y[index] == scalar.wrap(total)


@settings(max_examples=200)
@given(convolutions(), st.data())
def test_a_conv_unit_requantizes_its_wrapped_accumulator(run, scalar, s, data):
    """16-bit codes overflow 32 bits; every channel may have a scale of its own."""
    wide = s.w_zero.size > 1
    w_scale = np.array(data.draw(st.lists(st.floats(2**-10, 1, width=32), min_size=3, max_size=3)), np.float32)
    w_scale = np.resize(w_scale, len(s.w_zero)) if wide else w_scale[0]
    y_scale = data.draw(st.sampled_from([0.5, 12.5, 4e4]))
    bias = np.resize(np.array([2**31 - 1, -(2**31), 77], np.int32), len(s.w)) if data.draw(st.booleans()) else None
    nodes, constants = unit("Conv", s, (0.013, w_scale, y_scale, np.int8(-7)), bias)
    y = run(nodes, {"x": s.x}, ["y"], constants)["y"]
    for (n, m, *place), total in scalar_conv(s, y.shape[2:]).items():
        accumulator = scalar.wrap(total + (0 if bias is None else int(bias[m])))
        scale = float(w_scale[m]) if wide else float(w_scale)
        multiplier = scalar.multiplier(scalar.f32(0.013), scale, scalar.f32(y_scale))
        assert y[(n, m, *place)] == scalar.requantize(accumulator, multiplier, -7, -128, 127)


@settings(max_examples=200)
@given(convolutions(transposed=True), st.booleans())
def test_a_conv_transpose_unit_is_the_scattered_sum(run, scalar, s, biased):
    wide, group = s.w_zero.size > 1, s.attributes["group"]
    w_scale = np.resize(np.array([0.25, 0.031], np.float32), len(s.w_zero)) if wide else np.float32(0.25)
    bias = np.arange(group * s.w.shape[1], dtype=np.int32) * 1000 if biased else None
    nodes, constants = unit("ConvTranspose", s, (0.5, w_scale, 3e3, np.uint8(9)), bias)
    y = run(nodes, {"x": s.x}, ["y"], constants)["y"]
    for (n, m, *place), total in scalar_conv_transpose(s, y.shape[2:]).items():
        accumulator = scalar.wrap(total + (0 if bias is None else int(bias[m])))
        scale = float(w_scale[m % s.w.shape[1]]) if wide else 0.25
        assert y[(n, m, *place)] == scalar.requantize(accumulator, scalar.multiplier(0.5, scale, 3e3), 9, 0, 255)


@settings(max_examples=60)
@given(convolutions())
def test_real_numbers_convolve_as_codes_do(run, s):
    """The float path on small integers is exact, so it has to give the same sums."""
    small = Setting(s.x % 16, s.w % 16, 0, np.zeros(1, s.w.dtype), s.attributes)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **s.attributes)
    y = run([node], {"x": small.x.astype(np.float32)}, ["y"], {"w": small.w.astype(np.float32)})["y"]
    for index, total in scalar_conv(small, y.shape[2:]).items():
        assert y[index] == total


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"auto_pad": "SAME_UPPER", "strides": [2]}, 8),
        ({"auto_pad": "SAME_LOWER", "strides": [2]}, 8),
        ({"auto_pad": "VALID", "strides": [2]}, 9),
        ({"output_shape": [7], "strides": [2]}, 7),
        ({"output_shape": [11], "strides": [2]}, 11),
    ],
)
def test_conv_transpose_output_shapes(run, attributes, size):
    x, w = np.ones((1, 1, 4), np.float32), np.ones((1, 1, 3), np.float32)
    y = run([helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)], {"x": x}, ["y"], {"w": w})["y"]
    assert y.shape == (1, 1, size)
    full = [1, 1, 2, 1, 2, 1, 2, 1, 1]
    lacking = len(full) - size
    cut = lacking // 2 if attributes.get("auto_pad") == "SAME_UPPER" else lacking - lacking // 2
    expected = full[cut : cut + size] if lacking >= 0 else [0] * -cut + full + [0] * (cut - lacking)
    assert y[0, 0].tolist() == expected


def test_a_float_bias_is_added_to_the_real_number(run, scalar):
    s = Setting(np.array([[[100]]], np.int8), np.array([[[7]]], np.int8), 3, np.zeros(1, np.int8), {})
    nodes, constants = unit("Conv", s, (0.1, np.float32(0.3), 0.7, np.int8(1)))
    nodes[2].input.append("bias")
    bias = np.array([0.123], np.float32)
    y = run(nodes, {"x": s.x}, ["y", "real"], {**constants, "bias": bias})
    real = scalar.f32(scalar.f32(97 * 7 * scalar.f32(scalar.f32(0.1) * scalar.f32(0.3))) + float(bias[0]))
    assert y["real"].item() == real
    assert y["y"].item() == scalar.quantize(real, scalar.f32(0.7), 1, -128, 127)


def test_an_int32_bias_of_another_scale_is_added_to_the_real_number(run, scalar):
    s = Setting(np.array([[[100]]], np.int8), np.array([[[7]]], np.int8), 3, np.zeros(1, np.int8), {"group": 1})
    nodes, constants = unit("Conv", s, (0.1, np.float32(0.3), 0.7, np.int8(1)), np.array([5], np.int32))
    constants["bs"] = np.float32(1.5)
    real = run(nodes, {"x": s.x}, ["real"], constants)["real"].item()
    assert real == scalar.f32(scalar.f32(97 * 7 * scalar.f32(scalar.f32(0.1) * scalar.f32(0.3))) + 7.5)


def test_activations_with_a_scale_for_each_channel_multiply_in_float(run):
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs"], ["x_real"], axis=1),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["w_real"]),
        helper.make_node("Conv", ["x_real", "w_real"], ["y"]),
    ]
    constants = {"w": np.array([[[1], [2]]], np.int8), "xs": np.array([1, 10], np.float32), "ws": np.float32(1)}
    assert run(nodes, {"x": np.array([[[3], [4]]], np.int8)}, ["y"], constants)["y"].item() == 83


def test_a_batch_of_nothing(run):
    s = Setting(np.zeros((0, 2, 4, 4), np.int8), np.zeros((3, 2, 3, 3), np.int8), 0, np.zeros(1, np.int8), {})
    nodes, constants = unit("Conv", s, (0.1, np.float32(0.3), 0.7, np.int8(1)))
    assert run(nodes, {"x": s.x}, ["y"], constants)["y"].shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("x", "w", "attributes", "message"),
    [
        ((1, 3, 5, 5), (4, 2, 3, 3), {}, "does not fit input"),
        ((1, 2, 2, 2), (4, 2, 3, 3), {}, "larger than its padded input"),
        ((1, 2, 5, 5), (4, 2, 3, 3), {"strides": [1]}, "attribute 'strides' has 1 entries, not 2"),
    ],
)
def test_what_does_not_fit_is_named(run, x, w, attributes, message):
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv_1", **attributes)
    with pytest.raises(ModelError, match=f"node 'conv_1'.*{message}"):
        run([node], {"x": np.ones(x, np.float32)}, ["y"], {"w": np.ones(w, np.float32)})
