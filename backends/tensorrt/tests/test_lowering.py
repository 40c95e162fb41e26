"""What TensorRT is given: the same numbers in a form that it reads and fuses."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_tensorrt.lowering import Lowering, lower
from deepseek_core import CalibratorSpec, QuantizedModel
from deepseek_core.errors import BackendError
from deepseek_core.ir.frontend import load_model
from deepseek_core.pipeline import quantize

OLD = Lowering(17, typed=False)


def _run(data: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def _model(tmp_path, nodes, inputs, outputs, constants=()) -> QuantizedModel:
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "model", *infos, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "m.onnx")
    return load_model(tmp_path / "m.onnx")


def _ops(data: bytes) -> Counter:
    return Counter(node.op_type for node in onnx.load_model_from_string(data).graph.node)


def test_the_residual_pair_is_left_out_and_nothing_else(network, feeds) -> None:
    before = sum(node.op_type == "QuantizeLinear" for node in network.graph)
    data = lower(network, Lowering()).data
    assert _ops(data)["QuantizeLinear"] == before - 1
    found = onnx.load_model_from_string(data)
    (add,) = [node for node in found.graph.node if node.op_type == "Add"]
    makers = {name: node.op_type for node in found.graph.node for name in node.output}
    assert sorted(makers[name] for name in add.input) == ["Conv", "DequantizeLinear"]


def test_a_pair_with_a_coarser_scale_than_the_sums_stays(network) -> None:
    model = network.clone()
    unit = next(unit for unit in model.units() if unit.name == "second")
    quantize = unit.nodes[-1]
    assert quantize.op_type == "QuantizeLinear"
    for node in (quantize, *quantize.outputs[0].consumers()):
        scale = node.inputs[1]
        array = np.asarray(1e3 * scale.const_value.numpy(), np.float32)
        from deepseek_backend_tensorrt.lowering.edit import constant

        node.replace_input_with(1, constant(model.graph, "coarse", array))
    before = sum(node.op_type == "QuantizeLinear" for node in model.graph)
    assert _ops(lower(model, Lowering()).data)["QuantizeLinear"] == before


@pytest.mark.parametrize("lowering", [OLD, Lowering(), Lowering(half=True)], ids=["8.6", "typed", "half"])
def test_the_numbers_are_the_references(registry, network, feeds, lowering) -> None:
    backend, target = registry.resolve("reference")
    from deepseek_core import CompileOptions

    wanted = backend.load(backend.compile(network, target, CompileOptions())).run(feeds)["y"]
    (found,) = _run(lower(network, lowering).data, feeds)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=0.1 if lowering.half else 0.05)


def test_the_old_generation_quantizes_real_weights_itself_to_the_same_codes(network, feeds) -> None:
    data = lower(network, OLD).data
    initializers = onnx.load_model_from_string(data).graph.initializer
    assert not any(t.data_type == TensorProto.INT8 and len(t.dims) > 1 for t in initializers)
    (found,), (wanted,) = _run(data, feeds), _run(lower(network, Lowering()).data, feeds)
    np.testing.assert_array_equal(found, wanted)


def test_compiled_in_float_no_weight_is_a_code(network, feeds) -> None:
    plain = [unit.name for unit in network.units()]
    data = lower(network, Lowering(plain=plain)).data
    assert not any(
        tensor.data_type == TensorProto.INT8 and tensor.dims
        for tensor in onnx.load_model_from_string(data).graph.initializer
    )
    (found,), (wanted,) = _run(data, feeds), _run(lower(network, Lowering()).data, feeds)
    np.testing.assert_allclose(found, wanted, atol=0.3)


def test_int32_biases_become_the_numbers_they_stand_for(tmp_path) -> None:
    constants = {
        "w": np.ones((2, 3), np.int8), "ws": np.float32(0.5), "wz": np.int8(0), "b": np.array([2, -4, 6], np.int32),
        "bs": np.float32(0.05), "bz": np.int32(0), "s": np.float32(0.1), "z": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], name="wd"),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], name="bd"),
        helper.make_node("Gemm", ["d", "wd", "bd"], ["y"], name="gemm"),
    ]
    model = _model(tmp_path, nodes, {"x": [1, 2]}, {"y": [1, 3]}, constants)
    data = lower(model, Lowering()).data
    assert not any(t.data_type == TensorProto.INT32 for t in onnx.load_model_from_string(data).graph.initializer)
    np.testing.assert_allclose(_run(data, {"x": np.ones((1, 2), np.float32)})[0], [[1.1, 0.8, 1.3]], atol=1e-6)


@pytest.mark.parametrize(
    ("op", "attributes", "extra"),
    [
        ("Gelu", {}, {}),
        ("Gelu", {"approximate": "tanh"}, {}),
        ("Mish", {}, {}),
        ("ReduceMean", {"keepdims": 1}, {"axes": np.array([1])}),
        ("ReduceMax", {"keepdims": 1}, {"axes": np.array([-1])}),
        ("Pad", {}, {"pads": np.array([1, 2]), "value": np.float32(3), "axes": np.array([1])}),
    ],
)
def test_what_opset_17_does_not_have_is_written_out(tmp_path, op, attributes, extra) -> None:
    node = helper.make_node(op, ["x", *extra], ["y"], name="unit", **attributes)
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    shape = [2, 7] if op == "Pad" else None
    model = _model(tmp_path, [node], {"x": [2, 4]}, {"y": shape}, extra)
    data = lower(model, OLD).data
    found = onnx.load_model_from_string(data)
    assert found.opset_import[0].version == 17
    onnx.checker.check_model(found)
    np.testing.assert_allclose(_run(data, {"x": x})[0], _run(lower(model, Lowering()).data, {"x": x})[0], atol=1e-6)


def test_a_split_into_uneven_parts_gets_their_sizes(tmp_path) -> None:
    node = helper.make_node("Split", ["x"], ["a", "b", "c"], name="split", axis=1, num_outputs=3)
    model = _model(tmp_path, [node], {"x": [2, 7]}, {"a": [2, 3], "b": [2, 3], "c": [2, 1]})
    x = np.arange(14, dtype=np.float32).reshape(2, 7)
    for found, wanted in zip(_run(lower(model, OLD).data, {"x": x}), np.split(x, [3, 6], 1), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_codes_that_the_old_generation_lacks_are_refused(tmp_path) -> None:
    constants = {"w": np.zeros((2, 2), np.int8), "s": np.float32(1)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["q"], name="unit", output_dtype=TensorProto.FLOAT8E4M3FN)]
    nodes.append(helper.make_node("DequantizeLinear", ["q", "s"], ["y"], name="back"))
    model = _model(tmp_path, nodes, {"x": [2, 2]}, {"y": [2, 2]}, {"s": constants["s"]})
    with pytest.raises(BackendError, match="'unit' has codes of type FLOAT8E4M3FN"):
        lower(model, OLD)


@pytest.mark.parametrize(("rows", "lowering", "codes"), [(2, Lowering(), 1), (1, Lowering(), 0), (2, OLD, 0)])
def test_4_bit_weights_that_are_not_unpacked_are_stored_as_real_numbers(tmp_path, rows, lowering, codes) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["d"], name="dq", axis=0, block_size=1),
            helper.make_node("MatMul", ["x", "d"], ["y"], name="unit"),
        ],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor("w", TensorProto.INT4, [rows, 3], list(range(-3, 3 * rows - 3))),
            numpy_helper.from_array(np.full((rows, 3), 0.5, np.float32), "s"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "m.onnx")
    data = lower(load_model(tmp_path / "m.onnx"), lowering).data
    kinds = [t.data_type for t in onnx.load_model_from_string(data).graph.initializer if len(t.dims) == 2]
    assert (TensorProto.INT4 in kinds) == bool(codes)
    x = np.ones((1, rows), np.float32)
    wanted = 0.5 * np.arange(-3, 3 * rows - 3, dtype=np.float32).reshape(rows, 3).sum(0)
    np.testing.assert_array_equal(_run(data, {"x": x})[0], [wanted])


_UNARY = st.sampled_from(["Relu", "Sigmoid", "Tanh", "Neg", "Sqrt", "Softmax", "Identity", "ReduceMean"])


@settings(max_examples=15, deadline=None)
@given(ops=st.lists(_UNARY, min_size=1, max_size=6), seed=st.integers(0, 9))
def test_half_precision_is_a_typed_graph_with_the_same_interface(tmp_path_factory, ops, seed) -> None:
    """Whatever the ops: every node's inputs agree in type, inputs and outputs stay float32, results are near."""
    nodes, value = [], "x"
    for number, op in enumerate(ops):
        inner = value
        if op in ("Sqrt",):
            nodes.append(helper.make_node("Abs", [value], [f"abs{number}"], name=f"abs{number}"))
            inner = f"abs{number}"
        nodes.append(helper.make_node(op, [inner], [f"v{number}"], name=f"node{number}"))
        value = f"v{number}"
    nodes.append(helper.make_node("Add", [value, "c"], ["y"], name="last"))
    constants = {"c": np.float32(1e6)} if seed % 2 else {"c": np.float32(0.5)}
    model = _model(tmp_path_factory.mktemp("half"), nodes, {"x": [2, 3]}, {"y": None}, constants)
    data = lower(model, Lowering(half=True)).data
    x = np.random.default_rng(seed).uniform(-1, 1, (2, 3)).astype(np.float32)
    (found,), (wanted,) = _run(data, {"x": x}), _run(lower(model, Lowering()).data, {"x": x})
    assert found.dtype == np.float32
    assert np.isfinite(found).all(), "constants are kept within what float16 holds"
    if not seed % 2:
        np.testing.assert_allclose(found, wanted, rtol=0.05, atol=0.05)


def _quantized(tmp_path, nodes, weights) -> tuple[QuantizedModel, dict[str, np.ndarray]]:
    model = _model(tmp_path, nodes, {"x": [1, 8, 4, 4]}, {"y": [1, 8, 4, 4]}, weights)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(1, 8, 4, 4)).astype(np.float32)} for _ in range(3)]
    return quantize(model, samples, targets=["tensorrt:sm_90"], calibrator=CalibratorSpec("minmax")), samples[0]


@pytest.mark.parametrize(
    ("low", "high", "ops"),
    [
        (0, 0.5, ["Relu"]),
        (-0.5, 0.3, ["Max", "Min"]),
        (-0.2, 0.3, ["Max"]),
        (-0.1, None, ["Max"]),
        (None, 0.2, ["Min"]),
        (0, 1e3, ["Relu"]),
    ],
)
def test_clips_behind_products_are_written_out_for_old_builders(tmp_path, low, high, ops) -> None:
    weights = {"w": np.random.default_rng(1).normal(size=(8, 8, 1, 1)).astype(np.float32) / 4}
    bounds = {name: np.float32(value) for name, value in (("low", low), ("high", high)) if value is not None}
    inputs = ["c", "low" if low is not None else "", "high" if high is not None else ""]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Clip", inputs if high is not None else inputs[:2], ["d"], name="clip"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="last"),
    ]
    model, feeds = _quantized(tmp_path, nodes, {**weights, **{n: np.asarray(v) for n, v in bounds.items()}})
    found = _ops(lower(model, OLD).data)
    assert "Clip" not in found
    assert {op: found[op] for op in ("Relu", "Max", "Min") if found[op]} == dict.fromkeys(ops, 1)
    assert _ops(lower(model, Lowering()).data)["Clip"] == 1, "newer builders read it as it is"
    wanted = _run(lower(model, Lowering()).data, feeds)[0]
    np.testing.assert_allclose(_run(lower(model, OLD).data, feeds)[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("group", "outputs", "codes"), [(1, 8, True), (2, 8, True), (4, 8, False), (8, 8, True), (8, 16, False)]
)
def test_groups_without_kernels_run_in_float_on_old_builders(tmp_path, group, outputs, codes) -> None:
    weights = {"w": np.random.default_rng(1).normal(size=(outputs, 8 // group, 1, 1)).astype(np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=group)]
    model, feeds = _quantized(tmp_path, nodes, weights)
    assert lower(model, OLD).has_codes == codes
    assert lower(model, Lowering()).has_codes
    wanted = _run(lower(model, Lowering()).data, feeds)[0]
    np.testing.assert_allclose(_run(lower(model, OLD).data, feeds)[0], wanted, atol=0.05 * np.abs(wanted).max())
