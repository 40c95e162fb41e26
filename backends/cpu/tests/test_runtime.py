from __future__ import annotations

import dataclasses
import threading

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from deepseek_backend_cpu.host import architecture, cpu_name
from deepseek_backend_cpu.runtime import CpuExecutable, one_line
from deepseek_core import Artifact, Executable, QuantizedModel, Target, Tier
from deepseek_core.errors import BackendError, PackageError


@pytest.fixture
def doubled(builder):
    builder.output(builder.op("Add", *[builder.input("x", ("n", 3))] * 2), "y")
    return builder.model()


def artifact_of(payload: bytes) -> Artifact:
    return Artifact(Target("cpu", architecture()), payload, "onnx")


def model_of(nodes, inputs, outputs, opset=21) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(model.SerializeToString())


def test_it_is_an_executable_of_this_cpu(cpu, doubled) -> None:
    executable = cpu.backend.load(cpu.compile(doubled))
    assert isinstance(executable, Executable)
    assert executable.tier is Tier.DEVICE
    assert executable.device in cpu.backend.probe(cpu.target).devices
    (x,), (y,) = executable.inputs, executable.outputs
    assert (x.name, x.dtype, x.shape) == ("x", "float32", ("n", 3))
    assert (y.name, y.dtype, y.shape) == ("y", "float32", ("n", 3))
    assert executable.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[2.0] * 3] * 2


def test_a_device_can_be_named(cpu, doubled) -> None:
    artifact = cpu.compile(doubled)
    assert cpu.backend.load(artifact, cpu_name()).device == cpu_name()
    with pytest.raises(BackendError, match="no device 'cuda:0'"):
        cpu.backend.load(artifact, "cuda:0")


def test_closing_twice_is_harmless_and_running_then_is_an_error(cpu, doubled) -> None:
    executable = cpu.backend.load(cpu.compile(doubled))
    executable.close()
    executable.close()
    with pytest.raises(BackendError, match="closed"):
        executable.run({"x": np.ones((2, 3), np.float32)})


def test_threads_may_share_it(cpu, doubled) -> None:
    executable = cpu.backend.load(cpu.compile(doubled))
    wrong = []

    def work(value: float) -> None:
        for _ in range(200):
            if not (executable.run({"x": np.full((4, 3), value, np.float32)})["y"] == 2 * value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_the_runtime_says_of_bad_values_is_one_line(cpu, doubled) -> None:
    executable = cpu.backend.load(cpu.compile(doubled))
    with pytest.raises(BackendError, match="ONNX Runtime failed") as caught:
        executable.run({"x": np.ones((2, 4), np.float32)})
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)


@pytest.mark.parametrize("payload", [b"", b"not a model", b"\x08\x0a"], ids=["empty", "text", "no graph"])
def test_a_payload_that_is_no_model_is_refused(cpu, payload) -> None:
    with pytest.raises(PackageError, match="cannot open the artifact") as caught:
        cpu.backend.load(artifact_of(payload))
    assert "\n" not in str(caught.value)


def test_every_truncation_and_many_flips_are_refused(cpu, doubled, capfd) -> None:
    artifact = cpu.compile(doubled)
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(artifact.payload)
        damaged[generator.integers(len(damaged))] ^= 1 << int(generator.integers(8))
        with pytest.raises(PackageError, match="corrupt"):
            cpu.backend.load(dataclasses.replace(artifact, payload=bytes(damaged)))
    for length in range(0, len(artifact.payload), 7):
        with pytest.raises(PackageError, match="corrupt"):
            cpu.backend.load(dataclasses.replace(artifact, payload=artifact.payload[:length]))
    assert capfd.readouterr().out == ""


def test_the_runtime_prints_nothing_about_fallbacks(cpu, capfd) -> None:
    with pytest.raises(PackageError):
        cpu.backend.load(artifact_of(b"\x9a" * 50))
    assert "Falling back" not in capfd.readouterr().out


def test_artifacts_for_something_else_are_refused(cpu, doubled) -> None:
    artifact = cpu.compile(doubled)
    other = "aarch64" if architecture() == "x86_64" else "x86_64"
    with pytest.raises(BackendError, match=f"is for cpu:{other}"):
        cpu.backend.load(dataclasses.replace(artifact, target=Target("cpu", other)))
    with pytest.raises(PackageError, match="format 'elf'"):
        cpu.backend.load(dataclasses.replace(artifact, format="elf"))
    with pytest.raises(PackageError, match="'many' threads"):
        cpu.backend.load(dataclasses.replace(artifact, report={"threads": "many"}))
    with pytest.raises(BackendError, match="needs no_such_feature"):
        cpu.backend.load(dataclasses.replace(artifact, requires=("no_such_feature",)))


def test_another_provider_is_never_taken_silently() -> None:
    class Session:
        def get_providers(self):
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    with pytest.raises(BackendError, match="chose CUDAExecutionProvider"):
        CpuExecutable(Session())


EXTENDED = [
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
    ml_dtypes.int4,
    ml_dtypes.uint4,
]


@pytest.mark.parametrize("dtype", EXTENDED, ids=lambda d: np.dtype(d).name)
def test_types_numpy_has_no_word_for_go_in(cpu, dtype) -> None:
    code = int(ir.DataType.from_numpy(np.dtype(dtype)))
    inputs = [
        helper.make_tensor_value_info("x", code, [3, 3]),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, []),
    ]
    if dtype is ml_dtypes.bfloat16:
        nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT), helper.make_node("Neg", ["s"], ["z"])]
    else:
        nodes = [helper.make_node("DequantizeLinear", ["x", "s"], ["y"]), helper.make_node("Neg", ["s"], ["z"])]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "z")]
    executable = cpu.backend.load(artifact_of(model_of(nodes, inputs, outputs)))
    assert executable.inputs[0].dtype == np.dtype(dtype).name
    x = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 1]]).astype(dtype)
    found = executable.run({"x": x, "s": np.float32(1.0).reshape(())})
    assert found["y"].tolist() == x.astype(np.float32).tolist()
    assert found["z"] == -1.0


@pytest.mark.parametrize("dtype", EXTENDED, ids=lambda d: np.dtype(d).name)
def test_types_numpy_has_no_word_for_come_out(cpu, dtype) -> None:
    code = int(ir.DataType.from_numpy(np.dtype(dtype)))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])]
    outputs = [helper.make_tensor_value_info("y", code, ["n", 3])]
    if dtype is ml_dtypes.bfloat16:
        nodes, constants = [helper.make_node("Cast", ["x"], ["y"], to=code)], []
    else:
        nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=code)]
        constants = [helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    executable = cpu.backend.load(artifact_of(model.SerializeToString()))
    x = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 1]], np.float32)
    x[0, 0] = -8 if dtype is ml_dtypes.int4 else 0
    y = executable.run({"x": x})["y"]
    assert y.dtype == dtype
    assert y.astype(np.float32).tolist() == x.tolist()
    assert executable.run({"x": x[:0]})["y"].shape == (0, 3)


def test_strings_booleans_and_half_floats(cpu, builder) -> None:
    text, flag, half = (
        builder.input("text", (2,), np.dtype(object)),
        builder.input("flag", (2,), np.bool_),
        builder.input("half", (2,), np.float16),
    )
    builder.output(builder.op("Identity", text), "same_text")
    builder.output(builder.op("Not", flag), "not_flag")
    builder.output(builder.op("Neg", half), "minus_half")
    executable = cpu.backend.load(cpu.compile(builder.model()))
    feeds = {
        "text": np.array(["ab", "c"], object),
        "flag": np.array([True, False]),
        "half": np.array([1, -2], np.float16),
    }
    assert [i.dtype for i in executable.inputs] == ["object", "bool", "float16"]
    found = executable.run(feeds)
    assert found["same_text"].tolist() == ["ab", "c"]
    assert found["not_flag"].tolist() == [False, True]
    assert found["minus_half"].dtype == np.float16


def test_sequences_and_optionals(cpu) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("SequenceInsert", ["s", "x"], ["longer"]),
        helper.make_node("SequenceLength", ["longer"], ["length"]),
    ]
    inputs = [sequence, helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])]
    outputs = [
        helper.make_tensor_sequence_value_info("longer", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("length", TensorProto.INT64, []),
    ]
    model = QuantizedModel(ir.from_proto(onnx.load_from_string(model_of(nodes, inputs, outputs))))
    executable = cpu.backend.load(cpu.compile(model))
    assert executable.inputs[0].dtype == "unknown"
    x = np.array([1, 2], np.float32)
    found = executable.run({"s": [x, x + 1], "x": x + 2})
    assert found["length"] == 3
    assert [a.tolist() for a in found["longer"]] == [[1, 2], [2, 3], [3, 4]]


def test_messages_lose_the_status_prefix_only() -> None:
    assert one_line(ValueError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got\n it : wrong")) == (
        "INVALID_ARGUMENT : Got it : wrong"
    )
    assert one_line(ValueError("plain")) == "plain"
