from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantization.coverage import Coverage, coverage

W = np.ones((4, 4), np.float32)


def saved(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray | onnx.TensorProto], path: Path) -> Path:
    tensors = [v if isinstance(v, onnx.TensorProto) else numpy_helper.from_array(v, k) for k, v in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)
    return path


def constants(dtype: type = np.int8) -> dict[str, np.ndarray]:
    return {"w": W.astype(dtype), "s": np.array(0.1, np.float32), "z": np.array(0, dtype)}


def test_float_network(tmp_path: Path) -> None:
    path = saved([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": W}, tmp_path / "m.onnx")
    assert coverage(path) == Coverage(32, 0)


def test_weights_and_input_through_q_and_dq(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("Transpose", ["v"], ["t"]),
        helper.make_node("MatMul", ["r", "t"], ["y"]),
    ]
    shape = {"shape": np.array([1, 4])}
    assert coverage(saved(nodes, constants() | shape, tmp_path / "m.onnx")) == Coverage(8, 1)


def test_a_float_scaling_between_dq_and_the_layer_leaves_its_input_in_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Mul", ["d", "s"], ["r"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    assert coverage(saved(nodes, constants(), tmp_path / "m.onnx")) == Coverage(8, 0)


def test_float_weights_that_the_graph_quantizes_itself(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["v"]),
        helper.make_node("Gemm", ["x", "v"], ["y"]),
    ]
    assert coverage(saved(nodes, constants() | {"f": W}, tmp_path / "m.onnx")).bits == 8


def test_four_bits_and_the_mean_over_weights(tmp_path: Path) -> None:
    packed = helper.make_tensor("w", TensorProto.INT4, [4, 4], bytes(8), raw=True)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node("MatMul", ["h", "f"], ["y"]),
    ]
    path = saved(nodes, {"w": packed, "s": np.array(0.1, np.float32), "f": W}, tmp_path / "m.onnx")
    assert coverage(path).bits == pytest.approx(18)


def test_packed_products_of_onnxruntime(tmp_path: Path) -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=4, N=4, bits=4, block_size=32
    )
    assert coverage(saved([node], {"w": W.astype(np.uint8), "s": W}, tmp_path / "m.onnx")) == Coverage(4, 0)


def test_layers_in_branches_count(tmp_path: Path) -> None:
    y = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)

    def branch(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        return helper.make_graph(nodes, "b", [], [y])

    nodes = [
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch(
                [
                    helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
                    helper.make_node("MatMul", ["x", "v"], ["o"]),
                ]
            ),
            else_branch=branch([helper.make_node("MatMul", ["x", "f"], ["o"])]),
        )
    ]
    path = saved(nodes, constants() | {"f": W, "c": np.array(True)}, tmp_path / "m.onnx")
    assert coverage(path).bits == pytest.approx(20)
