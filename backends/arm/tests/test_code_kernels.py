"""Kernels of codes alone against the reference, bit for bit: odd seeded shapes, each instruction set, and portable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_arm.container import Container
from deepseek_core import CompileOptions, QuantizedModel, discover
from deepseek_core.ir.frontend import load_model

CPUS = ("cortex-a72", "cortex-a76", "armv8.6-a+i8mm")


@dataclass(frozen=True, eq=False)
class Case:
    """A unit of codes.

    Attributes:
        x: [N, C, H, W], the data's codes.
        w: weights' codes, None for a unit that has none.
        lsb: by how many codes results may differ: means are rounded once.
    """

    id: str
    op: str
    x: NDArray[np.int8]
    w: NDArray[np.int8] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    lsb: int = 0


_RNG = np.random.default_rng(17)


def _codes(*shape: int, low: int = -128) -> NDArray[np.int8]:
    return _RNG.integers(low, 128, shape).astype(np.int8)


def _depthwise() -> Iterator[Case]:
    """(kernel), (stride), (dilation), (top, left, bottom, right), channels, (height, width)."""
    rows = (
        ((5, 5), (1, 1), (1, 1), (2, 2, 2, 2), 16, (7, 7)),
        ((5, 5), (2, 2), (1, 1), (2, 2, 2, 2), 40, (11, 14)),
        ((5, 5), (1, 1), (1, 1), (0, 4, 1, 0), 33, (9, 3)),
        ((3, 5), (1, 2), (1, 1), (1, 2, 1, 2), 24, (6, 19)),
        ((7, 7), (1, 1), (1, 1), (3, 3, 3, 3), 48, (8, 13)),
        ((4, 4), (2, 3), (1, 1), (1, 1, 2, 2), 17, (10, 10)),
        ((5, 5), (1, 1), (2, 2), (4, 4, 4, 4), 32, (6, 10)),
        ((5, 3), (1, 1), (1, 3), (2, 0, 2, 0), 16, (5, 9)),
        ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 35, (6, 5)),
        ((9, 2), (1, 1), (1, 1), (4, 0, 4, 1), 20, (4, 21)),
        ((5, 5), (1, 1), (1, 1), (2, 2, 2, 2), 9, (5, 5)),
    )
    for number, (kernel, strides, dilations, pads, channels, size) in enumerate(rows):
        attributes = {"strides": strides, "dilations": dilations, "pads": pads, "group": channels}
        w = _codes(channels, 1, *kernel, low=-128 if number % 2 else -127)
        name = f"Depthwise_{'x'.join(map(str, kernel))}_{channels}_{number}"
        yield Case(name, "Conv", _codes(1 + number % 2, channels, *size), w, attributes)


def _convolutions() -> Iterator[Case]:
    """Windows of few and of many bytes, points with strides, images one after the other."""
    rows = (
        (3, 8, (3, 3), (2, 2), (1, 1, 1, 1), (9, 8)),
        (1, 5, (3, 3), (1, 1), (1, 1, 1, 1), (6, 7)),
        (2, 21, (1, 5), (1, 2), (0, 2, 0, 2), (3, 33)),
        (5, 40, (1, 1), (2, 1), (0, 0, 0, 0), (5, 31)),
        (24, 24, (3, 3), (1, 1), (1, 1, 1, 1), (5, 6)),
    )
    for number, (inputs, outputs, kernel, strides, pads, size) in enumerate(rows):
        w = _codes(outputs, inputs, *kernel, low=-127)
        yield Case(f"Conv_{number}", "Conv", _codes(3, inputs, *size), w, {"strides": strides, "pads": pads})


def _pools() -> Iterator[Case]:
    for channels, size in ((16, (7, 7)), (35, (3, 5)), (20, (17, 19)), (6, (2, 3))):
        name = f"{channels}_{size[0]}x{size[1]}"
        yield Case(f"GlobalAveragePool_{name}", "GlobalAveragePool", _codes(2, channels, *size), lsb=1)
        window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "strides": (2, 1)}
        yield Case(f"MaxPool_{name}", "MaxPool", _codes(2, channels, *size), attributes=window)
    yield Case("AveragePool_low", "GlobalAveragePool", np.full((1, 18, 31, 29), -128, np.int8), lsb=1)


def _functions() -> Iterator[Case]:
    for op in ("HardSwish", "HardSigmoid", "Sigmoid"):
        yield Case(op, op, _codes(1, 3, 7, 11))


CASES = [*_depthwise(), *_convolutions(), *_pools(), *_functions()]


def _model(case: Case) -> QuantizedModel:
    """The unit between Q and DQ nodes."""
    constants = {
        "xs": np.array(0.02, np.float32),
        "xz": np.array(-3, np.int8),
        "ys": np.array(0.5 if case.w is not None else 0.02, np.float32),
        "yz": np.array(5, np.int8),
    }
    nodes = [helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["a"])]
    names = ["a"]
    if case.w is not None:
        channels = case.w.shape[0]
        scales = (_RNG.random(channels) * 0.02 + 0.005).astype(np.float32)
        constants |= {"w": case.w, "ws": scales, "wz": np.zeros(channels, np.int8)}
        constants |= {"b": _RNG.integers(-999, 999, channels).astype(np.int32), "bs": scales * np.float32(0.02)}
        constants["bz"] = np.zeros(channels, np.int32)
        nodes.append(helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0))
        nodes.append(helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["c"], axis=0))
        names += ["v", "c"]
    nodes.append(helper.make_node(case.op, names, ["r"], "unit", **case.attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT8, case.x.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT8, None)]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, case.id, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return load_model(onnx.shape_inference.infer_shapes(model))


def _expected(model: QuantizedModel, case: Case) -> NDArray[np.int8]:
    backend, target = discover().resolve("reference")
    (result,) = backend.load(backend.compile(model, target, CompileOptions())).run({"x": case.x}).values()
    assert len(np.unique(result)) > 1 or case.x.min() == case.x.max()
    return result


def _check(case: Case, got: NDArray[np.int8], expected: NDArray[np.int8]) -> None:
    assert got.shape == expected.shape
    assert int(np.abs(got.astype(int) - expected.astype(int)).max()) <= case.lsb


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_neon_kernels_give_the_reference_on_every_instruction_set(toolchain, case) -> None:
    model = _model(case)
    expected = _expected(model, case)
    for cpu in CPUS:
        backend, target = discover().resolve(f"arm:{cpu}")
        executable = backend.load(backend.compile(model, target, CompileOptions()))
        (got,) = executable.run({"x": case.x}).values()
        executable.close()
        _check(case, got, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_portable_kernels_give_the_reference_and_break_no_rule_of_c(portable, case) -> None:
    model = _model(case)
    backend, target = discover().resolve("arm:cortex-a72")
    slot = portable.load(Container.decode(backend.compile(model, target, CompileOptions()).payload))
    (got,) = portable.run(slot, [case.x])
    portable.free(slot)
    _check(case, got, _expected(model, case))


_PRODUCTS = (
    ((1, 1), (1, 1), False),
    ((31, 33), (33, 17), False),
    ((31, 33), (33, 17), True),
    ((3, 7, 48), (3, 48, 20), True),
    ((2, 2, 9, 16), (2, 2, 16, 37), False),
)


@pytest.mark.parametrize(("left", "right", "least"), _PRODUCTS)
def test_products_of_two_matrices_of_run_time(toolchain, portable, left, right, least) -> None:
    """Sums of two products in 16 bits, and of one where the right side has the code that does not let them fit."""
    feeds = {"a": np.full(left, -128, np.int8), "b": _codes(*right, low=-127)}
    feeds["a"][..., ::2] = _codes(*feeds["a"][..., ::2].shape)
    feeds["b"].reshape(-1)[::3] = -128 if least else -127
    model = _product(feeds)
    (expected,) = _results("reference", model, feeds)
    for cpu in CPUS:
        np.testing.assert_array_equal(_results(f"arm:{cpu}", model, feeds)[0], expected)
    backend, target = discover().resolve("arm:cortex-a72")
    slot = portable.load(Container.decode(backend.compile(model, target, CompileOptions()).payload))
    np.testing.assert_array_equal(portable.run(slot, list(feeds.values()))[0], expected)
    portable.free(slot)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max"])
@pytest.mark.parametrize("right", [(1, 27, 1, 1), (2, 27, 1, 1), (2, 27, 3, 5), (5,), (1, 1, 3, 1)])
def test_pairs_of_codes_with_broadcasting(toolchain, portable, op, right) -> None:
    feeds = {"a": _codes(2, 27, 3, 5), "b": np.maximum(_codes(*right), -1)}
    model = _product(feeds, op)
    (expected,) = _results("reference", model, feeds)
    for cpu in CPUS[:2]:
        np.testing.assert_array_equal(_results(f"arm:{cpu}", model, feeds)[0], expected)
    backend, target = discover().resolve("arm:cortex-a72")
    slot = portable.load(Container.decode(backend.compile(model, target, CompileOptions()).payload))
    np.testing.assert_array_equal(portable.run(slot, list(feeds.values()))[0], expected)
    portable.free(slot)


def _product(feeds: Mapping[str, NDArray[np.int8]], op: str = "MatMul") -> QuantizedModel:
    depth = feeds["a"].shape[-1]
    numbers = {"as": 0.02, "bs": 0.03, "ys": 0.02 * 0.03 * 128 * depth**0.5 if op == "MatMul" else 0.05}
    constants = {name: np.array(number, np.float32) for name, number in numbers.items()}
    constants |= {name: np.array(zero, np.int8) for name, zero in (("az", 3), ("bz", -2), ("yz", 1))}
    nodes = [helper.make_node("DequantizeLinear", [n, f"{n}s", f"{n}z"], [f"{n}r"]) for n in "ab"]
    nodes.append(helper.make_node(op, ["ar", "br"], ["r"], "unit"))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["y"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT8, array.shape) for name, array in feeds.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT8, None)]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "product", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return load_model(onnx.shape_inference.infer_shapes(model))


def _results(name: str, model: QuantizedModel, feeds: Mapping[str, NDArray[np.int8]]) -> list[NDArray[Any]]:
    backend, target = discover().resolve(name)
    executable = backend.load(backend.compile(model, target, CompileOptions()))
    results = list(executable.run(feeds).values())
    executable.close()
    return results
