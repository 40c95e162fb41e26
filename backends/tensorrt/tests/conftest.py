"""A fake driver and a fake TensorRT, so that everything but the silicon is tested; and a small network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_tensorrt import child, toolchain
from deepseek_core import CalibratorSpec, QuantizedModel, Registry, discover
from deepseek_core.pipeline import quantize

FAKES = Path(__file__).parent / "fake"
SURFACES = Path(__file__).parent / "surface"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def driver_library(tmp_path_factory) -> Path:
    """The fake CUDA driver, compiled."""
    target = tmp_path_factory.mktemp("driver") / "libfakecuda.so"
    source = str(FAKES / "libcuda.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(target), source], check=True, capture_output=True)
    return target


@pytest.fixture
def fresh(monkeypatch):
    """No child and no knowledge of the toolchain is left from before, nor for after."""
    toolchain.toolchain.cache_clear()
    shared: list[child.Child] = []
    monkeypatch.setattr(child, "_SHARED", shared)
    yield
    for each in shared:
        each.close()
    toolchain.toolchain.cache_clear()


@pytest.fixture
def gpu(fresh, driver_library, tmp_path, monkeypatch):
    """A fake H100 with a fake TensorRT 8.6 in the child; gives the file in which the driver notes its calls."""
    log = tmp_path / "calls"
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH="{FAKES}" exec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    for name, value in {
        "DEEPSEEK_CUDA_LIBRARY": driver_library,
        "DEEPSEEK_TENSORRT_PYTHON": interpreter,
        "DEEPSEEK_TENSORRT_OPTIONS": "builder=tensorrt",
        "FAKE_CUDA_LOG": log,
        "FAKE_CUDA_CAPABILITY": "90",
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, str(value))
    return log


@pytest.fixture
def here(gpu, monkeypatch):
    """The same in this process, where arrays on the device need no copy."""
    monkeypatch.delenv("DEEPSEEK_TENSORRT_PYTHON")
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    yield gpu
    sys.modules.pop("tensorrt", None)


@pytest.fixture(scope="session")
def registry() -> Registry:
    return discover()


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> QuantizedModel:
    """A residual network with a concatenation and a classifier, quantized for TensorRT."""
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    onnx.save(_network(), path)
    rng = np.random.default_rng(0)
    samples = [{"x": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    return quantize(path, samples, targets=["tensorrt:sm_89"], calibrator=CalibratorSpec("minmax"))


@pytest.fixture(scope="session")
def feeds() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(9).normal(size=(1, 3, 16, 16)).astype(np.float32)}


def _network() -> onnx.ModelProto:
    rng = np.random.default_rng(1)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def convolution(source: str, inputs: int, outputs: int, name: str, *, relu: bool = True) -> str:
        kernel = rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32) / np.sqrt(9 * inputs)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"{name}.w"))
        weights.append(numpy_helper.from_array(rng.normal(size=outputs).astype(np.float32), f"{name}.b"))
        nodes.append(
            helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [f"{name}.y"], name=name, pads=[1, 1, 1, 1])
        )
        if not relu:
            return f"{name}.y"
        nodes.append(helper.make_node("Relu", [f"{name}.y"], [f"{name}.z"], name=f"{name}.relu"))
        return f"{name}.z"

    stem = convolution("x", 3, 32, "stem")
    body = convolution(convolution(stem, 32, 32, "first"), 32, 32, "second", relu=False)
    nodes.append(helper.make_node("Add", [body, stem], ["sum"], name="sum"))
    nodes.append(helper.make_node("Relu", ["sum"], ["sum.z"], name="sum.relu"))
    both = [convolution("sum.z", 32, 16, "left"), convolution("sum.z", 32, 16, "right")]
    nodes.append(helper.make_node("Concat", both, ["joined"], name="join", axis=1))
    nodes.append(helper.make_node("GlobalAveragePool", ["joined"], ["mean"], name="mean"))
    nodes.append(helper.make_node("Flatten", ["mean"], ["flat"], name="flat"))
    weights.append(numpy_helper.from_array(rng.normal(size=(32, 10)).astype(np.float32), "head.w"))
    nodes.append(helper.make_node("Gemm", ["flat", "head.w"], ["y"], name="head"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
