"""Products of float16: summed in float32, and sixteen at a time in float16 where that is asked for and the CPU can."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepseek_backend_arm.container import Container
from deepseek_core import CompileOptions, QuantizedModel, discover
from deepseek_core.ir.frontend import load_model

ABLE, UNABLE = ("cortex-a76", "neoverse-n1", "armv8.6-a+i8mm"), ("cortex-a72", "cortex-a53")
FAST = CompileOptions(extra={"half": "fast"})
_RNG = np.random.default_rng(23)
CASES = {
    "MatMul_31x67x19": ("MatMul", (31, 67), (67, 19), {}),
    "MatMul_1x515x8": ("MatMul", (1, 515), (515, 8), {}),
    "MatMul_7x16x33": ("MatMul", (2, 7, 16), (16, 33), {}),
    "Gemm_turned": ("Gemm", (13, 40), (21, 40), {"transB": 1}),
    "Conv_3x3": ("Conv", (1, 5, 9, 7), (11, 5, 3, 3), {"pads": [1, 1, 1, 1], "strides": [1, 2]}),
    "Conv_groups": ("Conv", (2, 12, 6, 5), (10, 6, 1, 1), {"group": 2}),
}


def _halves(*shape: int) -> NDArray[np.float16]:
    return _RNG.standard_normal(shape).astype(np.float16)


def _model(name: str) -> tuple[QuantizedModel, dict[str, NDArray[Any]]]:
    op, data, weights, attributes = CASES[name]
    w, x = _halves(*weights), _halves(*data)
    bias = {} if op == "MatMul" else {"b": _halves(w.shape[0])}
    node = helper.make_node(op, ["x", "w", *bias], ["y"], "unit", **attributes)
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, data)]
    constants = [numpy_helper.from_array(array, key) for key, array in {"w": w, **bias}.items()]
    graph = helper.make_graph([node], name, inputs, [helper.make_value_info("y", onnx.TypeProto())], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return load_model(onnx.shape_inference.infer_shapes(model)), {"x": x}


def _run(name: str, model: QuantizedModel, feeds: dict[str, NDArray[Any]], options: CompileOptions) -> NDArray[Any]:
    backend, target = discover().resolve(name)
    executable = backend.load(backend.compile(model, target, options))
    (result,) = executable.run(feeds).values()
    executable.close()
    assert result.dtype == np.float16
    return np.asarray(result, np.float32)


@pytest.mark.parametrize("name", CASES)
def test_sums_in_float16_are_close_where_the_cpu_has_them(toolchain, name) -> None:
    model, feeds = _model(name)
    expected = _run("reference", model, feeds, CompileOptions())
    size = float(np.sqrt(np.mean(expected**2)))
    for cpu in ABLE:
        np.testing.assert_allclose(_run(f"arm:{cpu}", model, feeds, FAST), expected, rtol=2e-3, atol=8e-3 * size)


@pytest.mark.parametrize("name", CASES)
def test_other_cpus_sum_in_float32(toolchain, name) -> None:
    model, feeds = _model(name)
    for cpu in UNABLE:
        fast, exact = (_run(f"arm:{cpu}", model, feeds, options) for options in (FAST, CompileOptions()))
        np.testing.assert_array_equal(fast, exact)


def test_sums_in_float16_are_an_option(toolchain) -> None:
    model, feeds = _model("MatMul_31x67x19")
    expected = _run("reference", model, feeds, CompileOptions())
    exact, fast = (_run("arm:cortex-a76", model, feeds, options) for options in (CompileOptions(), FAST))
    np.testing.assert_allclose(exact, expected, rtol=1e-3, atol=1e-3)
    assert np.count_nonzero(fast != exact) > fast.size // 4


def test_portable_kernels_sum_in_float32(portable) -> None:
    model, feeds = _model("Conv_3x3")
    backend, target = discover().resolve("arm:cortex-a72")
    slot = portable.load(Container.decode(backend.compile(model, target, FAST).payload))
    (got,) = portable.run(slot, [feeds["x"]])
    portable.free(slot)
    np.testing.assert_allclose(got, _run("reference", model, feeds, CompileOptions()), rtol=2e-3, atol=4e-3)
