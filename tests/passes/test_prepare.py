"""Preparing keeps the function and simplifies the graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from deepseek_core.errors import ModelError
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.passes import Pass, prepare, run_passes

RNG = np.random.default_rng(0)


def proto(nodes, shape, **weights):
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    initializers = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model, feed):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": feed})[0]


def ops_after(model, feed):
    """Op types left after `prepare`; the outputs must be those of the original."""
    loaded = load_model(model)
    prepare(loaded)
    np.testing.assert_allclose(run(ir.to_proto(loaded.model), feed), run(model, feed), rtol=1e-4, atol=1e-5)
    return [node.op_type for node in loaded.graph]


def f32(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_batch_norm_pad_and_affine_steps_join_the_convolution():
    model = proto(
        [
            helper.make_node("Pad", ["x", "pads"], ["p"]),
            helper.make_node("Conv", ["p", "w"], ["c"], kernel_shape=[3, 3]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            helper.make_node("Relu", ["n"], ["y"]),
        ],
        [1, 3, 8, 8],
        pads=np.array([0, 0, 1, 1, 0, 0, 2, 2]),
        w=f32(4, 3, 3, 3),
        g=f32(4),
        b=f32(4),
        m=f32(4),
        v=np.abs(f32(4)) + 1,
    )
    assert ops_after(model, f32(1, 3, 8, 8)) == ["Conv", "Relu"]


def test_what_depends_on_constants_only_is_folded():
    model = proto(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Transpose", ["w"], ["t"]),
            helper.make_node("MatMul", ["x", "t"], ["m"]),
            helper.make_node("Reshape", ["m", "s"], ["y"]),
        ],
        [4, 4],
        w=f32(4, 4),
    )
    assert "Transpose" not in ops_after(model, f32(4, 4))


@pytest.mark.parametrize("bias_shape", [(5,), (1, 5)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_matmul_takes_its_bias(bias_shape, flip):
    operands = ["b", "m"] if flip else ["m", "b"]
    model = proto(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", operands, ["y"])],
        [2, 3],
        w=f32(3, 5),
        b=f32(*bias_shape),
    )
    assert ops_after(model, f32(2, 3)) == ["Gemm"]


@pytest.mark.parametrize("operands", [["m", "m"], ["m", "x"]])
def test_a_residual_add_is_no_bias(operands):
    model = proto(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", operands, ["y"])], [4, 4], w=f32(4, 4)
    )
    assert ops_after(model, f32(4, 4)) == ["MatMul", "Add"]


def test_batch_norm_behind_a_shared_convolution_stays():
    model = proto(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            helper.make_node("Add", ["c", "n"], ["y"]),
        ],
        [1, 3, 4, 4],
        w=f32(3, 3, 1, 1),
        g=f32(3),
        b=f32(3),
        m=f32(3),
        v=np.abs(f32(3)) + 1,
    )
    assert "BatchNormalization" in ops_after(model, f32(1, 3, 4, 4))


def test_convolutions_that_share_a_weight_take_their_own_batch_norm():
    model = proto(
        [
            helper.make_node("Conv", ["x", "w", "z"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
            helper.make_node("Conv", ["n", "w", "z"], ["d"]),
            helper.make_node("BatchNormalization", ["d", "b", "g", "m", "v"], ["y"]),
        ],
        [1, 3, 4, 4],
        w=f32(3, 3, 1, 1),
        z=f32(3),
        g=f32(3),
        b=f32(3),
        m=f32(3),
        v=np.abs(f32(3)) + 1,
    )
    assert ops_after(model, f32(1, 3, 4, 4)) == ["Conv", "Conv"]


def test_what_stands_in_bodies_is_fused_too(change, ops):
    """A Conv outside the branch is not fused with a BatchNormalization inside: the other branch needs it as it is."""
    text = """g (float[1, 1, 2, 2] x, bool c) => (float[1, 2, 2, 2] y, float[1, 2] u) <
      float[2, 1, 1, 1] w = {1, 2}, float[2] s = {3, 1}, float[2] b = {1, 2}, float[2] m = {1, 2}, float[2] v = {1, 2},
      float[4, 2] k = {1, 2, 3, 4, 5, 6, 7, 8}, int64[2] flat = {1, 4}
    > {
      o = Conv(x, w)
      y = If (c) <
        then_branch = t () => (float[1, 2, 2, 2] p) { p = BatchNormalization(o, s, b, m, v) },
        else_branch = e () => (float[1, 2, 2, 2] q) { z = Conv(x, w) q = BatchNormalization(z, b, s, m, v) }
      >
      u = If (c) <
        then_branch = f () => (float[1, 2] h) { r = Reshape(x, flat) i = MatMul(r, k) h = Add(i, b) },
        else_branch = n () => (float[1, 2] j) { a = Reshape(x, flat) l = MatMul(a, k) j = Add(l, s) }
      >
    }"""
    x = f32(1, 1, 2, 2)
    model = change(text, prepare, *({"x": x, "c": np.array(c)} for c in (True, False)))
    assert ops(model) == ["Conv", "If", "BatchNormalization", "Conv", "If", "Reshape", "Gemm", "Reshape", "Gemm"]


class _Broken(Pass):
    ensures = frozenset({"order"})

    def run(self, model: QuantizedModel) -> bool:
        return False

    def check(self, model: QuantizedModel) -> str | None:
        return "nothing was ordered"


class _Needy(_Broken):
    requires = frozenset({"peace"})


def test_what_the_optimizer_computes_otherwise_is_not_folded():
    constant = RNG.standard_normal((2, 6, 3, 3)).astype(np.float32)
    norm = helper.make_node("LRN", ["c"], ["n"], size=3, alpha=1.0)
    model = proto([norm, helper.make_node("Add", ["x", "n"], ["y"])], [2, 6, 3, 3], c=constant)
    assert ops_after(model, RNG.standard_normal((2, 6, 3, 3)).astype(np.float32)) == ["LRN", "Add"]


def _filled(sizes):
    """A convolution whose weight of these sizes is only described."""
    value = helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [0.25])
    fill = helper.make_node("ConstantOfShape", ["sizes"], ["w"], "fill", value=value)
    return proto(
        [fill, helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [1, sizes[1], 4, 4], sizes=np.array(sizes)
    )


def test_a_weight_that_is_only_described_is_filled():
    assert ops_after(_filled([70, 30, 3, 3]), RNG.standard_normal((1, 30, 4, 4)).astype(np.float32)) == ["Conv"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_sums_become_additions(count):
    nodes = [helper.make_node("Sum", ["x", *["r"] * (count - 1)], ["s"], "sum"), helper.make_node("Relu", ["s"], ["y"])]
    model = proto(nodes, [4, 3], r=RNG.standard_normal((1, 3)).astype(np.float32))
    sums = ["Sum"] if count == 1 else ["Add"] * (count - 1)
    assert ops_after(model, RNG.standard_normal((4, 3)).astype(np.float32)) == [*sums, "Relu"]


def test_a_sum_that_is_the_result_keeps_its_name():
    model = load_model(proto([helper.make_node("Sum", ["x", "x"], ["y"])], [4, 3]))
    prepare(model)
    assert [(node.op_type, node.outputs[0].name) for node in model.graph] == [("Add", "y")]


def test_a_file_cannot_ask_for_any_amount_of_memory():
    model = load_model(_filled([2**20, 2**10, 1, 1]))
    prepare(model)
    assert [node.op_type for node in model.graph] == ["ConstantOfShape", "Conv"]


@pytest.mark.parametrize("sizes", [[-5], [2**62, 0, 2**62]])
def test_what_numpy_cannot_fill_stays_described(sizes):
    """Negated, as shape inference refuses what is below 0 where it sees it."""
    nodes = [
        helper.make_node("Neg", ["less"], ["sizes"], "negated"),
        helper.make_node("ConstantOfShape", ["sizes"], ["c"], "fill"),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    model = load_model(proto(nodes, [1], less=-np.array(sizes)))
    prepare(model)
    assert [node.op_type for node in model.graph] == ["ConstantOfShape", "Add"]


@pytest.mark.parametrize(("step", "message"), [(_Broken(), "failed its own check"), (_Needy(), "needs peace")])
def test_a_pass_is_held_to_its_word(step, message):
    model = load_model(proto([helper.make_node("Relu", ["x"], ["y"])], [1]))
    with pytest.raises(ModelError, match=message):
        run_passes(model, [step])
