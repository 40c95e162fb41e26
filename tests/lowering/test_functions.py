"""Tables of codes against the reference backend, code by code."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import DType, Granularity, QParams, QuantScheme
from deepseek_core.errors import BackendError
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.ir.qparams import numpy_dtype
from deepseek_core.lowering import UnaryFunction, code_table
from deepseek_core.reference import evaluate

_FUNCTIONS = (
    *(UnaryFunction(op) for op in ("Abs", "Erf", "Exp", "HardSwish", "Neg", "Relu", "Sigmoid", "Softplus", "Tanh")),
    *(UnaryFunction(op, (("alpha", 0.3),)) for op in ("Elu", "LeakyRelu", "ThresholdedRelu")),
    *(UnaryFunction("Gelu", (("approximate", kind),)) for kind in ("none", "tanh")),
    UnaryFunction("HardSigmoid", (("alpha", 0.25), ("beta", 0.4))),
    UnaryFunction("Clip", (), (-1.5, 2.0)),
    UnaryFunction("Clip", (), (None, 2.0)),
    UnaryFunction("LeakyRelu"),
)


def _all_codes(dtype: DType) -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype))


def _evaluated(function: UnaryFunction, source: QParams, target: QParams) -> np.ndarray:
    """Results of the reference backend for a model DQ → function → Q."""
    bounds = [None if n is None else np.array(n, np.float32) for n in function.constants]
    arrays = {"xs": source.scale, "xz": source.zero_point, "ys": target.scale, "yz": target.zero_point}
    arrays |= {f"b{i}": bound for i, bound in enumerate(bounds) if bound is not None}
    names = ["" if bound is None else f"b{i}" for i, bound in enumerate(bounds)]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["r"], "dq"),
        helper.make_node(function.op, ["r", *names], ["s"], "f", **dict(function.attributes)),
        helper.make_node("QuantizeLinear", ["s", "ys", "yz"], ["y"], "q"),
    ]
    kind = TensorProto.INT8 if source.scheme.dtype is DType.INT8 else TensorProto.UINT8
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", kind, [256])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    feeds = {"x": _all_codes(source.scheme.dtype)}
    return evaluate(QuantizedModel(ir.from_proto(model)), feeds)["y"]


@st.composite
def qparams(draw, *dtypes):
    dtype = draw(st.sampled_from(dtypes))
    scale = draw(st.one_of(st.floats(2**-10, 0.5), st.sampled_from([2.0**-n for n in range(1, 9)])))
    scheme = QuantScheme(dtype)
    zero = draw(st.integers(int(scheme.qmin), int(scheme.qmax)))
    return QParams(scheme, np.array(scale, np.float32), np.array(zero, numpy_dtype(dtype)))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(_FUNCTIONS),
    qparams(DType.INT8, DType.UINT8),
    qparams(DType.INT8, DType.UINT8, DType.INT16),
)
def test_a_table_holds_what_the_reference_backend_computes(function, source, target) -> None:
    np.testing.assert_array_equal(code_table(source, target, function), _evaluated(function, source, target))


@settings(max_examples=30, deadline=None)
@given(qparams(DType.INT8, DType.UINT8), qparams(DType.INT8, DType.INT16))
def test_without_a_function_a_table_changes_parameters(source, target) -> None:
    codes = _all_codes(source.scheme.dtype)
    np.testing.assert_array_equal(code_table(source, target), target.quantize(source.dequantize(codes)))


def test_a_table_is_indexed_by_the_byte_of_a_code() -> None:
    one = QParams(QuantScheme(DType.INT8), np.array(1, np.float32), np.array(0, np.int8))
    table = code_table(one, one, UnaryFunction("Neg"))
    assert table.dtype == np.int8
    assert [table[byte] for byte in (0, 1, 127, 128, 255)] == [0, -1, -127, 127, 1]
    assert np.roll(table, 128)[:2].tolist() == [127, 127], "-(-128) saturates, -(-127) does not"


def test_tables_are_of_eight_bits_per_tensor() -> None:
    one = QParams(QuantScheme(DType.INT8), np.array(1, np.float32), np.array(0, np.int8))
    wide = QParams(QuantScheme(DType.INT16), np.array(1, np.float32), np.array(0, np.int16))
    scheme = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, axis=0)
    channels = QParams(scheme, np.ones(256, np.float32), np.zeros(256, np.int8))
    for source, target in ((wide, one), (channels, one), (one, channels)):
        with pytest.raises(ValueError, match="a table from"):
            code_table(source, target)


def test_a_function_of_a_node_has_its_attributes_and_constants() -> None:
    low = ir.Value(name="low", const_value=ir.tensor(np.array(-1, np.float32)))
    clip = ir.node("Clip", [ir.Value(name="x"), low, None])
    assert UnaryFunction.of(clip) == UnaryFunction("Clip", (), (-1.0, None))
    hard = UnaryFunction.of(ir.node("HardSigmoid", [ir.Value(name="x")], {"beta": 0.25, "alpha": 0.5}))
    assert hard == UnaryFunction("HardSigmoid", (("alpha", 0.5), ("beta", 0.25)))
    assert hash(hard) == hash(UnaryFunction("HardSigmoid", (("alpha", 0.5), ("beta", 0.25))))
    assert hard != UnaryFunction("HardSigmoid")


def test_a_function_keeps_type_and_shape() -> None:
    for dtype in (np.float32, np.float64):
        x = np.linspace(-3, 3, 6).astype(dtype).reshape(2, 3)
        result = UnaryFunction("Sigmoid")(x)
        assert (result.dtype, result.shape) == (dtype, (2, 3))
    exact = 1 / (1 + np.exp(-np.linspace(-3, 3, 6)))
    np.testing.assert_allclose(result.reshape(-1), exact, rtol=1e-15, err_msg="float64 is not computed in float32")


def test_what_is_no_function_of_one_number_is_refused() -> None:
    slopes = ir.Value(name="slopes", const_value=ir.tensor(np.zeros(3, np.float32)))
    with pytest.raises(BackendError, match="'slopes' has 3 elements, not one"):
        UnaryFunction.of(ir.node("PRelu", [ir.Value(name="x"), slopes]))
    with pytest.raises(BackendError, match="'low' is not constant"):
        UnaryFunction.of(ir.node("Clip", [ir.Value(name="x"), ir.Value(name="low")]))
