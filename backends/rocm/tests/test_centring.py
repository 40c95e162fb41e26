"""uint8 codes run as int8: moved where they enter and leave, bit for bit the same model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_rocm.compiler import build_image
from deepseek_backend_rocm.devices.emulated import EmulatedDevice
from deepseek_backend_rocm.lowering import lower
from deepseek_backend_rocm.lowering.centring import MOVED
from deepseek_backend_rocm.runtime import RocmExecutable
from deepseek_core import CompileOptions, DType, QParams, QuantizedModel, QuantScheme, Target
from deepseek_core.ir.frontend import load_model
from deepseek_core.lowering import signed
from deepseek_core.reference import evaluate


def test_the_table_flips_the_highest_bit_and_is_its_own_inverse() -> None:
    assert MOVED.view(np.uint8).tolist() == [byte ^ 0x80 for byte in range(256)]


@given(st.integers(0, 255), st.floats(2**-10, 1, width=32), st.lists(st.floats(-300, 300, width=32), min_size=1))
def test_moved_codes_stand_for_the_same_numbers(zero, scale, reals) -> None:
    unsigned = QParams(QuantScheme(DType.UINT8), np.float32(scale).reshape(()), np.array(zero, np.uint8))
    held, x = signed(unsigned), np.array(reals, np.float32)
    np.testing.assert_array_equal(MOVED[unsigned.quantize(x)], held.quantize(x))
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(unsigned.dequantize(codes), held.dequantize(MOVED[codes]))
    assert signed(held) is held


@pytest.fixture(scope="module")
def unsigned() -> QuantizedModel:
    """A convolution with padding, an addition of constant codes and a table; uint8 in, out, and real numbers out."""
    rng = np.random.default_rng(0)
    weights = []

    def constant(name: str, array: object, dtype: type) -> str:
        weights.append(numpy_helper.from_array(np.array(array, dtype), name))
        return name

    def scaled(name: str, scale: float, zero: int, dtype: type = np.uint8) -> list[str]:
        return [constant(f"{name}.s", scale, np.float32), constant(f"{name}.z", zero, dtype)]

    w = constant("w", rng.integers(-100, 100, (6, 5, 3, 3)), np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", *(ins := scaled("x", 0.05, 131))], ["xr"], name="dx"),
        helper.make_node("DequantizeLinear", [w, *scaled("w", 0.02, 0, np.int8)], ["wr"], name="dw"),
        helper.make_node("Conv", ["xr", "wr"], ["c"], name="c", pads=[1] * 4),
        helper.make_node("QuantizeLinear", ["c", *scaled("c", 0.4, 77)], ["cq"], name="qc"),
        helper.make_node("DequantizeLinear", ["cq", "c.s", "c.z"], ["cr"], name="dc"),
        helper.make_node(
            "DequantizeLinear", [constant("k", rng.integers(0, 256, (1, 6, 1, 1)), np.uint8), *ins], ["kr"]
        ),
        helper.make_node("Add", ["cr", "kr"], ["a"], name="a"),
        helper.make_node("QuantizeLinear", ["a", *scaled("a", 0.5, 90)], ["aq"], name="qa"),
        helper.make_node("DequantizeLinear", ["aq", "a.s", "a.z"], ["ar"], name="da"),
        helper.make_node("Sigmoid", ["ar"], ["s"], name="s"),
        helper.make_node("QuantizeLinear", ["s", *scaled("y", 1 / 256, 0)], ["y"], name="qy"),
        helper.make_node("DequantizeLinear", ["y", "y.s", "y.z"], ["real"], name="dy"),
    ]
    nodes[5].name = "dk"
    ports = [("x", TensorProto.UINT8, (1, 5, 7, 9)), ("y", TensorProto.UINT8, (1, 6, 7, 9))]
    inputs, output = (helper.make_tensor_value_info(*port) for port in ports)
    real = helper.make_tensor_value_info("real", TensorProto.FLOAT, (1, 6, 7, 9))
    graph = helper.make_graph(nodes, "unsigned", [inputs], [output, real], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return QuantizedModel(load_model(model).model)


@pytest.mark.parametrize("architecture", ["gfx942", "gfx1100"])
def test_a_model_of_uint8_codes_is_the_references_bit_for_bit(triton, unsigned, architecture) -> None:
    kernels = [step.kernel for step in lower(unsigned).steps]
    assert kernels.count("lookup") == 3  # codes in, the table, codes out
    image = build_image(unsigned, Target("rocm", architecture), CompileOptions())
    assert [(port.name, port.dtype) for port in (*image.inputs, *image.outputs)][:2] == [("x", "uint8"), ("y", "uint8")]
    feeds = {"x": np.random.default_rng(1).integers(0, 256, (1, 5, 7, 9)).astype(np.uint8)}
    expected = evaluate(unsigned, feeds)
    executable = RocmExecutable(image, EmulatedDevice(architecture))
    actual = executable.run(feeds)
    executable.close()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)
