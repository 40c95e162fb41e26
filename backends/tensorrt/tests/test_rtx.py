"""Real builds with TensorRT-RTX, which need no GPU: what fuses, what runs on codes, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepseek_backend_tensorrt.child import shared
from deepseek_backend_tensorrt.claims import claim
from deepseek_backend_tensorrt.container import Container
from deepseek_backend_tensorrt.operators import OPERATORS
from deepseek_backend_tensorrt.toolchain import toolchain
from deepseek_core import CalibratorSpec, CompileOptions, Target
from deepseek_core.cli.cross_compile import main as cross_compile
from deepseek_core.conformance import ConformanceSuite
from deepseek_core.conformance.draft import plain_problems
from deepseek_core.errors import BackendError, GateError
from deepseek_core.package import Package
from deepseek_core.pipeline import quantize

pytest.importorskip("tensorrt_rtx_bindings")
PLAIN = CompileOptions(optimize=0)


@pytest.fixture(scope="module")
def attention(tmp_path_factory):
    """Two heads of attention between projections, quantized."""
    rng = np.random.default_rng(0)
    nodes, weights = [], [numpy_helper.from_array(np.array([1, 128, 2, 64]), "heads")]
    weights.append(numpy_helper.from_array(np.float32(0.125), "scale"))
    for name, turn in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        kernel = (rng.normal(size=(128, 128)) / 11).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}.w"))
        nodes.append(helper.make_node("MatMul", ["x", f"{name}.w"], [f"{name}.y"], name=f"project_{name}"))
        nodes.append(helper.make_node("Reshape", [f"{name}.y", "heads"], [f"{name}.h"], name=f"split_{name}"))
        nodes.append(helper.make_node("Transpose", [f"{name}.h"], [name], name=f"turn_{name}", perm=turn))
    nodes.append(helper.make_node("Mul", ["q", "scale"], ["q.s"], name="scaled"))
    nodes.append(helper.make_node("MatMul", ["q.s", "k"], ["scores"], name="scores"))
    nodes.append(helper.make_node("Softmax", ["scores"], ["shares"], name="softmax"))
    nodes.append(helper.make_node("MatMul", ["shares", "v"], ["mixed"], name="mix"))
    nodes.append(helper.make_node("Transpose", ["mixed"], ["mixed.t"], name="turn_back", perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Reshape", ["mixed.t", "joined"], ["mixed.j"], name="join"))
    nodes.append(helper.make_node("MatMul", ["mixed.j", "out.w"], ["y"], name="project_out"))
    weights.append(numpy_helper.from_array(np.array([1, 128, 128]), "joined"))
    weights.append(numpy_helper.from_array((rng.normal(size=(128, 128)) / 11).astype(np.float32), "out.w"))
    shape = [1, 128, 128]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    path = tmp_path_factory.mktemp("attention") / "attention.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    samples = [{"x": rng.normal(size=shape).astype(np.float32)} for _ in range(2)]
    return quantize(path, samples, targets=["tensorrt:sm_89"], calibrator=CalibratorSpec("minmax"))


@pytest.mark.parametrize("device", ["sm_80", "sm_86", "sm_89", "sm_120"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_every_quantized_unit_of_a_residual_network_runs_on_codes(registry, network, device, precision) -> None:
    options = CompileOptions(optimize=0, extra={"precision": precision, "min_int8": "1"})
    artifact = registry.backend("tensorrt").compile(network, Target("tensorrt", device), options)
    proof = artifact.report["int8"]
    assert proof["share"] == 1.0, proof["missed"]
    assert proof["units"] >= 10
    assert proof["source"] == "build log"


def test_turing_has_no_kernels_on_codes_and_the_proof_says_so(registry, network) -> None:
    artifact = registry.backend("tensorrt").compile(network, Target("tensorrt", "sm_75"), PLAIN)
    assert artifact.report["precision"] == "float16"
    assert artifact.report["int8"]["missed"]["second"].endswith("(correlation) reads float16")
    options = CompileOptions(optimize=0, extra={"precision": "float32"})
    with pytest.raises(BackendError, match=r"does not build 'head' \(Gemm\): .*FP32 GEMM is not supported"):
        registry.backend("tensorrt").compile(network, Target("tensorrt", "sm_75"), options)


@pytest.mark.parametrize("device", ["sm_86", "sm_89", "sm_120"])
def test_the_plain_problem_of_every_quantized_rule_builds_and_runs_on_codes(registry, device) -> None:
    backend, target = registry.resolve(f"tensorrt:{device}")
    table = backend.capabilities(target)
    few = [rule for rule in table.rules if rule.is_quantized and (device == "sm_89" or rule.weight is not None)]
    table = replace(table, rules=tuple(few))
    built, missed = 0, {}
    for name, problem in plain_problems(table):
        if claim(problem.model, target, lambda *_: None):
            artifact = backend.compile(problem.model, target, PLAIN)
            if artifact.report["int8"]["missed"]:
                missed[name] = artifact.report["int8"]["missed"]
            built += 1
    assert built >= (25 if device == "sm_89" else 10)
    assert missed == {}


def test_a_residual_is_added_where_the_convolutions_sums_are_rescaled(registry, network) -> None:
    artifact = registry.backend("tensorrt").compile(network, Target("tensorrt", "sm_89"), PLAIN)
    layers = Container.decode(artifact.payload).layers
    (fused,) = [layer for layer in layers if "sum" in layer["nodes"]]
    assert "second" in fused["nodes"], "no kernel of its own for the convolution's output"
    assert fused["outputs"] == ["int8"]


@pytest.mark.parametrize("device", ["sm_86", "sm_89", "sm_120"])
def test_attention_is_one_kernel_on_codes(registry, attention, device) -> None:
    options = CompileOptions(optimize=0, extra={"precision": "float16", "min_int8": "1"})
    artifact = registry.backend("tensorrt").compile(attention, Target("tensorrt", device), options)
    layers = Container.decode(artifact.payload).layers
    (fused,) = [layer for layer in layers if {"scores", "softmax", "mix"} <= set(layer["nodes"])]
    assert fused["inputs"].count("int8") >= 3


def test_products_of_activations_can_be_left_in_float(registry, attention) -> None:
    options = CompileOptions(optimize=0, extra={"precision": "float16", "kernels": "weights"})
    artifact = registry.backend("tensorrt").compile(attention, Target("tensorrt", "sm_89"), options)
    proof = artifact.report["int8"]
    assert {"scores", "mix"} <= set(proof["missed"])
    assert proof["missed"]["mix"] == "compiled in float"
    assert artifact.report["kernels"] == {"mix": "float", "scores": "float"}
    layers = Container.decode(artifact.payload).layers
    (fused,) = [layer for layer in layers if {"scores", "softmax", "mix"} <= set(layer["nodes"])]
    assert "int8" not in fused["inputs"]


def test_a_share_below_the_gate_names_what_misses(registry, attention) -> None:
    options = CompileOptions(optimize=0, extra={"kernels": "weights", "min_int8": "0.95"})
    with pytest.raises(
        GateError,
        match=r"[78]\d.\d % of the quantized units run on codes, 95.0 % are asked for: .*mix: compiled in float",
    ):
        registry.backend("tensorrt").compile(attention, Target("tensorrt", "sm_89"), options)


def test_the_same_model_gives_the_same_engine(registry, network) -> None:
    target = Target("tensorrt", "sm_86")
    first, second = (registry.backend("tensorrt").compile(network, target, PLAIN) for _ in range(2))
    assert first.payload == second.payload


def test_an_architecture_without_kernels_is_refused_with_those_that_have_some(registry, network) -> None:
    with pytest.raises(BackendError, match="does not build for SM90"):
        registry.backend("tensorrt").compile(network, Target("tensorrt", "sm_90"), PLAIN)
    with pytest.raises(BackendError, match="no kernels for SM90") as error:
        shared().ask({"do": "build", "product": "rtx", "request": {"capability": [9, 0]}}, [_relu(), b""])
    assert "SM89" in error.value.fix


@pytest.mark.parametrize(
    ("zero", "dtype", "said"),
    [(3, np.int8, "zero"), (0, np.int16, "Failed to import initializer: z")],
)
def test_what_the_parser_refuses_it_refuses_through_the_adapter(zero, dtype, said) -> None:
    """The reasons why the table has no such schemes."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="d"),
    ]
    constants = [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.array(zero, dtype), "z")]
    with pytest.raises(BackendError, match=said):
        shared().ask(
            {"do": "build", "product": "rtx", "request": {"capability": [8, 9]}}, [_model(nodes, constants), b""]
        )


def test_the_list_of_operators_is_what_the_parser_reads() -> None:
    assert "rtx" in toolchain().versions
    found, _ = shared().ask({"do": "supports", "product": "rtx", "ops": sorted(OPERATORS)})
    assert [op for op, known in found.items() if not known] == []
    found, _ = shared().ask({"do": "supports", "product": "rtx", "ops": ["QLinearConv", "DynamicQuantizeLinear"]})
    assert not any(found.values())


def test_an_engine_for_a_gpu_that_is_not_here_comes_from_the_command_line(network, tmp_path, capfd) -> None:
    Package(network).save(tmp_path / "m.ds")
    arguments = ["--target", "tensorrt:sm_89", "--model", str(tmp_path / "m.ds"), "-o", str(tmp_path / "m.engine")]
    assert cross_compile([*arguments, "--min-int8", "0.95", "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["format"] == "engine"
    assert answer["report"]["int8"]["share"] == 1.0
    assert answer["bytes"] == (tmp_path / "m.engine").stat().st_size > 10_000


def _relu() -> bytes:
    return _model([helper.make_node("Relu", ["x"], ["y"], name="relu")], [])


def _model(nodes, constants) -> bytes:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "model", info[:1], info[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


class TestClaims(ConformanceSuite):
    target = "tensorrt:sm_75"
    pattern = "contract/claims/*"


class TestContract(ConformanceSuite):
    target = "tensorrt:sm_89"
    pattern = "contract/*"
