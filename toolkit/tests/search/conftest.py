"""Small networks whose sensitive places are known, and a made-up target with integer and float16 units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepseek_core import (
    Availability,
    Backend,
    BackendInfo,
    Capabilities,
    Cost,
    DType,
    Granularity,
    OpRule,
    QuantizedModel,
    QuantScheme,
    Registry,
    Target,
    Unit,
    discover,
    hookimpl,
)
from deepseek_core.cost import Basis

Array = NDArray[np.float32]
NPU = Target("npu", "v1")

_U8 = QuantScheme(DType.UINT8)
_CHANNEL = QuantScheme(DType.INT8, Granularity.PER_CHANNEL, symmetric=True)
_ELEMENTWISE = ("Add", "Mul", "Softmax", "Relu")
_MOVES = ("Reshape", "Transpose")


def npu_table(*, half: bool = True, **figures: float) -> Capabilities:
    """8-bit matrices and elementwise ops; the same in float16; everything in float32."""
    rules = [
        OpRule("MatMul", _U8, _U8, _CHANNEL),
        OpRule("MatMul", _U8, DType.FLOAT32, _CHANNEL),
        OpRule("Gemm", _U8, _U8, _CHANNEL, DType.INT32, fused=("Relu",)),
        OpRule("Gemm", _U8, DType.FLOAT32, _CHANNEL, DType.INT32),
        OpRule("MatMul", _U8, _U8),
        *(OpRule(op, _U8, _U8) for op in (*_ELEMENTWISE, *_MOVES)),
    ]
    if half:
        f16 = DType.FLOAT16
        rules += [OpRule(op, f16, f16, f16, f16, fused=("Relu",)) for op in ("MatMul", "Gemm")]
        rules += [OpRule(op, f16, f16) for op in (*_ELEMENTWISE, *_MOVES)]
    return Capabilities(NPU, tuple(rules), any_float=True, dynamic_shapes=True, **{"peak_macs": 1e8, **figures})


class Npu:
    """A backend that cannot run anything here: what it has is a table, and costs where they are given."""

    def __init__(self, table: Capabilities, seconds: Callable[[Unit], float] | None = None) -> None:
        self._table, self._seconds = table, seconds

    @hookimpl
    def deepseek_backend(self) -> BackendInfo:
        return BackendInfo("npu", (1, 0), (NPU,), "a made-up target", "1")

    @hookimpl
    def deepseek_capabilities(self, target: Target) -> Capabilities:
        return self._table

    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return Availability(can_compile=False, can_run=False)

    @hookimpl
    def deepseek_compile(self, model: object, target: Target, options: object) -> None:
        raise NotImplementedError

    @hookimpl
    def deepseek_load(self, artifact: object, device: str | None) -> None:
        raise NotImplementedError

    @hookimpl
    def deepseek_cost(self, units: list[Unit], target: Target) -> Cost | None:
        if self._seconds is None:
            return None
        return Cost.of(sum(map(self._seconds, units)), Basis.MEASURED)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing measured on this machine before plays a part, and nothing is left behind."""
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def npu() -> Callable[..., Registry]:
    """A registry with the made-up target beside the CPU."""

    def make(table: Capabilities | None = None, seconds: Callable[[Unit], float] | None = None) -> Registry:
        return Registry([*discover().backends.values(), Backend(Npu(table or npu_table(), seconds))])

    return make


def model_of(nodes: list[onnx.NodeProto], constants: dict[str, Array], x: list[int], y: list[int]) -> QuantizedModel:
    """A network from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    return QuantizedModel(ir.from_proto(inferred))


def perceptron(layers: int = 3, width: int = 16, seed: int = 0) -> QuantizedModel:
    """x [8, width] → Gemm → Relu → … → Gemm → y."""
    rng = np.random.default_rng(seed)
    nodes, constants, value = [], {}, "x"
    for number in range(layers):
        constants[f"w{number}"] = (rng.standard_normal((width, width)) / np.sqrt(width)).astype(np.float32)
        constants[f"b{number}"] = rng.standard_normal(width).astype(np.float32) * np.float32(0.1)
        last = number == layers - 1
        out = "y" if last else f"h{number}"
        nodes.append(helper.make_node("Gemm", [value, f"w{number}", f"b{number}"], [out], f"gemm_{number}"))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"a{number}"], f"relu_{number}"))
        value = f"a{number}"
    return model_of(nodes, constants, [8, width], [8, width])


def transformer(*, sharp: float, outlier: float, seed: int = 0) -> QuantizedModel:
    """One block: single-head attention, then two dense layers.

    Args:
        sharp: magnitude of the attention's scores; with large ones rounding moves the attention elsewhere.
        outlier: size of one hidden channel of the dense layers against the others.
    """
    rng = np.random.default_rng(seed)
    tokens, width = 12, 16

    def weight(rows: int, columns: int) -> Array:
        return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)

    constants = {name: weight(width, width) for name in ("wq", "wk", "wv", "wo")}
    constants |= {"w1": weight(width, 2 * width), "w2": weight(2 * width, width)}
    constants["wq"] *= np.float32(sharp)
    constants["w1"][:, 0] *= np.float32(outlier)
    constants["w2"][0] /= np.float32(outlier)
    dense = [("query", "x", "wq", "q"), ("key", "x", "wk", "k"), ("value", "x", "wv", "v")]
    nodes = [helper.make_node("MatMul", [source, w], [out], name) for name, source, w, out in dense]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"], "scores"),
        helper.make_node("Softmax", ["scores"], ["weights"], "softmax", axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["mixed"], "mix"),
        helper.make_node("MatMul", ["mixed", "wo"], ["out"], "project"),
        helper.make_node("Add", ["x", "out"], ["residual"], "residual"),
        helper.make_node("MatMul", ["residual", "w1"], ["hidden"], "dense_1"),
        helper.make_node("Relu", ["hidden"], ["active"], "relu"),
        helper.make_node("MatMul", ["active", "w2"], ["y"], "dense_2"),
    ]
    return model_of(nodes, constants, [1, tokens, width], [1, tokens, width])


def samples_of(model: QuantizedModel, count: int = 12, seed: int = 1) -> list[dict[str, Array]]:
    """Normally distributed feeds."""
    rng = np.random.default_rng(seed)
    (info,) = model.inputs
    shape = [size if isinstance(size, int) else 4 for size in info.shape or ()]
    return [{info.name: rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]
