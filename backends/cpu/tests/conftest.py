"""Quantized models built by hand, and ways to run them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common
import pytest

from deepseek_core import CompileOptions, QuantizedModel, discover

OPSET = 21


class Builder:
    """Builds a QDQ graph; quantized tensors get their DQ and Q nodes on the way."""

    def __init__(self) -> None:
        self.inputs: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []
        self.outputs: list[ir.Value] = []

    def constant(self, array, name=None) -> ir.Value:
        array = np.asarray(array)
        name = name or f"c{len(self.constants)}"
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
        self.constants.append(value)
        return value

    def input(self, name, shape, dtype=np.float32) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))
        self.inputs.append(value)
        return value

    def op(self, kind, *inputs, name=None, outputs=1, **attributes):
        name = name or f"{kind.lower()}{len(self.nodes)}"
        node = ir.node(kind, list(inputs), attributes=attributes, num_outputs=outputs, name=name)
        for i, value in enumerate(node.outputs):
            value.name = f"{name}.out{i}"
        self.nodes.append(node)
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def dq(self, codes, scale=0.02, zero=0, **attributes):
        dtype = codes.const_value.dtype if codes.const_value is not None else codes.dtype
        zeros = np.full(np.shape(scale), zero).astype(dtype.numpy())
        return self.op("DequantizeLinear", codes, self.constant(np.float32(scale)), self.constant(zeros), **attributes)

    def q(self, real, scale=0.03, zero=0, dtype=np.uint8, name=None):
        value = self.op("QuantizeLinear", real, self.constant(np.float32(scale)), self.constant(dtype(zero)))
        value.type = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
        if name is not None:
            value.name = name
        return value

    def codes(self, name, shape, scale=0.02, zero=3, dtype=np.uint8):
        """The real value of a quantized input."""
        return self.dq(self.input(name, shape, dtype), scale, zero)

    def weight(self, codes, scale, zero=0, axis=None):
        """The real value of a quantized constant."""
        return self.dq(self.constant(codes), scale, zero, **({} if axis is None else {"axis": axis}))

    def output(self, value, name=None) -> None:
        if name is not None:
            value.name = name
        self.outputs.append(value)

    def model(self, opset=OPSET) -> QuantizedModel:
        graph = ir.Graph(
            self.inputs,
            self.outputs,
            nodes=self.nodes,
            initializers=self.constants,
            opset_imports={"": opset},
            name="test",
        )
        ir_model = ir.Model(graph, ir_version=10)
        ir.passes.common.ShapeInferencePass()(ir_model)
        return QuantizedModel(ir_model)


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
def builders():
    """For tests that need several."""
    return Builder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def cpu():
    """The backend and this machine's target, with shortcuts."""
    backend, target = discover().resolve("cpu")
    reference, reference_target = discover().resolve("reference")

    def compiled(model, kernels=None, **options):
        extra = {} if kernels is None else {"kernels": kernels}
        return backend.compile(model, target, CompileOptions(threads=1, extra=extra, **options))

    def run(model, feeds, kernels="int8", **options):
        executable = backend.load(compiled(model, kernels, **options))
        try:
            return executable.run(feeds)
        finally:
            executable.close()

    def expected(model, feeds, **options):
        artifact = reference.compile(model, reference_target, CompileOptions(**options))
        return reference.load(artifact).run(feeds)

    return SimpleNamespace(backend=backend, target=target, compile=compiled, run=run, expected=expected)


@pytest.fixture
def feeds_of():
    """Random feeds of a model with fixed shapes."""

    def feeds(model, seed=0):
        generator = np.random.default_rng(seed)
        made = {}
        for info in model.inputs:
            dtype = np.dtype(info.dtype)
            if dtype == np.bool_:
                made[info.name] = generator.integers(0, 2, info.shape).astype(dtype)
            elif dtype.kind in "iu":
                bounds = np.iinfo(dtype)
                made[info.name] = generator.integers(bounds.min, bounds.max + 1, info.shape).astype(dtype)
            else:
                made[info.name] = generator.standard_normal(info.shape).astype(dtype)
        return made

    return feeds
