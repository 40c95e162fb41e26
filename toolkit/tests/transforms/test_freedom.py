"""Factors preserve the function of any network, and reach the layers they should."""

from __future__ import annotations

import numpy as np
import pytest
from deepseek.quantization.scaling import freedom, groups, rescale
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conv(draft, value, channels, *, bias=True):
    made = int(draft.random.integers(2, 7))
    biases = [draft.weight(made)] if bias else []
    return draft.op("Conv", value, draft.weight(made, channels, 3, 3), *biases, pads=[1, 1, 1, 1]), made


def depthwise(draft, value, channels):
    weight, bias = draft.weight(channels, 1, 3, 3), draft.weight(channels)
    return draft.op("Conv", value, weight, bias, pads=[1, 1, 1, 1], group=channels), channels


def grouped(draft, value, channels):
    doubled = draft.op("Concat", value, value, axis=1)
    return draft.op("Conv", doubled, draft.weight(6, channels, 1, 1), draft.weight(6), group=2), 6


def transposed(draft, value, channels):
    doubled = draft.op("Concat", value, value, axis=1)
    return draft.op("ConvTranspose", doubled, draft.weight(2 * channels, 2, 1, 1), draft.weight(4), group=2), 4


def residual(draft, value, channels):
    return draft.op("Add", draft.op("Conv", value, draft.weight(channels, channels, 1, 1)), value), channels


def concat(draft, value, channels):
    other = draft.op("Relu", draft.op("Conv", value, draft.weight(3, channels, 1, 1)))
    return draft.op("Concat", value, other, axis=1), channels + 3


def split(draft, value, channels):
    sizes = draft.constant(np.array([1, channels - 1], np.int64))
    first, second = draft.op("Split", value, sizes, outputs=2, axis=1)
    return draft.op("Concat", second, first, axis=1), channels


def gate(draft, value, channels):
    mean = draft.op("GlobalAveragePool", value)
    weights = draft.op("Sigmoid", draft.op("Conv", mean, draft.weight(channels, channels, 1, 1)))
    return draft.op("Mul", value, weights), channels


def clip(draft, value, channels, *bounds):
    return draft.op("Clip", value, *(draft.constant(np.float32(bound)) for bound in bounds)), channels


def turn(draft, value, channels):
    turned = draft.op("MatMul", draft.op("Transpose", value, perm=[0, 2, 3, 1]), draft.weight(channels, 5))
    return draft.op("Transpose", turned, perm=[0, 3, 1, 2]), 5


def pad(draft, value, channels):
    padded = draft.op("Pad", value, draft.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64)))
    bounds = [draft.constant(np.array(v, np.int64)) for v in ([0, 0], [8, 8], [2, 3])]
    return draft.op("Slice", padded, *bounds), channels


def norm(draft, value, channels):
    return draft.op("InstanceNormalization", value, draft.weight(channels), draft.weight(channels)), channels


def window(kind):
    return lambda d, v, c: (d.op(kind, v, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), c)


IMAGE_LAYERS = {
    "conv": conv,
    "conv without bias": lambda d, v, c: conv(d, v, c, bias=False),
    "depthwise": depthwise,
    "grouped": grouped,
    "transposed": transposed,
    "residual": residual,
    "scale": lambda d, v, c: (d.op("Mul", v, d.weight(c, 1, 1)), c),
    "shift": lambda d, v, c: (d.op("Add", v, d.weight(c, 1, 1)), c),
    "number": lambda d, v, c: (d.op("Add", v, d.constant(np.float32(0.3))), c),
    "concat": concat,
    "split": split,
    "gate": gate,
    "relu": lambda d, v, c: (d.op("Relu", v), c),
    "leaky": lambda d, v, c: (d.op("LeakyRelu", v, alpha=0.2), c),
    "relu6": lambda d, v, c: clip(d, v, c, 0, 6),
    "clip": lambda d, v, c: clip(d, v, c, 0),
    "max": window("MaxPool"),
    "mean": window("AveragePool"),
    "turn": turn,
    "pad": pad,
    "norm": norm,
}
"""Layers on a value [N, C, 8, 8], by name: `(draft, value, C) → (value, C)`."""


def attention(draft, value, width, heads, *, residual):
    """One head-split attention behind a LayerNorm on a value [N, 6, width]."""
    normed = draft.op("LayerNormalization", value, draft.weight(width, spread=1), draft.weight(width), axis=-1)
    split = draft.constant(np.array([0, 6, heads, width // heads], np.int64))
    join = draft.constant(np.array([0, 6, width], np.int64))

    def heads_of(perm):
        product = draft.op("MatMul", normed, draft.weight(width, width))
        return draft.op("Transpose", draft.op("Reshape", product, split), perm=perm)

    q, k, v = map(heads_of, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    mixed = draft.op("MatMul", draft.op("Softmax", draft.op("MatMul", q, k), axis=-1), v)
    joined = draft.op("Reshape", draft.op("Transpose", mixed, perm=[0, 2, 1, 3]), join)
    made = draft.op("Add", draft.op("MatMul", joined, draft.weight(width, width)), draft.weight(width))
    return draft.op("Add", made, value) if residual else made


def gated(draft, value, width):
    """RMS normalisation spelled out, then a gated layer."""
    square = draft.op("ReduceMean", draft.op("Mul", value, value), draft.constant(np.array([-1], np.int64)))
    root = draft.op("Sqrt", draft.op("Add", square, draft.constant(np.float32(1e-5))))
    normed = draft.op("Mul", draft.op("Div", value, root), draft.weight(width, spread=1))
    gate = draft.op("MatMul", normed, draft.weight(width, 10))
    gate = draft.op("Mul", gate, draft.op("Sigmoid", gate))
    hidden = draft.op("Mul", gate, draft.op("MatMul", normed, draft.weight(width, 10)))
    return draft.op("MatMul", hidden, draft.weight(10, width))


def assert_preserved(model, outputs, feeds, seed):
    """Any factors for any free variable leave every output as it was."""
    found = freedom(model)
    factors = np.exp(np.random.default_rng(seed).normal(0, 1.5, found.count))
    factors[0] = 1
    before, after = outputs(model, feeds), outputs(rescale(model, found, factors), feeds)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=2e-3, atol=1e-3 * (np.abs(array).max() + 1e-6))
    return found


@SETTINGS
@given(layers=st.lists(st.sampled_from(sorted(IMAGE_LAYERS)), min_size=1, max_size=7), seed=st.integers(0, 2**16))
def test_images(layers, seed, new_draft, outputs):
    draft = new_draft(seed)
    value, channels = draft.op("Conv", "x", draft.weight(4, 3, 1, 1), draft.weight(4)), 4
    for layer in layers:
        value, channels = IMAGE_LAYERS[layer](draft, value, channels)
    flat = draft.op("Flatten", draft.op("MaxPool", value, kernel_shape=[4, 4], strides=[4, 4]))
    result = draft.op("Gemm", flat, draft.weight(2, channels * 4), transB=1)
    model = draft.model({"x": [2, 3, 8, 8]}, result)
    assert_preserved(model, outputs, {"x": draft.random.standard_normal((2, 3, 8, 8)).astype(np.float32)}, seed)


@SETTINGS
@given(
    blocks=st.lists(st.sampled_from(["attention", "plain attention", "gated"]), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
)
def test_tokens(blocks, seed, new_draft, outputs):
    draft = new_draft(seed)
    value = draft.op("MatMul", "x", draft.weight(5, 8))
    for block in blocks:
        if block == "gated":
            value = gated(draft, value, 8)
        else:
            value = attention(draft, value, 8, 2, residual=block == "attention")
    model = draft.model({"x": ["n", 6, 5]}, draft.op("MatMul", value, draft.weight(8, 3)))
    assert_preserved(model, outputs, {"x": draft.random.standard_normal((2, 6, 5)).astype(np.float32)}, seed)


def layers_of(found):
    """(makers, readers) of each group, as names of operators."""
    return [({t.node for t in g.makers}, {t.node for t in g.readers}) for g in groups(found)]


def test_relu_and_a_depthwise_layer_between_give_two_groups(new_draft):
    draft = new_draft()
    x = draft.op("Relu", draft.op("Conv", "x", draft.weight(4, 3, 1, 1)))
    x = draft.op("Relu", draft.op("Conv", x, draft.weight(4, 1, 3, 3), group=4))
    model = draft.model({"x": [1, 3, 8, 8]}, draft.op("Conv", x, draft.weight(5, 4, 1, 1)))
    assert layers_of(freedom(model)) == [({"conv_0"}, {"conv_2"}), ({"conv_2"}, {"conv_4"})]


def test_a_residual_stream_is_one_group(new_draft):
    draft = new_draft()
    stream = draft.op("Conv", "x", draft.weight(4, 3, 1, 1))
    for _ in range(2):
        inner = draft.op("Sigmoid", draft.op("Conv", stream, draft.weight(6, 4, 1, 1)))
        stream = draft.op("Add", stream, draft.op("Conv", inner, draft.weight(4, 6, 1, 1)))
    model = draft.model({"x": [1, 3, 8, 8]}, draft.op("Conv", stream, draft.weight(2, 4, 1, 1)))
    assert layers_of(freedom(model)) == [({"conv_0", "conv_3", "conv_7"}, {"conv_1", "conv_5", "conv_9"})]


def test_factors_stop_at_relu6_and_the_reason_is_told(new_draft):
    draft = new_draft()
    x = draft.op("Conv", "x", draft.weight(4, 3, 1, 1))
    x = draft.op("Clip", x, draft.constant(np.float32(0)), draft.constant(np.float32(6)))
    found = freedom(draft.model({"x": [1, 3, 8, 8]}, draft.op("Conv", x, draft.weight(5, 4, 1, 1))))
    assert groups(found) == []
    assert "Clip at 6 has one bound for all channels" in found.reasons


def test_attention_hands_factors_of_values_to_the_layer_behind(new_draft):
    draft = new_draft()
    value = attention(draft, "x", 8, 2, residual=False)
    found = freedom(draft.model({"x": [1, 6, 8]}, draft.op("MatMul", value, draft.weight(8, 3))))
    made = layers_of(found)
    assert ({"layernormalization_0"}, {"matmul_1", "matmul_4", "matmul_7"}) in made
    assert any(readers == {"matmul_15"} and makers == {"matmul_7"} for makers, readers in made)


def test_a_layer_in_a_branch_fixes_what_it_reads(new_draft):
    from onnx import TensorProto, helper

    draft = new_draft()
    x = draft.op("Relu", draft.op("Conv", "x", draft.weight(4, 3, 1, 1)))
    body = [
        helper.make_graph(
            [helper.make_node(kind, [x], [f"{kind}_y"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"{kind}_y", TensorProto.FLOAT, [1, 4, 8, 8])],
        )
        for kind in ("Relu", "Sigmoid")
    ]
    flag = draft.op("Greater", draft.op("ReduceMax", "x", keepdims=0), draft.constant(np.float32(0)))
    branch = draft.op("If", flag, then_branch=body[0], else_branch=body[1])
    model = draft.model({"x": [1, 3, 8, 8]}, draft.op("Conv", x, draft.weight(5, 4, 1, 1)), branch)
    found = freedom(model)
    assert groups(found) == []
    assert "the bodies of If read it" in found.reasons


@pytest.mark.parametrize("shared", ["weight", "bias"])
def test_shared_constants(shared, new_draft, outputs):
    """A shared weight is left alone; a shared bias becomes the node's own where it changes."""
    draft = new_draft()
    weight, bias = draft.weight(4, 4, 1, 1), draft.weight(4)
    x = draft.op("Conv", "x", draft.weight(4, 3, 1, 1), bias)
    second = weight if shared == "weight" else draft.weight(4, 4, 1, 1)
    x = draft.op("Relu", draft.op("Conv", draft.op("Relu", x), weight, bias))
    model = draft.model({"x": [1, 3, 8, 8]}, draft.op("Conv", x, second, bias))
    feeds = {"x": draft.random.standard_normal((1, 3, 8, 8)).astype(np.float32)}
    found = assert_preserved(model, outputs, feeds, 3)
    assert bool(groups(found)) == (shared == "bias")
