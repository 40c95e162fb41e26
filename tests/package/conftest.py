"""A small compiled package, and backends that report whatever a test wants."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from deepseek_core.artifact import Artifact
from deepseek_core.cost import Basis, Cost
from deepseek_core.hookspecs import HOOK_API, BackendInfo, hookimpl
from deepseek_core.ir.model import QuantizedModel
from deepseek_core.options import CompileOptions
from deepseek_core.package import Package
from deepseek_core.placement import Placement, Refusal
from deepseek_core.registry import Backend, Registry
from deepseek_core.target import Availability, Capabilities, Target

NPU, CPU = Target("npu", "x1"), Target("cpu", "host", ("avx2",))


def constant(name, array):
    tensor = ir.tensor(np.asarray(array), name=name)
    return ir.Value(name=name, const_value=tensor, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype))


def small_model(size=8):
    """A MatMul and a Neg; `w` is large enough to be stored beside the graph from size 32 on."""
    rng = np.random.default_rng(0)
    x = ir.Value(name="x", shape=ir.Shape(["N", size]), type=ir.TensorType(ir.DataType.FLOAT))
    w = constant("w", rng.normal(size=(size, size)).astype(np.float32))
    four = constant("four", rng.integers(-8, 8, (size, 2 * size)).astype(ml_dtypes.int4))
    strings = ir.StringTensor(np.array(["σ".encode(), b"b"], object), shape=ir.Shape([2]), name="text")
    text = ir.Value(name="text", const_value=strings, shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.STRING))
    mm = ir.node("MatMul", [x, w], name="mm")
    neg = ir.node("Neg", [mm.outputs[0]], name="neg")
    mm.outputs[0].name, neg.outputs[0].name = "h", "y"
    for value in (mm.outputs[0], neg.outputs[0]):
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["N", size])
    graph = ir.Graph(
        [x], [neg.outputs[0]], nodes=[mm, neg], initializers=[w, four, text], opset_imports={"": 21}, name="small"
    )
    return QuantizedModel(ir.Model(graph, ir_version=10), {"source": {"sha256": "ab" * 32}, "recipe": ["é", 1.5, None]})


@pytest.fixture
def model():
    return small_model


def compiled(size=8):
    """The first artifact holds the bytes of `w` twice, which its package refers to where `w` is large."""
    model = small_model(size)
    w, code = model.graph.initializers["w"].const_value.tobytes(), b"\x00machine code\xff" * 3
    placement = Placement(
        {"mm": NPU, "neg": CPU},
        (("mm",), ("neg",)),
        (Refusal(NPU, "neg", 'no rule for "Relu"'),),
        Cost.of(0.001, Basis.MEASURED, bytes=12) + Cost.of(0.5, Basis.ANALYTIC),
        0.01,
    )
    artifacts = (
        Artifact(NPU, code + w + code + w, "elf", {"npu-cc": "1.2"}, (), {"cycles": 12, "note": "ü"}),
        Artifact(CPU, b"", "onnx", {"runtime": "3.4"}, ("avx2",), {}),
    )
    options = CompileOptions(optimize=0, threads=2, taps=("h",), extra={"npu.mode": "fast"})
    return Package(model, placement, artifacts, options)


@pytest.fixture
def package():
    return compiled()


@pytest.fixture(scope="session")
def make_package():
    return compiled


@pytest.fixture
def registry_with():
    """`registry_with(npu=Availability(…), cpu=…)`: a registry of backends that report this."""

    def make(**reports):
        def backend(name, report):
            target = {"npu": NPU, "cpu": Target("cpu", "host")}[name]
            hooks = {
                "deepseek_backend": lambda: BackendInfo(name, HOOK_API, (target,), "", "1"),
                "deepseek_capabilities": lambda: Capabilities(target, ()),
                "deepseek_probe": lambda: report,
                "deepseek_compile": lambda: None,
                "deepseek_load": lambda: None,
            }
            return Backend(SimpleNamespace(**{k: hookimpl(v) for k, v in hooks.items()}))

        return Registry(backend(name, report or Availability(True, True)) for name, report in reports.items())

    return make
