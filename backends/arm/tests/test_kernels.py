"""Each kernel alone against the reference, in odd shapes: on an emulated CPU, and portable under sanitizers.

What the conformance kit's forms do not reach; shapes and numbers are seeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepseek_backend_arm.container import Container
from deepseek_core import CompileOptions, QuantizedModel, discover
from deepseek_core.ir.frontend import load_model

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Case:
    """A node with its inputs.

    Attributes:
        feeds: inputs of the model, by name in the node's order; a name of "" leaves an input out.
        constants: further inputs, behind them.
        outputs: how many the node has.
    """

    id: str
    op: str
    feeds: Arrays
    constants: Arrays = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    rtol: float = 1e-5
    atol: float = 2e-6


def model_of(case: Case, opset: int = 21) -> QuantizedModel:
    """The node as a model."""
    names = [*case.feeds, *case.constants]
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, ["" if n.startswith("none") else n for n in names], results, "unit")
    node.attribute.extend(helper.make_attribute(k, v) for k, v in case.attributes.items())
    inputs = [_info(name, array) for name, array in case.feeds.items() if not name.startswith("none")]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in results]
    weights = [numpy_helper.from_array(a, n) for n, a in case.constants.items() if not n.startswith("none")]
    graph = helper.make_graph([node], case.id, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return load_model(onnx.shape_inference.infer_shapes(model, data_prop=True))


def _info(name: str, array: NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


_RNG = np.random.default_rng(11)
_NONE = np.zeros(0, np.float32)


def _reals(*shape: int) -> NDArray[np.float32]:
    return _RNG.standard_normal(shape).astype(np.float32)


def _recurrent() -> Iterator[Case]:
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for steps, batch, size, hidden, direction in (
            (5, 3, 7, 9, "forward"),
            (1, 1, 4, 8, "reverse"),
            (3, 2, 5, 3, "bidirectional"),
        ):
            count = 2 if direction == "bidirectional" else 1
            weights = {"w": _reals(count, gates * hidden, size) / 2, "r": _reals(count, gates * hidden, hidden) / 2}
            given = {"x": _reals(steps, batch, size)}
            states = {"h": _reals(count, batch, hidden)} | ({"c": _reals(count, batch, hidden)} if op == "LSTM" else {})
            bias = {"b": _reals(count, 2 * gates * hidden), "none": _NONE}
            for reset in (0, 1) if op == "GRU" else (0,):
                more = {"linear_before_reset": reset} if op == "GRU" else {}
                attributes = {"hidden_size": hidden, "direction": direction, **more}
                outputs = 3 if op == "LSTM" else 2
                yield Case(f"{op}_{direction}_{reset}", op, given, weights, attributes, outputs)
                whole = {**weights, **bias, **states}
                yield Case(f"{op}_{direction}_{reset}_states", op, given, whole, attributes, outputs)


def _resizes() -> Iterator[Case]:
    x = {"x": _reals(2, 3, 5, 7)}
    sizes = {"none0": _NONE, "none1": _NONE, "sizes": np.array([2, 3, 9, 4], np.int64)}
    scales = {"none0": _NONE, "scales": np.array([1, 1, 1.7, 2.5], np.float32)}
    for number, constants in enumerate((sizes, scales)):
        for mode in ("nearest", "linear", "cubic"):
            for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
                if number and way == "half_pixel_symmetric":
                    continue
                attributes = {"mode": mode, "coordinate_transformation_mode": way}
                yield Case(f"Resize_{mode}_{way}_{number}", "Resize", x, constants, attributes)
    for rounding in ("round_prefer_ceil", "floor", "ceil"):
        attributes = {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": "half_pixel"}
        yield Case(f"Resize_{rounding}", "Resize", x, sizes, attributes)


def _moves() -> Iterator[Case]:
    x = {"x": _reals(3, 4, 5)}
    for mode in ("constant", "edge", "reflect", "wrap"):
        yield Case(f"Pad_{mode}", "Pad", x, {"pads": np.array([0, 2, 1, 0, 1, 3], np.int64)}, {"mode": mode})
    whole = {"x": _RNG.integers(-99, 99, (3, 4, 5))}
    yield Case("Pad_int64", "Pad", whole, {"pads": np.array([1, 0, 0, 0, 2, 0], np.int64), "v": np.array(-7, np.int64)})
    for upper, offset in ((1, -1), (0, 2), (0, 0)):
        yield Case(f"Trilu_{upper}_{offset}", "Trilu", x, {"k": np.array(offset, np.int64)}, {"upper": upper})
    wide = {"x": _reals(4, 3), "i": np.array([[0, -1], [5, 2]], np.int32) % 4}
    yield Case("Gather_int32_fed", "Gather", wide)
    yield Case("Gather_axis_1", "Gather", {"x": _reals(2, 5, 3), "i": np.array([-1, 0, 3])}, attributes={"axis": 1})
    nd = {"i": np.array([[[0, 1]], [[2, 0]], [[1, -1]]], np.int64)}
    yield Case("GatherND_batched", "GatherND", x, nd, {"batch_dims": 1})


def _casts() -> Iterator[Case]:
    numbers = np.array([[-2.5, -0.5, 0.0, 0.49, 1.5, 2.5, 99.9], [7, 65504, 1e-7, 6e-8, 3.14159, -1e-5, 2048.7]])
    types = (np.float32, np.float16, np.int32, np.int64, np.uint8, np.int8, np.bool_)
    for source in types:
        x = np.clip(numbers, 0, 100) if source in (np.uint8, np.int8) else numbers
        for target in types:
            values = np.clip(x, 0, 100) if target in (np.uint8, np.int8) else x
            to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
            name = f"Cast_{np.dtype(source)}_{np.dtype(target)}"
            yield Case(name, "Cast", {"x": values.astype(source)}, attributes={"to": to}, rtol=0, atol=0)


def _pairs() -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        a, b = _RNG.integers(-50, 50, (3, 1, 7)).astype(dtype), _RNG.integers(1, 9, (4, 7)).astype(dtype)
        for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod", "Equal", "Less", "Greater", "LessOrEqual"):
            if op == "Div":
                a = np.abs(a)
            yield Case(f"{op}_{np.dtype(dtype)}", op, {"a": a, "b": b})
        for op in ("Abs", "Neg", "Sign"):
            yield Case(f"{op}_{np.dtype(dtype)}", op, {"x": a - 20})
        bounds = {"low": np.array(-9, dtype), "high": np.array(11, dtype)}
        yield Case(f"Clip_{np.dtype(dtype)}", "Clip", {"x": a}, bounds)
    truths = {"a": _RNG.random((5, 3)) > 0.5, "b": _RNG.random((1, 3)) > 0.5}
    for op in ("And", "Or", "Xor", "Equal"):
        yield Case(f"{op}_bool", op, truths)
    yield Case("Not", "Not", {"x": truths["a"]})
    reals = {"a": _reals(2, 5, 3), "b": _reals(5, 1)}
    for op in ("GreaterOrEqual", "Less", "PRelu"):
        yield Case(f"{op}_float", op, reals)
    yield Case("Pow_float", "Pow", {"a": np.abs(reals["a"]), "b": reals["b"]}, rtol=1e-4)
    yield Case("Mod_float", "Mod", reals, attributes={"fmod": 1})
    where = {"c": truths["a"].reshape(5, 1, 3), "a": _reals(4, 3), "b": _reals(1)}
    yield Case("Where", "Where", where)
    yield Case("Clip_fed_bounds", "Clip", {"x": _reals(3, 7), "low": np.array(-0.5, np.float32)})


def _products() -> Iterator[Case]:
    shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]] = (
        ((1, 1), (1, 1)),
        ((31, 3), (3, 17)),
        ((2, 1, 5, 6), (3, 6, 4)),
        ((7,), (7, 5)),
        ((3, 4, 7), (7,)),
        ((4,), (4,)),
        ((1, 33), (33, 9)),
    )
    for a, b in shapes:
        name = "x".join(map(str, a)) + "_" + "x".join(map(str, b))
        yield Case(f"MatMul_{name}", "MatMul", {"a": _reals(*a), "b": _reals(*b)})
        yield Case(f"MatMul_{name}_constant", "MatMul", {"a": _reals(*a)}, {"b": _reals(*b)})
    half = {"x": _reals(5, 9).astype(np.float16)}
    yield Case("MatMul_half", "MatMul", half, {"w": _reals(9, 11).astype(np.float16)}, rtol=2e-3, atol=2e-3)
    yield Case("Gelu_half", "Gelu", half, rtol=2e-3, atol=1e-3)
    yield Case("Softmax_half", "Softmax", half, rtol=2e-3, atol=1e-3)
    image = {"x": _reals(1, 3, 6, 5).astype(np.float16)}
    weights = {"w": _reals(4, 3, 3, 3).astype(np.float16), "b": _reals(4).astype(np.float16)}
    yield Case("Conv_half", "Conv", image, weights, rtol=2e-3, atol=4e-3)
    for k in (1, 2, 3):
        x, w = _reals(1, 6, 5, 4), _reals(6, 2, 3, 3)
        attributes = {
            "strides": [k, 2],
            "dilations": [1, k],
            "group": 3,
            "pads": [1, 0, 0, 2],
            "output_padding": [0, 1],
        }
        yield Case(f"ConvTranspose_{k}", "ConvTranspose", {"x": x}, {"w": w, "b": _reals(6)}, attributes)
    same = {"auto_pad": "SAME_UPPER", "strides": [2, 3]}
    yield Case("ConvTranspose_same", "ConvTranspose", {"x": _reals(2, 3, 4, 5)}, {"w": _reals(3, 5, 3, 4)}, same)


def _rows() -> Iterator[Case]:
    x = {"x": _reals(3, 5, 7, 2)}
    for op in (
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
    ):
        for axes in ((1,), (0, 2), (-1,), (1, 2)):
            name = f"{op}_{'_'.join(map(str, axes))}"
            yield Case(
                name, op, x, {"axes": np.array(axes, np.int64)}, {"keepdims": len(axes) % 2}, rtol=1e-4, atol=1e-4
            )
    gains = {"g": _reals(5, 7, 2), "b": _reals(5, 7, 2)}
    yield Case("LayerNormalization_axis_1", "LayerNormalization", x, gains, {"axis": 1}, rtol=1e-4, atol=1e-5)
    yield Case("LayerNormalization_row", "LayerNormalization", x, {"g": _reals(2)}, {"axis": 2}, rtol=1e-4, atol=1e-5)
    for axis in (0, 2, -1):
        yield Case(f"Softmax_{axis}", "Softmax", x, {}, {"axis": axis})
        yield Case(f"LogSoftmax_{axis}", "LogSoftmax", x, {}, {"axis": axis})


def _functions() -> Iterator[Case]:
    far = np.concatenate([np.linspace(-20, 20, 333), [-1e30, 1e30, -100, 100, 0.0, -0.0]]).astype(np.float32)
    near = (_RNG.standard_normal(101) * 1e-3).astype(np.float32)
    for op in (
        "Tanh",
        "Sigmoid",
        "Erf",
        "Exp",
        "Gelu",
        "Softplus",
        "Mish",
        "Elu",
        "Selu",
        "Celu",
        "HardSwish",
        "Softsign",
    ):
        yield Case(f"{op}_far", op, {"x": far if op not in ("Mish", "HardSwish") else far[:-6]})
        yield Case(f"{op}_near", op, {"x": near})
    yield Case("Gelu_tanh", "Gelu", {"x": far[:-6]}, attributes={"approximate": "tanh"})
    yield Case("Log", "Log", {"x": np.abs(far[:-6]) + np.float32(1e-3)})
    yield Case("Sqrt", "Sqrt", {"x": np.abs(near)})
    yield Case("Reciprocal", "Reciprocal", {"x": near + 1})
    yield Case("ThresholdedRelu", "ThresholdedRelu", {"x": far[:-6]}, attributes={"alpha": 1.5})


CASES = [
    *_recurrent(),
    *_resizes(),
    *_moves(),
    *_casts(),
    *_pairs(),
    *_products(),
    *_rows(),
    *_functions(),
]


def reference(model: QuantizedModel, feeds: dict) -> dict:
    backend, target = discover().resolve("reference")
    return backend.load(backend.compile(model, target, CompileOptions())).run(feeds)


def _portable_results(portable, model: QuantizedModel, feeds: dict) -> list:
    backend, target = discover().resolve("arm:cortex-a72")
    container = Container.decode(backend.compile(model, target, CompileOptions()).payload)
    slot = portable.load(container)
    results = portable.run(slot, [feeds[place.name] for place in container.inputs])
    portable.free(slot)
    return results


def _feeds(case: Case) -> dict:
    return {name: array for name, array in case.feeds.items() if not name.startswith("none")}


def _check(case: Case, got: dict, expected: dict) -> None:
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_allclose(got[name], array, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_portable_kernels_give_the_reference_and_break_no_rule_of_c(portable, case) -> None:
    model, feeds = model_of(case), _feeds(case)
    results = _portable_results(portable, model, feeds)
    _check(case, dict(zip((o.name for o in model.outputs), results, strict=True)), reference(model, feeds))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_neon_kernels_give_the_reference(toolchain, case) -> None:
    model = model_of(case)
    backend, target = discover().resolve("arm:cortex-a72")
    executable = backend.load(backend.compile(model, target, CompileOptions()))
    got = executable.run(_feeds(case))
    executable.close()
    _check(case, got, reference(model, _feeds(case)))


def test_pads_below_0_leave_elements_out(portable) -> None:
    """Against NumPy: the reference does not take them."""
    x = _reals(3, 4, 5)
    constants = {"pads": np.array([-1, 2, -2, 0, -1, 3], np.int64), "value": np.array(1.5, np.float32)}
    (got,) = _portable_results(portable, model_of(Case("Pad", "Pad", {"x": x}, constants)), {"x": x})
    expected = np.pad(x[1:, :3, 2:], [(0, 0), (2, 0), (0, 3)], constant_values=1.5)
    np.testing.assert_array_equal(got, expected)
