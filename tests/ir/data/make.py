"""Makes the golden models of this folder: two tiny networks, quantized by the tools whose models the IR imports.

Run once per tool, in an environment that has it:

    python make.py onnxruntime    # onnxruntime 1.32.0, onnx 1.23.2
    python make.py modelopt       # nvidia-modelopt[onnx] 0.47.0, onnx 1.21.0, onnxruntime 1.24.4
    python make.py quark          # amd-quark 0.13, onnx 1.22.0, onnxruntime 1.32.0
    python make.py nncf           # nncf 3.4.0, onnx 1.23.2, onnxruntime 1.32.0

The weights are random (seed 0); the models are 20 KB and less, and hold nothing of anybody else's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SAMPLES = 8


def convnet(opset: int = 17, width: int = 4) -> onnx.ModelProto:
    """Conv, ReLU6, depthwise Conv, residual Add, pointwise Conv, MaxPool, global average pool, Gemm."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)

    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv", **same),
        helper.make_node("Clip", ["c1", "zero", "six"], ["r1"], "relu6"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "depthwise", group=width, **same),
        helper.make_node("Relu", ["c2"], ["r2"], "relu"),
        helper.make_node("Add", ["r1", "r2"], ["a"], "residual"),
        helper.make_node("Conv", ["a", "w3", "b3"], ["c3"], "pointwise", kernel_shape=[1, 1]),
        helper.make_node("MaxPool", ["c3"], ["p"], "maxpool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], "gemm", transB=1),
    ]
    initializers = [
        weight("w1", width, 3, 3, 3),
        weight("b1", width),
        weight("w2", width, 1, 3, 3),
        weight("b2", width),
        weight("w3", width, width, 1, 1),
        weight("b3", width),
        weight("w4", 5, width),
        weight("b4", 5),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.float32(6), "six"),
    ]
    return _model("convnet", nodes, inputs=[1, 3, 8, 8], outputs=[1, 5], initializers=initializers, opset=opset)


def attention(opset: int = 17, width: int = 8) -> onnx.ModelProto:
    """One attention head with a residual connection."""
    rng = np.random.default_rng(0)
    initializers = [
        numpy_helper.from_array(rng.normal(0, width**-0.5, (width, width)).astype(np.float32), name)
        for name in ("wq", "wk", "wv", "wo")
    ]
    initializers.append(numpy_helper.from_array(np.float32(width**-0.5), "norm"))
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], "query"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], "key"),
        helper.make_node("MatMul", ["x", "wv"], ["v"], "value"),
        helper.make_node("Transpose", ["k"], ["kt"], "transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["s"], "scores"),
        helper.make_node("Mul", ["s", "norm"], ["n"], "scale"),
        helper.make_node("Softmax", ["n"], ["p"], "softmax", axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["h"], "mix"),
        helper.make_node("MatMul", ["h", "wo"], ["o"], "project"),
        helper.make_node("Add", ["x", "o"], ["y"], "residual"),
    ]
    return _model(
        "attention", nodes, inputs=[1, width, width], outputs=[1, width, width], initializers=initializers, opset=opset
    )


def samples(model: onnx.ModelProto, count: int = SAMPLES) -> list[dict[str, np.ndarray]]:
    """Standard normal inputs, the same ones every time."""
    rng = np.random.default_rng(1)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(count)]


def _model(name, nodes, *, inputs, outputs, initializers, opset):  # type: ignore[no-untyped-def]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="make")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


class Reader:
    """The calibration data reader that ONNX Runtime and AMD Quark ask for."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds
        self._iterator: Iterator[dict[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._iterator, None)

    def rewind(self) -> None:
        self._iterator = iter(self._feeds)


def onnxruntime_models(folder: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    u8, s8, u16, s16, s4 = (getattr(QuantType, f"Q{n}") for n in ("UInt8", "Int8", "UInt16", "Int16", "Int4"))
    variants = {
        "qdq_u8s8": (convnet(), QuantFormat.QDQ, u8, s8, {"per_channel": True}),
        "qdq_s16s8": (convnet(), QuantFormat.QDQ, s16, s8, {}),
        "qdq_u16u8": (attention(), QuantFormat.QDQ, u16, u8, {}),
        "qdq_u8s4": (attention(), QuantFormat.QDQ, u8, s4, {}),
        "qoperator_u8u8": (convnet(), QuantFormat.QOperator, u8, u8, {}),
        "qoperator_s8s8": (convnet(), QuantFormat.QOperator, s8, s8, {"per_channel": True}),
        "qoperator_attention": (attention(), QuantFormat.QOperator, u8, s8, {}),
    }
    for name, (model, format_, activation, weight, options) in variants.items():
        quantize_static(
            _saved(model, folder),
            HERE / f"onnxruntime_{name}.onnx",
            Reader(samples(model)),
            quant_format=format_,
            activation_type=activation,
            weight_type=weight,
            **options,
        )


def modelopt_models(folder: Path) -> None:
    from modelopt.onnx.quantization import quantize

    for name, model, mode in (
        ("int8_convnet", convnet(width=32), "int8"),
        ("int8_attention", attention(width=24), "int8"),
        ("fp8_convnet", convnet(21, width=32), "fp8"),
        ("int4_projection", _projection(), "int4"),
    ):
        feeds = np.concatenate([feed["x"] for feed in samples(model)])
        extra = {"calibration_method": "rtn_dq", "block_size": 16} if mode == "int4" else {}
        quantize(
            str(_saved(model, folder)),
            quantize_mode=mode,
            calibration_data=None if mode == "int4" else {"x": feeds},
            calibration_eps=["cpu"],
            output_path=str(HERE / f"modelopt_{name}.onnx"),
            high_precision_dtype="fp32",
            **extra,
        )


def _projection() -> onnx.ModelProto:
    """A single 64 × 16 MatMul for weight-only quantization in blocks."""
    weights = np.random.default_rng(0).normal(0, 0.4, (64, 16)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "project")]
    initializers = [numpy_helper.from_array(weights, "w")]
    return _model("projection", nodes, inputs=[1, 4, 64], outputs=[1, 4, 16], initializers=initializers, opset=21)


def quark_models(folder: Path) -> None:
    from quark.onnx import ModelQuantizer, QConfig

    for name, model in (("XINT8", convnet()), ("A16W8", convnet()), ("A8W8", attention())):
        config = QConfig.get_default_config(name)
        ModelQuantizer(config).quantize_model(
            str(_saved(model, folder)), str(HERE / f"quark_{name.lower()}.onnx"), Reader(samples(model))
        )


def nncf_models(folder: Path) -> None:
    import nncf

    for model in (convnet(), attention()):
        quantized = nncf.quantize(model, nncf.Dataset(samples(model)), subset_size=SAMPLES)
        onnx.save(quantized, HERE / f"nncf_{model.graph.name}.onnx")


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / f"{model.graph.name}.onnx"
    onnx.save(model, path)
    return path


TOOLS: dict[str, Callable[[Path], None]] = {
    "onnxruntime": onnxruntime_models,
    "modelopt": modelopt_models,
    "quark": quark_models,
    "nncf": nncf_models,
}

if __name__ == "__main__":
    for tool in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as temporary:
            TOOLS[tool](Path(temporary))
