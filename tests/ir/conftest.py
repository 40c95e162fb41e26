"""Small ONNX models as text, and ways to run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from deepseek_core.ir.model import QuantizedModel

Array = NDArray[Any]
Build = Callable[..., onnx.ModelProto]
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def goldens() -> dict[str, Path]:
    """Golden models by name; `data/make.py` says which tool made them."""
    return {path.stem: path for path in sorted(DATA.glob("*.onnx"))}


@pytest.fixture(scope="session")
def build() -> Build:
    """`build(nodes, inputs, outputs, constants)` makes a ModelProto.

    Nodes are `(op, inputs, outputs, attributes…)` or NodeProtos; a `domain::Op` names a domain. Inputs are name →
    (dtype, shape), outputs names; constants name → array.
    """

    def make(
        nodes: list[Any],
        inputs: Mapping[str, tuple[str, list[int | str] | None]],
        outputs: list[str],
        constants: Mapping[str, Any] | None = None,
        *,
        opset: int = 21,
        domains: Mapping[str, int] | None = None,
        functions: list[onnx.FunctionProto] | None = None,
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            [n if isinstance(n, onnx.NodeProto) else node(*n) for n in nodes],
            "graph",
            [info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [tensor(name, array) for name, array in (constants or {}).items()],
        )
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*d) for d in (domains or {}).items())]
        model = helper.make_model(graph, opset_imports=imports, functions=functions or [])
        model.ir_version = 10
        return model

    return make


def node(op: str, inputs: list[str], outputs: list[str], attributes: Mapping[str, Any] | None = None) -> onnx.NodeProto:
    domain, _, name = op.rpartition("::")
    return helper.make_node(name, inputs, outputs, domain=domain, **(attributes or {}))


def info(name: str, dtype: str, shape: list[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, getattr(onnx.TensorProto, dtype.upper()), shape)


def tensor(name: str, array: Any) -> onnx.TensorProto:
    if isinstance(array, onnx.TensorProto):
        array.name = name
        return array
    return numpy_helper.from_array(np.asarray(array), name)


@pytest.fixture(scope="session")
def body() -> Callable[..., onnx.GraphProto]:
    """`body(nodes, inputs, outputs, constants)` makes the graph of a control-flow attribute; all float."""

    def make(
        nodes: list[Any], inputs: Mapping[str, Any], outputs: list[str], constants: Any = None, name: str = "body"
    ):
        return helper.make_graph(
            [n if isinstance(n, onnx.NodeProto) else node(*n) for n in nodes],
            name,
            [info(key, dtype, shape) for key, (dtype, shape) in inputs.items()],
            [onnx.ValueInfoProto(name=output) for output in outputs],
            [tensor(key, array) for key, array in (constants or {}).items()],
        )

    return make


@pytest.fixture(scope="session")
def ops() -> Callable[[QuantizedModel | ir.Graph], list[str]]:
    """Op types of a graph in order."""

    def listing(model: QuantizedModel | ir.Graph) -> list[str]:
        graph = model.graph if isinstance(model, QuantizedModel) else model
        return [f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in graph]

    return listing


@pytest.fixture(scope="session")
def run_ort() -> Callable[[bytes, Mapping[str, Array]], list[Array]]:
    """Run the bytes of a model on ONNX Runtime without its optimisations."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is the peer of these tests")

    def run(data: bytes, feeds: Mapping[str, Array]) -> list[Array]:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return list(session.run(None, dict(feeds)))

    return run
