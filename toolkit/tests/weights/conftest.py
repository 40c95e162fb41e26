"""Single accumulating nodes as models, and layers without a network: correlated inputs and what they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from deepseek.quantization.grams import InputMoments, Measured, OutputMoments, sites_of
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import CalibratorSpec, QuantizedModel, QuantScheme, TensorRecipe, Unit
from deepseek_core.calibration import weight_qparams

Array = NDArray[Any]
Layer = Callable[..., Measured]


def model_of(
    nodes: Sequence[Any], constants: dict[str, Array], inputs: dict[str, Sequence[int | str]], output: str
) -> QuantizedModel:
    """A model with float inputs and one float output of unknown shape."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return QuantizedModel(ir.from_proto(proto))


Single = Callable[..., tuple[Unit, QuantizedModel]]


@pytest.fixture(scope="session")
def single() -> Single:
    """`single(op, x shape, weight, bias, **attributes)`: x → op → y, as its unit and its model."""

    def build(op: str, x: Sequence[int], weight: Array, bias: Array | None = None, **attributes: Any) -> Any:
        names = ["x", "w"] if bias is None else ["x", "w", "b"]
        constants = {"w": weight} if bias is None else {"w": weight, "b": bias}
        node = helper.make_node(op, names, ["y"], "node", **attributes)
        model = model_of([node], constants, {"x": x}, "y")
        return model.units()[0], model

    return build


def correlated(rng: np.random.Generator, count: int, inputs: int) -> np.ndarray:
    """Rows with a falling spectrum, a mean, and inputs of unlike power, float32 [1, count, inputs]."""
    mixing = rng.standard_normal((inputs, inputs)) * np.geomspace(1, 0.05, inputs)[:, None]
    rows = rng.standard_normal((count, inputs)) @ mixing * np.exp(rng.standard_normal(inputs) * 0.5) + 0.5
    return rows.astype(np.float32)[None]


@pytest.fixture(scope="session")
def layer(single: Any) -> Layer:
    """`layer(scheme, …)`: what would be measured at a Gemm [P, K] × [M, K]ᵀ + bias."""

    def build(
        scheme: QuantScheme,
        *,
        outputs: int = 12,
        inputs: int = 20,
        count: int = 400,
        seed: int = 0,
        weight: np.ndarray | None = None,
        rows: Sequence[np.ndarray] | None = None,
        noise: float = 0.0,
        ranges: str = "minmax",
    ) -> Measured:
        rng = np.random.default_rng(seed)
        if weight is None:
            weight = rng.laplace(size=(outputs, inputs)).astype(np.float32)
        bias = rng.standard_normal(len(weight)).astype(np.float32)
        unit, _ = single("Gemm", ("N", weight.shape[1]), weight, bias, transB=1)
        parts = []
        both = correlated(rng, 2 * count, weight.shape[1])
        for right in rows or (both[:, :count], both[:, count:]):
            made = right @ weight.T + bias
            seen = right + noise * rng.standard_normal(right.shape).astype(np.float32)
            read, out = InputMoments(), OutputMoments()
            alike = np.ones(right.shape[1], np.float32)
            read.update(seen.astype(np.float32), alike)
            out.update(made.astype(np.float32), seen.astype(np.float32), alike)
            parts.append((read, out))
        (site,) = sites_of([unit], [("node", 1)])
        start = weight_qparams(weight, TensorRecipe(scheme, CalibratorSpec(ranges)))
        return Measured(site, tuple(parts), None, start)

    return build


@pytest.fixture(scope="session")
def residual() -> QuantizedModel:
    """x [N, 3, 9, 9] → Conv, Relu, MaxPool, depthwise Conv, Clip, Conv + skip, ConvTranspose, mean, Gemm → y [N, 6]."""
    rng = np.random.default_rng(5)

    def weight(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) * 1.5).astype(np.float32)

    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "stem", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "stem_relu"),
        node("MaxPool", ["r1"], ["p1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2", "b2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        node("Clip", ["c2", "low", "high"], ["r2"], "clip"),
        node("Conv", ["r2", "w3"], ["c3"], "project"),
        node("Add", ["c3", "p1"], ["s1"], "skip"),
        node("ConvTranspose", ["s1", "w4", "b4"], ["c4"], "up", strides=[2, 2]),
        node("Relu", ["c4"], ["r4"], "up_relu"),
        node("GlobalAveragePool", ["r4"], ["g"], "mean"),
        node("Flatten", ["g"], ["f"], "flat"),
        node("Gemm", ["f", "w5", "b5"], ["y"], "head", transB=1),
    ]
    constants = {
        "w1": weight(8, 3, 3, 3),
        "b1": weight(8, 1)[:, 0],
        "w2": weight(8, 1, 3, 3),
        "b2": weight(8, 1)[:, 0],
        "w3": weight(8, 8, 1, 1),
        "w4": weight(8, 6, 2, 2),
        "b4": weight(6, 1)[:, 0],
        "w5": weight(6, 6),
        "b5": weight(6, 1)[:, 0],
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return model_of(nodes, {k: np.asarray(v, np.float32) for k, v in constants.items()}, {"x": ("N", 3, 9, 9)}, "y")


@pytest.fixture(scope="session")
def pictures() -> list[dict[str, Array]]:
    """Smooth pictures: neighbouring pixels agree, as in real ones."""
    rng = np.random.default_rng(6)
    coarse = rng.standard_normal((24, 3, 3, 3)).repeat(3, axis=2).repeat(3, axis=3)
    return [{"x": (part + 0.3 * rng.standard_normal(part.shape)).astype(np.float32)} for part in np.split(coarse, 12)]


@pytest.fixture(scope="session")
def attention() -> QuantizedModel:
    """x [N, T, 32] → attention; two MatMuls share a weight, two a value; a bias behind → y [N, T, 16]."""
    rng = np.random.default_rng(8)
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "wq"], ["q"], "query"),
        node("MatMul", ["x", "wk"], ["k"], "key"),
        node("Relu", ["x"], ["xr"], "relu"),
        node("MatMul", ["xr", "wk"], ["v"], "value"),
        node("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["qk"], "scores"),
        node("Softmax", ["qk"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["a"], "mix"),
        node("MatMul", ["a", "wo"], ["m"], "out"),
        node("Add", ["m", "bo"], ["y"], "out_bias"),
    ]
    constants = {"wq": (32, 16), "wk": (32, 16), "wo": (16, 16), "bo": (16,)}
    arrays = {name: (rng.laplace(size=shape) * 0.3).astype(np.float32) for name, shape in constants.items()}
    return model_of(nodes, arrays, {"x": ("N", "T", 32)}, "y")


@pytest.fixture(scope="session")
def texts() -> list[dict[str, Array]]:
    rng = np.random.default_rng(9)
    mixing = rng.standard_normal((32, 32)) * np.geomspace(1, 0.05, 32)[:, None]
    return [{"x": (rng.standard_normal((2, 10 + i, 32)) @ mixing).astype(np.float32)} for i in range(12)]
