"""Every rule of canonical form on the smallest model that breaks it, with its values unchanged."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from deepseek_core.errors import ModelError
from deepseek_core.ir.canonical import canonicalize
from deepseek_core.ir.canonical.sharing import is_lossless
from deepseek_core.ir.frontend import load_model
from deepseek_core.ir.qparams import QParams, numpy_dtype
from deepseek_core.ir.serialize import to_bytes
from deepseek_core.scheme import DType, Granularity, QuantScheme

F = np.float32
X = {"x": ("float", [2, 3])}
PER_TENSOR = {"s": F(0.1), "z": np.int8(0)}


def q(source, codes, scale="s", zero="z", **attributes):
    return ("QuantizeLinear", [source, scale, *([zero] if zero else [])], [codes], attributes)


def dq(codes, real, scale="s", zero="z", **attributes):
    return ("DequantizeLinear", [codes, scale, *([zero] if zero else [])], [real], attributes)


@pytest.fixture
def load(build):
    """Load a model, and check that ONNX's reference gives the same before and after, and that saving is stable."""

    def check(*arguments, **options):
        proto = build(*arguments, **options)
        model = load_model(proto)
        feeds = {
            i.name: np.random.default_rng(0).normal(0, 3, [d.dim_value or 2 for d in i.type.tensor_type.shape.dim])
            for i in proto.graph.input
        }
        feeds = {
            k: v.astype(helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type))
            for (k, v), i in zip(feeds.items(), proto.graph.input, strict=True)
        }
        before = ReferenceEvaluator(proto).run(None, feeds)
        after = ReferenceEvaluator(ir.to_proto(model.model)).run(None, feeds)
        for one, other in zip(before, after, strict=True):
            assert np.array_equal(np.asarray(one).astype(np.float64), np.asarray(other).astype(np.float64))
        assert load_model(ir.to_proto(model.model)).digest() == model.digest()
        return model

    return check


def test_constants_become_initializers(load, ops):
    value = helper.make_tensor("value", onnx.TensorProto.FLOAT, [3], [1, 2, 3])
    model = load(
        [
            ("Constant", [], ["c"], {"value": value}),
            ("Constant", [], ["d"], {"value_float": 2.0}),
            ("Add", ["x", "c"], ["a"]),
            ("Mul", ["a", "d"], ["y"]),
        ],
        X,
        ["y"],
    )
    assert ops(model) == ["Add", "Mul"]
    assert set(model.graph.initializers) == {"c", "d"}


def test_a_constant_output_stays_a_node(load, ops):
    model = load([("Constant", [], ["y"], {"value_float": 2.0})], {}, ["y"])
    assert ops(model) == ["Constant"]


def test_an_initializer_is_no_input(load):
    model = load([("Add", ["x", "c"], ["y"])], {**X, "c": ("float", [3])}, ["y"], {"c": np.ones(3, F)})
    assert [i.name for i in model.inputs] == ["x"]
    assert [v.name for v in model.graph.inputs] == ["x"]


def test_a_quantized_constant_is_stored_as_codes(load, ops):
    w = np.random.default_rng(0).normal(size=(3, 4)).astype(F)
    model = load(
        [q("w", "wq", "ws", "wz", axis=1), dq("wq", "wd", "ws", "wz", axis=1), ("MatMul", ["x", "wd"], ["y"])],
        X,
        ["y"],
        {"w": w, "ws": np.full(4, 0.01, F), "wz": np.arange(4, dtype=np.int8)},
    )
    assert ops(model) == ["DequantizeLinear", "MatMul"]
    codes = model.graph[0].inputs[0].const_value
    assert codes.dtype is ir.DataType.INT8
    assert codes.numpy().max() == 127, "what lies outside the range saturates"
    assert "w" not in model.graph.initializers


def test_a_constant_requantized_to_another_scale_is_folded_too(load, ops):
    model = load(
        [dq("w", "wd"), q("wd", "wq", "t", "z"), dq("wq", "v", "t", "z"), ("Add", ["x", "v"], ["y"])],
        X,
        ["y"],
        {**PER_TENSOR, "t": F(0.3), "w": np.arange(3, dtype=np.int8)},
    )
    assert ops(model) == ["DequantizeLinear", "Add"]
    assert model.graph[0].inputs[0].const_value.numpy().tolist() == [0, 0, 1]


def test_a_quantized_constant_output_keeps_its_node(load, ops):
    model = load([q("w", "y")], {}, ["y"], {**PER_TENSOR, "w": np.ones(3, F)})
    assert ops(model) == ["QuantizeLinear"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_an_implied_zero_point_is_written(load, dtype):
    model = load([dq("c", "y", zero=None)], {"c": (dtype, [2, 3])}, ["y"], {"s": F(0.1)})
    zero = model.graph[0].inputs[2].const_value
    assert zero.dtype.name.lower() == dtype
    assert zero.numpy() == 0
    assert zero.shape == ()


def test_a_quantizer_implies_uint8_or_what_its_attribute_says(load):
    plain = load([q("x", "y", zero=None)], X, ["y"], {"s": F(0.1)})
    assert plain.graph[0].inputs[2].const_value.dtype is ir.DataType.UINT8
    model = load([q("x", "y", zero=None, output_dtype=onnx.TensorProto.INT16)], X, ["y"], {"s": F(0.1)})
    assert model.graph[0].inputs[2].const_value.dtype is ir.DataType.INT16
    assert not model.graph[0].attributes


def test_a_zero_point_has_the_shape_of_its_scale(load):
    model = load(
        [dq("w", "wd", axis=-1), ("Add", ["x", "wd"], ["y"])],
        X,
        ["y"],
        {"s": np.full(3, 0.1, F), "z": np.zeros(3, np.int8), "w": np.ones((2, 3), np.int8)},
    )
    assert model.graph[0].attributes.get_int("axis") == 1, "axes count from the front"


def test_the_zero_point_of_a_computed_scale_is_written_where_its_shape_is_known(build):
    nodes = [("ReduceMax", ["x"], ["m"], {"keepdims": 0}), q("x", "c", "m", None), dq("c", "y", "m", None)]
    model = load_model(build(nodes, X, ["y"]))
    assert [n.inputs[2].const_value.shape for n in model.graph if n.op_type != "ReduceMax"] == [(), ()]
    model = load_model(build([q("x", "c", "m", None), dq("c", "y", "m", None)], {**X, "m": ("float", None)}, ["y"]))
    assert [len(n.inputs) for n in model.graph] == [2, 2]


def test_one_scale_in_a_list_is_a_scale_for_the_tensor(build):
    proto = build([q("x", "c"), dq("c", "y")], X, ["y"], {"s": np.full(1, 0.1, F), "z": np.zeros(1, np.int8)})
    model = load_model(proto)
    assert [v.const_value.shape for n in model.graph for v in n.inputs[1:]] == [()] * 4
    assert len(model.graph.initializers) == 2, "nodes that shared a scale still do"


def test_one_scale_for_an_axis_with_one_index_stays_a_channel(load):
    constants = {"s": np.full(1, 0.1, F), "z": np.zeros(1, np.int8), "w": np.ones((1, 3), np.int8)}
    model = load([dq("w", "wd", axis=0), ("Add", ["x", "wd"], ["y"])], X, ["y"], constants)
    (add,) = model.units()
    assert add.inputs[1].qparams.scheme.granularity is Granularity.PER_CHANNEL


def test_a_shared_dequantizer_is_copied_and_its_initializer_is_not(load, ops):
    model = load(
        [dq("w", "wd"), ("Add", ["x", "wd"], ["a"]), ("Mul", ["a", "wd"], ["b"]), ("Sub", ["b", "wd"], ["y"])],
        X,
        ["y"],
        {**PER_TENSOR, "w": np.ones((2, 3), np.int8)},
    )
    assert ops(model).count("DequantizeLinear") == 3
    assert set(model.graph.initializers) == {"w", "s", "z"}
    assert [u.op for u in model.units()] == ["Add", "Mul", "Sub"]


def test_a_dequantizer_read_twice_by_one_node_is_copied(load, ops):
    model = load([q("x", "c"), dq("c", "d"), ("Mul", ["d", "d"], ["y"])], X, ["y"], PER_TENSOR)
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Mul"]


def test_an_output_keeps_its_dequantizer(load, ops):
    model = load([q("x", "c"), dq("c", "d"), ("Neg", ["d"], ["y"])], X, ["y", "d"], PER_TENSOR)
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Neg"]
    assert model.graph.outputs[1].producer().op_type == "DequantizeLinear"


def test_equal_double_pairs_collapse(load, ops):
    nodes = [q("x", "c"), dq("c", "d"), q("d", "e"), dq("e", "f"), q("f", "g"), dq("g", "y")]
    assert ops(load(nodes, X, ["y"], PER_TENSOR)) == ["QuantizeLinear", "DequantizeLinear"]


def test_equal_means_equal_numbers_not_equal_names(load, ops):
    nodes = [q("x", "c"), dq("c", "d"), q("d", "e", "s2", "z2"), dq("e", "y", "s2", "z2")]
    constants = {**PER_TENSOR, "s2": F(0.1), "z2": np.int8(0)}
    assert ops(load(nodes, X, ["y"], constants)) == ["QuantizeLinear", "DequantizeLinear"]


def test_different_double_pairs_stay(load, ops):
    nodes = [q("x", "c"), dq("c", "d"), q("d", "e", "t"), dq("e", "y", "t")]
    assert len(ops(load(nodes, X, ["y"], {**PER_TENSOR, "t": F(0.25)}))) == 4


def test_a_pair_before_an_output_of_codes_collapses_and_the_output_keeps_its_name(load, ops):
    model = load([q("x", "c"), dq("c", "d"), q("d", "y")], X, ["y"], PER_TENSOR)
    assert ops(model) == ["QuantizeLinear"]
    assert model.outputs[0].name == "y"


def test_a_pair_between_two_outputs_stays(load, ops):
    model = load([q("x", "c"), dq("c", "d"), q("d", "y")], X, ["y", "c"], PER_TENSOR)
    assert [o.name for o in model.outputs] == ["y", "c"]
    assert len(ops(model)) == 3


def test_codes_given_as_an_input_collapse_too(load, ops):
    nodes = [dq("c", "d"), q("d", "e"), dq("e", "y")]
    assert ops(load(nodes, {"c": ("int8", [2, 3])}, ["y"], PER_TENSOR)) == ["DequantizeLinear"]


def test_equal_quantizers_of_one_tensor_are_one(load, ops):
    model = load(
        [
            ("Relu", ["x"], ["r"]),
            *(n for k in "abc" for n in (q("r", f"{k}q"), dq(f"{k}q", f"{k}d"), ("Neg", [f"{k}d"], [f"{k}"]))),
            ("Sum", ["a", "b", "c"], ["y"]),
        ],
        X,
        ["y"],
        PER_TENSOR,
    )
    assert ops(model).count("QuantizeLinear") == 1
    assert [u.op for u in model.units()] == ["Relu", "Neg", "Neg", "Neg", "Sum"]


def test_quantizers_that_saturate_differently_stay(build, ops):
    zero = helper.make_tensor("z", onnx.TensorProto.FLOAT8E4M3FN, [], [0])
    nodes = [q("x", "a", saturate=0), q("x", "b", saturate=1), dq("a", "u"), dq("b", "v"), ("Add", ["u", "v"], ["y"])]
    assert ops(load_model(build(nodes, X, ["y"], {"s": F(1), "z": zero}))).count("QuantizeLinear") == 2


def test_names_become_unique_and_interfaces_keep_theirs(load):
    nodes = [
        helper.make_node("Neg", ["x"], ["a"], "n"),
        helper.make_node("Abs", ["a"], ["y"], "n"),
        ("Abs", ["y"], ["w"]),
    ]
    model = load(nodes, X, ["y", "w"])
    assert [n.name for n in model.graph] == ["n", "n_2", "Abs"]
    assert [o.name for o in model.outputs] == ["y", "w"]


def test_dead_nodes_and_constants_go(load, ops):
    model = load([("Neg", ["x"], ["y"]), ("Abs", ["x"], ["unused"])], X, ["y"], {"c": F(1)})
    assert ops(model) == ["Neg"]
    assert not model.graph.initializers


def test_nodes_in_any_order_are_sorted(build, ops):
    model = load_model(build([("Abs", ["a"], ["y"]), ("Neg", ["x"], ["a"])], X, ["y"]))
    assert ops(model) == ["Neg", "Abs"]


def test_a_cycle_is_refused(build):
    with pytest.raises(ModelError, match="cycle"):
        load_model(build([("Add", ["x", "b"], ["a"]), ("Neg", ["a"], ["b"])], X, ["b"]))


def test_local_functions_are_inlined(load, ops):
    inner = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 21)]
    )
    outer = helper.make_function(
        "local",
        "Four",
        ["a"],
        ["c"],
        [
            helper.make_node("Twice", ["a"], ["b"], domain="local"),
            helper.make_node("Twice", ["b"], ["c"], domain="local"),
        ],
        [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)],
    )
    model = load(
        [("local::Four", ["x"], ["y"]), ("local::Twice", ["y"], ["w"])],
        X,
        ["w"],
        domains={"local": 1},
        functions=[inner, outer],
    )
    assert ops(model) == ["Add", "Add", "Add"]
    assert not model.model.functions


def function(name, nodes, imports=("", "local")):
    return helper.make_function(
        "local", name, ["a"], ["b"], nodes, [helper.make_opsetid(d, 21 if not d else 1) for d in imports]
    )


def call(name, source, result):
    return helper.make_node(name, [source], [result], domain="local")


def test_functions_that_call_each_other_are_refused(build):
    functions = [function("F", [call("G", "a", "b")]), function("G", [call("F", "a", "b")])]
    with pytest.raises(ModelError, match=r"Cyclic.*inline them"):
        load_model(build([call("F", "x", "y")], X, ["y"], domains={"local": 1}, functions=functions))


def test_functions_that_double_each_other_are_refused_at_once(build):
    functions = [function("F0", [helper.make_node("Neg", ["a"], ["b"])])]
    functions += [function(f"F{i}", [call(f"F{i - 1}", "a", "m"), call(f"F{i - 1}", "m", "b")]) for i in range(1, 64)]
    with pytest.raises(ModelError, match="expand to"):
        load_model(build([call("F63", "x", "y")], X, ["y"], domains={"local": 1}, functions=functions))


def test_custom_operators_stay_as_they_are(build, ops):
    nodes = [("vendor::Magic", ["x"], ["a"], {"level": 3}), ("Relu", ["a"], ["y"])]
    model = load_model(build(nodes, X, ["y"], domains={"vendor": 2}))
    assert ops(model) == ["vendor::Magic", "Relu"]
    assert model.graph[0].attributes.get_int("level") == 3
    assert model.model.opset_imports == {"": 21, "vendor": 2}


@pytest.mark.parametrize("dtype", [d for d in DType if d.is_quantized])
def test_a_pair_is_lossless_exactly_when_every_code_survives(dtype):
    low, high = (int(v) for v in dtype.range)
    codes = (
        np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype)) if not dtype.is_integer else np.arange(low, high + 1)
    )
    codes = codes[np.isfinite(codes.astype(F))]
    for scale in (1e-45, 1e-38, 2.0**-101, 0.1, 3.0, 1e30, 1e33, 1e36, 3e38):
        for zero in (low, 0, high) if dtype.is_integer else (0,):
            params = QParams(QuantScheme(dtype), F(scale), np.array(zero, numpy_dtype(dtype)))
            stored = codes.astype(numpy_dtype(dtype))
            with np.errstate(over="ignore", under="ignore"):
                survives = np.array_equal(params.quantize(params.dequantize(stored)).astype(F), stored.astype(F))
            if is_lossless(params, ir.DataType.FLOAT):
                assert survives, (scale, zero)
            elif dtype.is_integer:
                assert not survives or scale * max(abs(low - zero), abs(high - zero)) > 1e38, (scale, zero)


def test_canonicalising_twice_changes_nothing(goldens):
    for path in goldens.values():
        model = load_model(path)
        before = to_bytes(model)
        canonicalize(model.model)
        assert to_bytes(model) == before
